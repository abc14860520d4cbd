"""What a user must know of a method: plain words and settings, read without the code that the method runs."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mosaic_fl.config import Config
from mosaic_fl.experts.capability import Capability

if TYPE_CHECKING:  # all of it takes torch, which takes seconds
    from mosaic_fl.domains.schema import Schema
    from mosaic_fl.methods.outcome import Method

ONE_MODEL = "one model"
ALL_MODELS = "all clients' models"
"""What a method may serve."""
SAMPLES = "samples"
SAMPLES_OR_PRIOR = "samples or prior images"
"""What a method's server may distil on: samples of the clients' generators, or prior images where there are none."""


def anything(config: Config) -> None:
    """All settings will do."""


@dataclass(frozen=True)
class Card:
    """A method and what a user must know of it.

    `code` is its function, or where that is, as "package.module:function", imported when the method first runs: a card
    is written in code, and never read from anything received. `title` as in its paper, `paper` its citation, `summary`
    one line; `equal_architectures`: all clients must train one architecture; `rounds`: it has rounds (`rounds.warm_up`
    of them, at least one), else it is one-shot; `real_data`: it needs real held-back data at the clients beyond
    training, so it is not data-free; `reference`: a line to measure methods against, not a method to use; `serves`:
    `ONE_MODEL`, or `ALL_MODELS` as an ensemble; `transfer`: `SAMPLES`, or `SAMPLES_OR_PRIOR`, where its server distils
    on what clients' generators draw; `defaults` are the paper's settings where they differ from `Config`'s; `settings`
    raises UsageError for those that are wrong whatever the data, and what `checks` names, as `code` does, for those
    wrong on these data. `fuses`: its server
    fuses experts and distils, so that rounds of averaging may come before and after (`rounds.warm_up`,
    `rounds.fine_tune`) and clients may choose (`distill.choose`); `chooses`: clients choose on their validation splits
    always; `aggregates`: its rounds are those of a small aggregator; `requires`: what every client's expert must offer
    beside log-probabilities; `widths`: when clients hold several widths.
    """

    code: "str | Method"
    title: str
    paper: str
    summary: str
    equal_architectures: bool = False
    rounds: bool = False
    real_data: bool = False
    reference: bool = False
    serves: str = ONE_MODEL
    transfer: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    settings: Callable[[Config], None] = anything
    checks: str = ""
    fuses: bool = False
    chooses: bool = False
    aggregates: bool = False
    requires: frozenset[Capability] = frozenset()
    widths: Literal["", "always", "if rounds.kind says so"] = ""

    @property
    def run(self) -> "Method":
        """(federation, configuration, device, journal) -> outcome."""
        if not isinstance(self.code, str):
            return self.code
        method: Method = _function(self.code)
        return method

    def check(self, config: Config, schema: "Schema", models: Sequence[str], student: str) -> None:
        """Raise UsageError, before any work, for settings that the method cannot use.

        `models` are the clients' architectures, `student` is the global model's.
        """
        from mosaic_fl.experts.naming import require

        self.settings(config)
        require(models, self.requires, self.title)
        if self.checks:
            _function(self.checks)(config, schema, models, student)


def _function(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
