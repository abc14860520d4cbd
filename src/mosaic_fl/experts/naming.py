"""The kind of expert that a name means: a network, as `cnn:16`, or a kind of another package, as `forest:100`."""

from collections.abc import Iterable

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.capability import Capability
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.registries import EXPERTS


def kind_of(name: str) -> ExpertKind:
    """The kind of the expert `name`. The name may come from received bytes: only kinds of `local_names` are imported.

    A name that begins with no registered kind is a network's; `models.registry` checks it.
    """
    head = name.split(":")[0]
    return EXPERTS.received(head) if head in EXPERTS.local_names else EXPERTS["network"]


def check(name: str, schema: Schema) -> None:
    """Raise UsageError unless there can be an expert of this name for samples of the `schema`."""
    kind_of(name).check(name, schema)


def require(names: Iterable[str], capabilities: Iterable[Capability], method: str) -> None:
    """Raise UsageError unless the experts `names` have all `capabilities`, which `method` needs."""
    for name in names:
        if missing := [c for c in capabilities if c not in kind_of(name).capabilities]:
            raise UsageError(
                f"{method} needs {missing[0]}, and model {name!r} has none: give its client a network, as cnn:16, or "
                "choose a method that lives on predictions, as mosaic"
            )
