"""The models that the user of this machine has admitted: their own by name, and packages of architectures.

Their own are factories of networks, and models that are no networks: an ONNX file's bytes, or an estimator.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeGuard

import torch
from torch import nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import sha256

MAX_OWN_NAME = 60  # characters of a file's name in a model's
Factory = Callable[..., nn.Module]
"""A callable that makes a new module at each call, from no argument or from the schema."""


class Estimator(Protocol):
    """A classifier as scikit-learn's, fitted or not."""

    def fit(self, X: Any, y: Any, /) -> Any: ...

    def predict(self, X: Any, /) -> Any: ...


@dataclass(frozen=True)
class Own:
    """An admitted factory, and its parameter for the schema, if any."""

    factory: Factory
    parameter: inspect.Parameter | None

    def __call__(self, schema: Schema) -> object:
        if self.parameter is None:
            return self.factory()
        if self.parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            return self.factory(schema)
        return self.factory(**{self.parameter.name: schema})


_own: dict[str, Own] = {}
_models: dict[str, Any] = {}
_packages: set[str] = set()


@dataclass(frozen=True)
class Admissions:
    """All admitted models: factories and models by name, and the packages whose architectures may be built."""

    factories: dict[str, Own]
    models: dict[str, Any]
    packages: set[str]

    def update(self, other: "Admissions") -> None:
        """Admit the models of `other` too."""
        self.factories.update(other.factories)
        self.models.update(other.models)
        self.packages.update(other.packages)


def admissions() -> Admissions:
    """The admitted models themselves, for worker processes that start without them."""
    return Admissions(_own, _models, _packages)


def is_own(name: str) -> bool:
    """Whether a factory is admitted under this name."""
    return name in _own


def admit_package(package: str) -> None:
    """Admit the architectures of this package: it may be imported to build them."""
    _packages.add(package)


def is_admitted(package: str) -> bool:
    """Whether the package is admitted, so that it may be imported."""
    return package in _packages


def own_model(name: str) -> Any:
    """The model that is no factory and is admitted under this name, or None."""
    return _models.get(name)


def admit_onnx(content: bytes, name: str) -> str:
    """Admit the bytes of an ONNX model; returns the name `onnx:NAME-HASH`."""
    plain = re.sub(r"[^\w.-]", "_", name)[:MAX_OWN_NAME] or "model"
    name = f"onnx:{plain}-{sha256(content)[:8]}"
    _models[name] = content
    return name


def admit_estimator(estimator: object) -> str:
    """Admit an estimator as scikit-learn's; returns the name `estimator:CLASS#NUMBER`, the same for the same object."""
    number = 1
    while _models.get(name := f"estimator:{type(estimator).__name__}#{number}", estimator) is not estimator:
        number += 1
    _models[name] = estimator
    return name


def admit_held(name: str, model: object) -> str:
    """Admit what a black box of this `name` answers by: the name of a model, or a function of samples."""
    _models[name] = model
    return name


def is_estimator(value: object) -> TypeGuard[Estimator]:
    """Whether a value can be fitted and asked for classes, as scikit-learn's estimators can."""
    return not isinstance(value, type | nn.Module) and _has_methods(value)


def _has_methods(value: object) -> bool:
    return callable(getattr(value, "fit", None)) and hasattr(value, "predict")


def import_factory(path: str) -> object:
    """The object at the import path `package.module:attribute`; raises UsageError where there is none.

    This runs the module's code: never call it for a name from received bytes.
    """
    module, _, attribute = path.partition(":")
    try:
        return _attribute(importlib.import_module(module), attribute)
    except Exception as error:  # a user's module may raise anything while it is imported
        hint = "; is its folder on PYTHONPATH?" if isinstance(error, ModuleNotFoundError) else ""
        raise UsageError(f"model {path!r} cannot be imported: {reason(error)}{hint}") from error


def admit(factory: object, name: str = "") -> str:
    """Admit `factory`, and return its name: `name`, or one from the place of its definition.

    A later factory of the same module and name (a notebook cell run again) replaces the earlier one. Lambdas, closures
    and partial functions share their names with others, so they are numbered in the order of admission. Raises
    UsageError for a factory that cannot be called without arguments or with the schema alone.
    """
    name = name or _name(factory)
    if isinstance(factory, nn.Module):
        raise UsageError(f"model {name!r} is a module: give its class, or a function that makes a new one each time")
    if isinstance(factory, type) and not issubclass(factory, nn.Module) and _has_methods(factory):
        raise UsageError(f"model {name!r} is a class of estimators: write {factory.__name__}()")
    if not callable(factory):
        raise UsageError(f"model {name!r} is no factory: {type(factory).__name__} cannot be called")
    _own[name] = Own(factory, _schema_parameter(name, factory))
    return name


def make_own(name: str, schema: Schema) -> nn.Module:
    """A new module of the factory `name`, on torch's default device.

    A factory that cannot run on the meta device (one that reads a value, say) runs on the CPU, and its module
    moves there. Raises UsageError where the factory raises or returns something else.
    """
    own = _own[name]
    try:
        module = own(schema)
    except Exception as error:  # the user's code may raise anything
        if torch.get_default_device().type == "meta":
            with torch.device("cpu"):
                return make_own(name, schema).to("meta")
        argument = "nothing" if own.parameter is None else "the schema"
        raise UsageError(f"model {name!r} failed when called with {argument}: {reason(error)}") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"model {name!r} returned {type(module).__name__}, not an nn.Module")
    return module


def reason(error: BaseException) -> str:
    """The type of an error and the first line of its message, in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _schema_parameter(name: str, factory: Factory) -> inspect.Parameter | None:
    """The parameter that takes the schema: the only one without a default, or else the one called "schema"."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some callables written in C show no signature
        return None
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p for p in parameters if p.default is p.empty and p.kind not in variadic]
    if len(required) > 1:
        names = ", ".join(p.name for p in required)
        raise UsageError(f"model {name!r} needs {names}: a factory takes nothing, or the schema alone")
    return next(iter(required or [p for p in parameters if p.name == "schema"]), None)


def _name(factory: object) -> str:
    """The name of a factory from the place of its definition."""
    target = factory
    while isinstance(target, partial):
        target = target.func
    module = getattr(target, "__module__", None) or type(target).__module__
    path = getattr(target, "__qualname__", type(target).__qualname__)
    try:
        if _attribute(sys.modules[module], path) is factory:
            return f"{module}:{path}"
    except (KeyError, AttributeError):
        pass  # defined inside a function, or nameless
    number = 1
    while (earlier := _own.get(f"{module}:{path}#{number}")) and earlier.factory is not factory:
        number += 1
    return f"{module}:{path}#{number}"


def _attribute(module: object, path: str) -> object:
    for part in path.split("."):
        module = getattr(module, part)
    return module
