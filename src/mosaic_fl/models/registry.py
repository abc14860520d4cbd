"""Classifiers by name: `cnn:16`, `mlp:64:2`, `resnet18`, `timm:NAME`, `package.module:factory`.

A name that came from outside (in a contribution) is only ever looked up here; nothing is imported for it.
`trust` is how a user, on their own machine, lets a factory of their own in.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from mosaic_fl.data.schema import Schema
from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.models.classifier import Classifier, Wrapped

Factory = Callable[..., nn.Module]
"""Makes a module: a built-in takes (schema, *numbers), a user's own takes nothing or the schema."""


@dataclass(frozen=True)
class Family:
    """A built-in family: its constructor, the bounds of each number after the name, and a line of help.

    `bounds` holds (name, least, greatest, default) per number.
    """

    build: Factory
    bounds: tuple[tuple[str, int, int, int], ...]
    help: str


_families: dict[str, Family] = {}
_trusted: dict[str, Factory] = {}
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
MAX_SPEC = 200


def family(name: str, *bounds: tuple[str, int, int, int], help: str) -> Callable[[Factory], Factory]:
    """Decorator: register a built-in family under `name`."""

    def register(build: Factory) -> Factory:
        _families[name] = Family(build, bounds, help)
        return build

    return register


def families() -> dict[str, Family]:
    """The built-in families by name."""
    return dict(_families)


def trust(spec: str | Factory) -> str:
    """Let a user's own factory be built, and return its name.

    `spec` is a callable that returns an `nn.Module`, or the import path `package.module:factory` of one. Only
    for names given by the user of this machine: this is the one place that imports. Other names pass through.
    Raises UsageError where the import fails.
    """
    if not isinstance(spec, str):
        name = f"{spec.__module__}:{getattr(spec, '__qualname__', type(spec).__qualname__)}"
        _trusted[name] = spec
        return name
    head = spec.split(":", 1)[0]
    if head in _families or head == "timm" or spec in _trusted or not _IMPORT_PATH.fullmatch(spec):
        return spec
    module, _, attribute = spec.partition(":")
    try:
        target: object = importlib.import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        if "." not in module:  # `cmn:16` is a slip, not an import path
            raise unknown("model", head, [*_families, "timm"]) from error
        raise UsageError(f"model {spec!r} cannot be imported: {error}") from error
    if not callable(target):
        raise UsageError(f"model {spec!r} is not a factory: {attribute} cannot be called")
    _trusted[spec] = target
    return spec


def check(spec: str, schema: Schema) -> None:
    """Raise UsageError unless `build(spec, schema)` gives a classifier of that schema; allocates no weights."""
    with torch.device("meta"):
        build(spec, schema)


def build(spec: str, schema: Schema) -> Classifier:
    """The classifier named `spec`, freshly initialised from torch's ambient generator.

    Raises UsageError for an unknown family (with the nearest names), a number out of bounds, or a factory
    that was not trusted on this machine.
    """
    if len(spec) > MAX_SPEC:
        raise UsageError(f"a model name of {len(spec)} characters: at most {MAX_SPEC}")
    if spec in _trusted:
        return _own(spec, _trusted[spec], schema)
    head, *numbers = spec.split(":")
    if head == "timm":
        from mosaic_fl.models.timm import build_timm

        return build_timm(":".join(numbers), schema)
    if head not in _families:
        if _IMPORT_PATH.fullmatch(spec) and "." in head:
            raise UsageError(f"model {spec!r} is not registered here: name it with --trust, or call mosaic_fl.trust")
        raise unknown("model", head, [*_families, "timm"])
    made = _families[head].build(schema, *_numbers(spec, numbers, _families[head].bounds))
    return made if isinstance(made, Classifier) else Wrapped(made)


def _numbers(spec: str, given: list[str], bounds: tuple[tuple[str, int, int, int], ...]) -> list[int]:
    if len(given) > len(bounds):
        form = ":".join([spec.split(":")[0], *(name.upper() for name, *_ in bounds)])
        raise UsageError(f"model {spec!r} has {len(given)} numbers: the form is {form}")
    values = [default for *_, default in bounds]
    for i, (text, (name, least, greatest, _)) in enumerate(zip(given, bounds, strict=False)):
        if not re.fullmatch(r"\d{1,6}", text) or not least <= int(text) <= greatest:
            raise UsageError(f"model {spec!r}: {name} {text!r} is not a number in {least}..{greatest}")
        values[i] = int(text)
    return values


def _own(spec: str, factory: Factory, schema: Schema) -> Classifier:
    try:
        module = factory()
    except TypeError:
        module = factory(schema)
    if not isinstance(module, nn.Module):
        raise UsageError(f"model {spec!r} returned {type(module).__name__}, not an nn.Module")
    return module if isinstance(module, Classifier) else Wrapped(module)
