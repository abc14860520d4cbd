"""Which kind of expert a name means: `cnn:16` and every other network, or what a package registers, as `forest:100`."""

from collections.abc import Iterable

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.capability import Capability
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.registries import EXPERTS


def kind_of(name: str) -> ExpertKind:
    """The kind of the expert called `name`, which may have been received: nothing is imported that is not named here.

    What no registered kind is called is a network's name, and `models.registry` knows those.
    """
    head = name.split(":")[0]
    return EXPERTS.received(head) if head in EXPERTS.named else EXPERTS["network"]


def check(name: str, schema: Schema) -> None:
    """Raise UsageError unless there can be an expert of this name for samples of the `schema`."""
    kind_of(name).check(name, schema)


def require(names: Iterable[str], capabilities: Iterable[Capability], who: str) -> None:
    """Raise UsageError unless the experts called `names` have all `capabilities`, which `who` needs."""
    for name in names:
        if missing := [c for c in capabilities if c not in kind_of(name).capabilities]:
            raise UsageError(
                f"{who} needs {missing[0]}, and model {name!r} has none: give its client a network, as cnn:16, or "
                "choose a method that lives on predictions, as mosaic"
            )
