"""What the user of this machine let in: factories of their own, each under a name, and packages of architectures."""

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError

Factory = Callable[..., nn.Module]
"""Makes a new module at each call; takes nothing, or the schema."""


@dataclass(frozen=True)
class Own:
    """A factory that was let in, and the name of the parameter that takes the schema, if one does."""

    factory: Factory
    parameter: inspect.Parameter | None

    def __call__(self, schema: Schema) -> object:
        if self.parameter is None:
            return self.factory()
        if self.parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            return self.factory(schema)
        return self.factory(**{self.parameter.name: schema})


_own: dict[str, Own] = {}
_packages: set[str] = set()


@dataclass(frozen=True)
class Admitted:
    """All that was let in: factories by their names, and the packages whose architectures may be built."""

    factories: dict[str, Own]
    packages: set[str]

    def update(self, other: "Admitted") -> None:
        """Let in what `other` holds, too."""
        self.factories.update(other.factories)
        self.packages.update(other.packages)


def admitted() -> Admitted:
    """The registry itself, for worker processes that start without it."""
    return Admitted(_own, _packages)


def is_own(name: str) -> bool:
    """Whether a factory was let in under this name."""
    return name in _own


def admit_package(package: str) -> None:
    """Let names of this package's architectures be built, for which it is imported."""
    _packages.add(package)


def is_admitted(package: str) -> bool:
    """Whether the user of this machine chose the package, so that it may be imported."""
    return package in _packages


def import_factory(path: str) -> object:
    """What stands at the import path `package.module:attribute`; raises UsageError where nothing does.

    This runs the module's code: never for a name that was received.
    """
    module, _, attribute = path.partition(":")
    try:
        return _attribute(importlib.import_module(module), attribute)
    except Exception as error:  # a user's module may raise anything while it is imported
        hint = "; is its folder on PYTHONPATH?" if isinstance(error, ModuleNotFoundError) else ""
        raise UsageError(f"model {path!r} cannot be imported: {reason(error)}{hint}") from error


def admit(factory: object, name: str = "") -> str:
    """Let `factory` in, and return its name: the given one, or one made of where it was defined.

    A later factory of the same module and name (a notebook cell run again) takes the earlier one's place;
    lambdas, closures and partial functions, which share their names with others, are numbered in the order
    they come. Raises UsageError for what cannot be called with nothing or with the schema alone.
    """
    name = name or _name(factory)
    if isinstance(factory, nn.Module):
        raise UsageError(f"model {name!r} is a module: give its class, or a function that makes a new one each time")
    if not callable(factory):
        raise UsageError(f"model {name!r} is no factory: {type(factory).__name__} cannot be called")
    _own[name] = Own(factory, _schema_parameter(name, factory))
    return name


def make_own(name: str, schema: Schema) -> nn.Module:
    """A new module of the factory let in as `name`, on torch's default device.

    A factory that cannot run on the meta device (one that reads a value, say) runs on the CPU, and its module
    moves there. Raises UsageError where the factory raises or returns something else.
    """
    own = _own[name]
    try:
        made = own(schema)
    except Exception as error:  # the user's code may raise anything
        if torch.get_default_device().type == "meta":
            with torch.device("cpu"):
                return make_own(name, schema).to("meta")
        given = "nothing" if own.parameter is None else "the schema"
        raise UsageError(f"model {name!r} failed when called with {given}: {reason(error)}") from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"model {name!r} returned {type(made).__name__}, not an nn.Module")
    return made


def reason(error: BaseException) -> str:
    """One line: the kind of an error and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _schema_parameter(name: str, factory: Factory) -> inspect.Parameter | None:
    """The parameter that takes the schema: the only one without a default, or else the one of that name."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some callables written in C show no signature
        return None
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p for p in parameters if p.default is p.empty and p.kind not in variadic]
    if len(needed) > 1:
        names = ", ".join(p.name for p in needed)
        raise UsageError(f"model {name!r} needs {names}: a factory takes nothing, or the schema alone")
    return next(iter(needed or [p for p in parameters if p.name == "schema"]), None)


def _name(factory: object) -> str:
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
    while (taken := _own.get(f"{module}:{path}#{number}")) and taken.factory is not factory:
        number += 1
    return f"{module}:{path}#{number}"


def _attribute(module: object, path: str) -> object:
    for part in path.split("."):
        module = getattr(module, part)
    return module
