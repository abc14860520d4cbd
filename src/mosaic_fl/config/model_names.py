"""The names of classifiers: `cnn:16`, `mlp:64:2`, `timm:NAME`, `module:factory`, `random_forest:50`, `FILE.onnx`.

The networks are in `models`. This module imports none of them, so a command line is checked before torch is imported.
"""

import re
from pathlib import Path

from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.extras import require
from mosaic_fl.registries import EXPERTS
from mosaic_fl.storage.files import require_file

MAX_SPEC = 200  # characters of a name that may come from outside
TIMM = "timm:"  # begins the names of timm's models
ANSWERS = "answers"  # a black box: its model stays at its site
NO_MODEL = "none"  # a site that sends no model
HELD = f"{ANSWERS}:"  # begins the name of a black box whose model the site names too
IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
Bounds = tuple[tuple[str, int, int, int], ...]
"""(name, least, greatest, default) of each number behind a family's name."""

WIDTH = ("width", 1, 256, 16)
WIDE = ("width", 1, 256, 64)
GROUPS = ("groups", 0, 64, 0)  # of group norm; 0: batch norm
PRIVATE_GROUPS = 4  # in place of batch norm, which tells of a sample by all others of its batch
FORMS: dict[str, Bounds] = {
    "cnn": (("width", 1, 1024, 16), ("depth", 1, 6, 2), GROUPS),
    "lenet": (),
    "mlp": (("width", 1, 8192, 64), ("depth", 1, 8, 2), GROUPS),
    "resnet8": (WIDTH, GROUPS),
    "resnet20": (WIDTH, GROUPS),
    "resnet18": (WIDE, GROUPS),
    "resnet34": (WIDE, GROUPS),
    "resnet50": (WIDE, GROUPS),
    "tokens": (("width", 1, 8192, 128), ("depth", 1, 8, 2), GROUPS),
    "vit": (("width", 1, 1024, 64), ("depth", 1, 24, 4)),
    "fusion": (("width", 1, 1024, 64),),
    "linear": (),
    "gaussian": (),
    "subclasses": (("components", 1, 64, 16),),
}
"""The built-in families by name, each with the numbers that may follow it."""

JOINING = "fusion"  # the family that takes samples of several fields

CLOSED_FORMS = ("discriminant", "quadratic", "mixture", "ridge")
"""Classifiers that follow from class moments; they travel as `linear`, the quadratic one as `gaussian`, that of several
Gaussians a class as `subclasses`."""

TREES = ("trees", 1, 2000, 100)
ESTIMATOR_FORMS: dict[str, Bounds] = {
    "random_forest": (TREES,),
    "xgboost": (TREES,),
    "lightgbm": (TREES,),
    "logistic": (),
}
"""The estimators of other libraries, fitted at a site and sent as ONNX, each with the numbers that may follow it."""


_ONNX = ("onnx", "onnxruntime", "skl2onnx")
_PACKAGES = {"xgboost": (*_ONNX, "onnxmltools", "xgboost"), "lightgbm": (*_ONNX, "onnxmltools", "lightgbm")}


def require_packages(spec: str) -> None:
    """Raise UsageError where a package that fits this estimator, or makes ONNX of it, is not installed."""
    require(f"model {spec}", *_PACKAGES.get(spec.split(":")[0], _ONNX))


def is_onnx_file(spec: str) -> bool:
    """Whether this is the path of an ONNX file, not the name of an expert."""
    return spec.lower().endswith(".onnx") and not spec.startswith(HELD)


def held_by(spec: str) -> str:
    """The model that a black box answers by, as `random_forest` of `answers:random_forest`; empty for other names."""
    return spec.removeprefix(HELD) if spec.startswith(HELD) else ""


def estimator_numbers(spec: str) -> list[int]:
    """The numbers of an estimator's name, as its trees; raises UsageError for numbers out of bounds."""
    head, *numbers = spec.split(":")
    return _numbers(spec, numbers, ESTIMATOR_FORMS[head])


def parse(spec: str) -> tuple[str, list[int]]:
    """(family, its numbers) of a built-in model's name; raises UsageError for any other, and numbers out of bounds."""
    if len(spec) > MAX_SPEC:
        raise UsageError(f"a model name of {len(spec)} characters: at most {MAX_SPEC}")
    head, *numbers = spec.split(":")
    if head in FORMS:
        return head, _numbers(spec, numbers, FORMS[head])
    if head in EXPERTS.local_names and head != "network":
        raise UsageError(f"model {spec!r} is no network, which is needed here: take one, as cnn:16")
    if head in EXPERTS and head != "network":
        raise UsageError(
            f"model {spec!r} is of a package that is imported only where you let it in: name it with --trust {head}"
        )
    if spec == TIMM.removesuffix(":"):
        raise UsageError(f"model {spec!r} names a package: write {TIMM}NAME, one of timm.list_models()")
    if IMPORT_PATH.fullmatch(spec):
        families = ", ".join([*sorted(FORMS), "timm"])
        raise UsageError(
            f"model {spec!r} is neither built in ({families}) nor trusted here: "
            "name it with --trust, or call mosaic_fl.trust"
        )
    raise unknown("model", head, [*FORMS, "timm", *(name for name in EXPERTS if name != "network")])


def require_form(spec: str) -> None:
    """Raise UsageError for a name that is wrong whatever is installed; for names from the user of this machine."""
    if spec.startswith(HELD):
        if spec == HELD or held_by(spec).split(":")[0] == ANSWERS:
            raise UsageError(f"model {spec!r} names no model that could answer: as {HELD}random_forest")
        require_form(held_by(spec))
        return
    if is_onnx_file(spec):
        require_file(Path(spec))
        return
    head = spec.split(":")[0]
    if head in ESTIMATOR_FORMS:
        estimator_numbers(spec)
        require_packages(spec)
    elif not spec.startswith(TIMM) and (head in FORMS or not (IMPORT_PATH.fullmatch(spec) or head in EXPERTS)):
        parse(spec)


def _numbers(spec: str, texts: list[str], bounds: Bounds) -> list[int]:
    if len(texts) > len(bounds):
        form = ":".join([spec.split(":")[0], *(name.upper() for name, *_ in bounds)])
        raise UsageError(f"model {spec!r} has {len(texts)} numbers: the form is {form}")
    values = [default for *_, default in bounds]
    for i, (text, (name, least, greatest, _)) in enumerate(zip(texts, bounds, strict=False)):
        if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= greatest:
            raise UsageError(f"model {spec!r}: {name} {text!r} is not a number in {least}..{greatest}")
        values[i] = int(text)
    return values


def is_network(spec: str) -> bool:
    """Whether the name is a network's: of a built-in family, of timm, or a factory of the user's own."""
    head = spec.split(":")[0]
    return head in FORMS or spec.startswith(TIMM) or (bool(IMPORT_PATH.match(spec)) and head not in EXPERTS)


def without_batch_norm(spec: str) -> str:
    """The name of the same network with group norm: `cnn:16:2:4` for `cnn:16`.

    Names of networks that have no batch norm, or of which it is not known, come back as they are.
    """
    head = spec.split(":")[0]
    if head not in FORMS or GROUPS not in FORMS[head]:
        return spec
    _, (*numbers, groups) = parse(spec)
    return ":".join([head, *map(str, numbers), str(groups or PRIVATE_GROUPS)])
