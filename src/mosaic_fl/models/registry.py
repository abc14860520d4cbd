"""Classifiers by name: `cnn:16`, `mlp:64:2`, `resnet18`, `timm:NAME`, `package.module:factory`.

Names also come from outside, in contributions. Looking one up here imports nothing, not even timm, and the memory that
it can allocate is bounded. With `trust` a user, on their own machine, admits timm or a factory of their own.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mosaic_fl.config.model_names import (
    ESTIMATOR_FORMS,
    FORMS,
    HELD,
    IMPORT_PATH,
    JOINING,
    MAX_SPEC,
    TIMM,
    Bounds,
    held_by,
    is_onnx_file,
    parse,
    require_packages,
)
from mosaic_fl.domains.samples import Inputs, example_inputs
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.models.classifier import Classifier, Wrapper
from mosaic_fl.models.maps import Work, measure, require_small
from mosaic_fl.models.own import (
    Estimator,
    Factory,
    admit,
    admit_estimator,
    admit_held,
    admit_onnx,
    admit_package,
    import_factory,
    is_admitted,
    is_estimator,
    is_own,
    make_own,
    own_model,
    reason,
)
from mosaic_fl.models.trainable import check_training
from mosaic_fl.registries import EXPERTS
from mosaic_fl.storage.container import TYPES
from mosaic_fl.storage.files import read_bytes

MAX_ONNX = 2**28  # bytes of an ONNX file
MAX_PARAMETERS = 500_000_000  # of a model that is built in or timm's: 2 GB in float32
PACKAGE = "timm"
OWN_MODELS = {"onnx": "name its file, as heart.onnx", "estimator": "pass it as model="}
AXES = 3  # of an image: channels, height, width
PROBE = 2  # images in the batch of a probe

Build = TypeVar("Build", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class Family:
    """A built-in family: its constructor, which takes (schema, *numbers), and the bounds of those numbers."""

    build: Callable[..., nn.Module]
    bounds: Bounds


_families: dict[str, Family] = {}


def family(name: str) -> Callable[[Build], Build]:
    """Decorator: register a built-in family under `name`, one of `model_names.FORMS`."""

    def register(build: Build) -> Build:
        _families[name] = Family(build, FORMS[name])
        return build

    return register


def families() -> dict[str, Family]:
    """The built-in families by name."""
    return dict(_families)


def trust(spec: str | Path | Factory | Estimator) -> str:
    """Admit a user's own factory, file or estimator, or timm's models, and return the name.

    `spec` is a callable that returns a new `nn.Module` at each call (a class, a function, a lambda), or the import path
    `package.module:factory` of one; it takes no argument, or the `Schema`. `timm:NAME`, or `timm` alone, admits all
    models of timm. `FILE.onnx` admits the model in this file. An estimator as scikit-learn's admits itself, fitted or
    not. `answers:MODEL` admits that model, where an import path is that of a function of samples. The name of a kind of
    expert admits the package that registers it. Names of built-in models pass through.

    Call it only with names from the user of this machine: only this function imports what a name says, or admits timm.
    Raises UsageError where the import fails or finds no such callable.
    """
    if isinstance(spec, Path):
        spec = str(spec)
    if not isinstance(spec, str):
        return admit_estimator(spec) if is_estimator(spec) else admit(spec)
    if spec.startswith(HELD):
        return _trust_held(spec)
    if is_onnx_file(spec):
        return admit_onnx(read_bytes(Path(spec), MAX_ONNX), Path(spec).stem)
    head = spec.split(":")[0]
    if head in ESTIMATOR_FORMS:
        require_packages(spec)
    if head in OWN_MODELS and own_model(spec) is None:
        raise UsageError(f"model {spec!r} is none of this process: {OWN_MODELS[head]}")
    if head == PACKAGE:
        admit_package(PACKAGE)
    if head not in FORMS and head in EXPERTS:
        EXPERTS[head]  # from now on received bytes may use this name
        return spec
    if head in (*FORMS, PACKAGE) or is_own(spec) or not IMPORT_PATH.fullmatch(spec):
        return spec
    return admit(import_factory(spec), spec)


def _trust_held(spec: str) -> str:
    """`trust` for a black box that says by what model it answers: `answers:MODEL`, of which this returns the name.

    There an import path names a function of samples, or an object with one, and no factory of networks.
    """
    if own_model(spec) is not None:
        return spec
    inner = held_by(spec)
    if not IMPORT_PATH.fullmatch(inner) or inner.split(":")[0] in (*FORMS, PACKAGE, *EXPERTS):
        name = trust(inner)
        return admit_held(f"{HELD}{name}", name)
    function = import_factory(inner)
    if not callable(getattr(function, "function", function)):
        raise UsageError(f"model {spec!r}: {excerpt(function)} is no function of samples")
    return admit_held(spec, function)


def trust_own(spec: str) -> None:
    """`trust` for what --trust names: module:factory, timm:NAME, timm, or a kind of expert; UsageError for others."""
    trust(spec)
    if not is_own(spec) and spec.split(":")[0] not in (PACKAGE, *EXPERTS):
        raise UsageError(f"--trust {spec!r}: write MODULE:FACTORY")


def check_name(spec: str) -> None:
    """Raise UsageError for a name that is wrong whatever the images: an unknown family, or a number out of bounds."""
    if not is_foreign(spec):
        parse(spec)


def check(spec: str, schema: Schema) -> None:
    """Raise UsageError unless `build(spec, schema)` gives a classifier of that schema that can be trained.

    The weights and a batch of two images are on the meta device, which has shapes but no memory; only a user's own
    factory that cannot run there runs on the CPU. A user's own module is then tried on the CPU by `check_training`. The
    ambient random generator is not advanced.
    """
    outline(spec, schema)
    if is_own(spec):
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _classifier(_make(spec, schema), schema)
        check_training(f"model {spec!r}", model, schema)


@dataclass(frozen=True)
class Outline:
    """The work of a model for an image (zero for a user's own model: it is unknown), and its number of features."""

    work: Work
    features: int


def outline(spec: str, schema: Schema) -> Outline:
    """The outline of `build(spec, schema)`, without building it; raises UsageError as `build` does."""
    return _check(spec, schema)[1] if is_foreign(spec) else _outline(spec, schema)


@lru_cache(maxsize=64)
def _outline(spec: str, schema: Schema) -> Outline:
    return _check(spec, schema)[1]


def build(spec: str, schema: Schema) -> Classifier:
    """The classifier named `spec`, freshly initialised from the ambient generator, on the default device.

    Raises UsageError for an unknown family (with the nearest names), a number out of bounds, more than 500
    million parameters, layers that give too many values an image (see `maps`); for a user's factory that is not
    admitted on this machine, fails, or returns the same module twice; and for a module that does not give logits (n, C)
    and features (n, d) for the schema's images, or has tensors of a type that cannot be sent.
    """
    probe = _check(spec, schema)[0] if is_foreign(spec) else _outline(spec, schema)
    module = _make(spec, schema)
    if module is probe:
        raise UsageError(f"model {spec!r} returned one module twice: its clients would share their weights")
    # Convolutions with batch norm train 1.5 to 1.9 times faster on a CPU with channels last (measured at 8 to 32 px).
    classifier = _classifier(module, schema)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return classifier


def is_foreign(spec: str) -> bool:
    """Whether a model is not built in: it may hold tensors that are not in its state."""
    return is_own(spec) or spec.startswith(TIMM)


def _check(spec: str, schema: Schema) -> tuple[nn.Module, Outline]:
    """The checks of `check`; returns the module that they made, and its outline."""
    for device in ("meta", "cpu") if is_own(spec) else ("meta",):
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the meta device warns that it copies no weights
                return _probe(spec, schema)
        except UsageError:
            raise
        except Exception as error:  # a foreign module may raise anything
            failure = error
    hint = "; a larger data.image_size may help" if spec.startswith(TIMM) else ""
    images = not schema.joins and len(schema.shape) == AXES
    samples = f"images of shape {schema.shape}" if images else schema.summary if schema.joins else schema.kind.summary
    hint = hint if images or schema.joins else "; mlp takes samples of any shape, as mlp:128"
    raise UsageError(f"model {spec!r} cannot take {samples}: {reason(failure)}{hint}") from failure


@torch.no_grad()
def _probe(spec: str, schema: Schema) -> tuple[nn.Module, Outline]:
    """Make a module on the default device, and check its outputs for two images."""
    module = _make(spec, schema)
    if not is_own(spec) and (size := sum(p.numel() for p in module.parameters())) > MAX_PARAMETERS:
        raise UsageError(f"model {spec!r} has {size:,} parameters for these images: at most {MAX_PARAMETERS:,}")
    model = _classifier(module, schema).eval()
    for name, tensor in model.state_dict().items():
        if tensor.dtype not in TYPES:
            types = ", ".join(str(kind) for kind in TYPES)
            raise UsageError(f"model {spec!r} keeps {name!r} as {tensor.dtype}, which is not sent: take one of {types}")
    images = _blank(schema)
    logits: object
    logits, work = (model(images), Work(0, 0, 0, 0)) if is_own(spec) else measure(model, images, samples=PROBE)
    if not is_own(spec):
        require_small(f"model {spec!r}", model, work)
    if not (isinstance(logits, Tensor) and logits.shape == (PROBE, schema.num_classes)):
        raise UsageError(
            f"model {spec!r} gives {_form(logits)} for {PROBE} images of {schema.num_classes} classes, "
            f"not logits ({PROBE}, {schema.num_classes})"
        )
    features: object = model.features(images)
    if not (isinstance(features, Tensor) and features.ndim == 2 and len(features) == PROBE):
        raise UsageError(f"model {spec!r} gives {_form(features)} for {PROBE} images, not features ({PROBE}, d)")
    return module, Outline(work, features.shape[1])


def _blank(schema: Schema) -> Inputs:
    return example_inputs(schema.fields, PROBE, torch.zeros)


def _form(value: object) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _classifier(module: nn.Module, schema: Schema) -> Classifier:
    """A module as a classifier. A pass of zeros gives lazy layers their shapes."""
    if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
        was_training = module.training
        with torch.no_grad():
            module.eval()(_blank(schema))
        module.train(was_training)
    return module if isinstance(module, Classifier) else Wrapper(module)


def _make(spec: str, schema: Schema) -> nn.Module:
    if is_own(spec):
        return make_own(spec, schema)
    if schema.joins and spec.split(":")[0] != JOINING:
        raise UsageError(
            f"model {spec!r} reads one field, and samples have {', '.join(schema.fields)}: name {JOINING}, as "
            f"{JOINING}:64"
        )
    if spec.startswith(TIMM) and len(spec) <= MAX_SPEC:
        if not is_admitted(PACKAGE):  # the name may have come from outside
            raise UsageError(
                f"model {spec!r} needs timm, a package that is imported only where you let it in: "
                f'name it with --trust {PACKAGE} (at a site: trust = ["{PACKAGE}"] in its file), or call '
                f"mosaic_fl.trust('{PACKAGE}')"
            )
        from mosaic_fl.models.timm import build_timm

        return build_timm(spec.removeprefix(TIMM), schema)
    name, numbers = parse(spec)
    return _families[name].build(schema, *numbers)
