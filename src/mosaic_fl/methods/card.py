"""The card of a method: its name, paper, needs and default settings. Reading it does not import the method's code."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mosaic_fl.config import Config
from mosaic_fl.config.aggregation import check_aggregate
from mosaic_fl.config.checks import check_audit
from mosaic_fl.config.privacy_checks import check_private
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.capability import Capability

if TYPE_CHECKING:  # these import torch, which takes seconds
    from mosaic_fl.domains.schema import Schema
    from mosaic_fl.methods.outcome import Method

ONE_MODEL = "one model"
ALL_MODELS = "all clients' models"
"""The values of `Card.serves`."""
AXES = 3  # of an image: channels, height, width
SAMPLES = "samples"
SAMPLES_OR_PRIOR = "samples or prior images"
"""The values of `Card.transfer`: the server distils on samples of the clients' generators, or also on prior images."""


def accept_all(config: Config) -> None:
    """Accept all settings."""


@dataclass(frozen=True)
class Card:
    """A method and what a user must know of it.

    - `code`: its function, or the place of that as "package.module:function", imported when the method first runs. A
      card is part of the code; none is ever read from received data.
    - `title`: its name in the paper. `paper`: the citation. `summary`: one line.
    - `equal_architectures`: all clients must train one architecture.
    - `rounds`: it has rounds (`rounds.warm_up`, at least one). Otherwise it is one-shot.
    - `real_data`: clients need held-back real data beyond training, so the method is not data-free.
    - `reference`: it is a line to measure methods against, not a method to use.
    - `serves`: `ONE_MODEL`, or `ALL_MODELS` as an ensemble.
    - `transfer`: `SAMPLES` or `SAMPLES_OR_PRIOR` where its server distils on samples of the clients' generators.
    - `defaults`: the paper's settings where they differ from `Config`'s.
    - `settings`: a function that raises UsageError for settings that are wrong for any data.
    - `checks`: the place of a function, written as for `code`, that raises UsageError for settings that are wrong for
      the data at hand.
    - `fuses`: its server fuses experts and distils. Rounds of averaging may come before and after (`rounds.warm_up`,
      `rounds.fine_tune`), and clients may choose (`distill.choose`).
    - `chooses`: clients always choose on their validation splits.
    - `aggregates`: its rounds train a small aggregator.
    - `robust`: its rounds merge clients' weights by `rounds.aggregate`.
    - `boosts`: its global model is an ensemble of trees, whatever the architectures: clients' rows grow it in rounds.
    - `requires`: what every client's expert must offer beside log-probabilities.
    - `fields`: it takes samples of several fields.
    - `asks`: its server asks black boxes (model `answers`); others need each client's model itself.
    - `images`: its server makes images, so clients' samples have to be such.
    - `vectors`: it works on vectors of a public encoder, and its global model is one linear layer on these, whatever
      student the settings name.
    - `widths`: when clients hold models of several widths.
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
    settings: Callable[[Config], None] = accept_all
    checks: str = ""
    fuses: bool = False
    chooses: bool = False
    aggregates: bool = False
    robust: bool = False
    boosts: bool = False
    requires: frozenset[Capability] = frozenset()
    fields: bool = False
    asks: bool = False
    images: bool = False
    vectors: bool = False
    widths: Literal["", "always", "if rounds.kind says so"] = ""

    @property
    def run(self) -> "Method":
        """(federation, configuration, device, journal) -> outcome."""
        if not isinstance(self.code, str):
            return self.code
        method: Method = _function(self.code)
        return method

    def check_settings(self, config: Config) -> None:
        """Raise UsageError, without any data, for settings that the method cannot use or that break privacy."""
        check_private(config)
        check_audit(config)
        if config.moments.encoder and not self.fuses:
            raise UsageError(
                f"{self.title} has no use for class moments: leave --moments out (in a comparison: --set "
                f"mosaic:moments.encoder={config.moments.encoder})"
            )
        parts = self.widths == "always" or (bool(self.widths) and config.rounds.kind != "fedavg")
        check_aggregate(self.title, config.rounds, config.partition, follows=self.robust, parts=parts)
        self.settings(config)

    def check(self, config: Config, schema: "Schema", models: Sequence[str], student: str) -> None:
        """Raise UsageError, before any work, for settings that the method cannot use.

        `models` are the clients' architectures. `student` is the global model's architecture.
        """
        from mosaic_fl.experts.answers.kind import is_black_box
        from mosaic_fl.experts.naming import require
        from mosaic_fl.methods.attack_check import check_attack
        from mosaic_fl.server.students import is_network

        self.check_settings(config)
        check_private(config, models)
        self.check_samples(schema)
        require(models, self.requires, self.title)
        may_boost = self.fuses or self.reference or self.boosts or self.vectors
        if not (self.asks or self.boosts) and (box := next(filter(is_black_box, models), None)):
            raise UsageError(
                f"{self.title} needs every client's model, and {box!r} stays at its site and answers queries: give its "
                "client another model, or take mosaic, which asks"
            )
        if not is_network(student) and self.serves == ONE_MODEL and not may_boost:
            raise UsageError(
                f"{self.title} trains a network, and student {student} is none: name one, as mlp:64, or take mosaic"
            )
        check_attack(self, config, schema, models)
        if self.checks:
            _function(self.checks)(config, schema, models, student)

    def check_samples(self, schema: "Schema") -> None:
        """Raise UsageError for samples that the method does not take, whatever the models are."""
        if schema.joins and not self.fields:
            raise UsageError(
                f"{self.title} takes samples of one field, and these have {', '.join(schema.fields)}: take mosaic or "
                "fedavg, or leave all fields but one out of the data"
            )
        if self.images and len(schema.shape) != AXES:
            raise UsageError(
                f"{self.title} makes images at the server, and these samples are {schema.summary}: take a method that "
                "does not, as mosaic"
            )
        if self.vectors and not schema.of_vectors:
            raise UsageError(
                f"{self.title} works on vectors of a public encoder, and these samples are {schema.summary}: say "
                "--encoder auto, or name one, as --encoder gabor for grey images"
            )


def _function(path: str) -> Any:
    """The function at "package.module:function"."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
