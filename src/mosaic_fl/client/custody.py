"""A site's custody of its data: what it is asked for is checked by its own limits, and what leaves is in its log.

Both engines' clients and the command for files go through this one place.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from mosaic_fl.client.budget import spend
from mosaic_fl.client.choice import rivals
from mosaic_fl.client.contribute import Site, split
from mosaic_fl.client.generators import trainees
from mosaic_fl.config import Config
from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.errors import RefusalError
from mosaic_fl.exchange.privacy import Statement
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.numerics.moments import LEAST
from mosaic_fl.storage.chain import Entry, append, read_chain

# Kinds of what leaves, each with its limit.
CONTRIBUTION = "contribution"
ROUND = "round"
JUDGEMENT = "judgement"
ANSWER = "answer"
STATISTICS = "statistics"
BUDGETS: Mapping[str, str] = {
    CONTRIBUTION: "contributions",
    ROUND: "rounds",
    JUDGEMENT: "judged",
    ANSWER: "queries",
    STATISTICS: "rounds",
}
SENT = "sent"
BEHIND: Mapping[str, int] = {"moments": LEAST, "cart": 10, "marginals": 10, "exact_moments": 1, "mixtures": 1}
"""Least samples behind each number of a family. Networks are of all samples at once, and have no such number."""


class Holder(Protocol):
    """What something leaves of: the data of a site, or a model alone, whose data are elsewhere (no digest)."""

    @property
    def data_digest(self) -> str:
        """Of the samples."""

    @property
    def architecture(self) -> str:
        """Of the model."""


@dataclass(frozen=True)
class Thing:
    """A model that answers queries, by its name or place, or a table that statistics are told of, by its digest."""

    architecture: str = ""
    data_digest: str = ""


@dataclass(frozen=True)
class Custody:
    """The `limits` of a site (None: a simulation, which has none), and its `log` (None: nothing is written).

    `place` says where the data are, and `to` who gets what leaves; both stay in the log. What is `released` of the same
    data or the same place counts against the budgets.
    """

    limits: SiteLimits | None = None
    log: Path | None = None
    place: str = ""
    to: str = ""
    logged: set[str] = field(default_factory=set, compare=False)

    @property
    def figures(self) -> bool:
        """Whether figures of validation and training may leave."""
        return self.limits is None or self.limits.figures

    @property
    def least(self) -> int:
        """Least samples behind a figure that leaves."""
        return (self.limits or SiteLimits()).min_cluster

    @property
    def demand(self) -> str:
        """What the site asks of every contribution's audit; empty without a gate. What was made for another is old."""
        limits = self.limits
        if limits is None or limits.gate == "off":
            return ""
        return f"{limits.gate} {limits.auc:g} {limits.small_auc:g}"

    def with_gate(self, config: Config) -> Config:
        """The settings with the site's own gate, where that is the stricter one."""
        if self.limits is None:
            return config
        return config.model_copy(update={"audit": self.limits.audit(config.audit)})

    def check(self, site: Site, config: Config, device: torch.device, kind: str) -> None:
        """Raise RefusalError for what the site's limits forbid, before any work; `kind` is what would leave."""
        limits = self.limits
        if limits is None:
            return
        if len(site.data) < limits.least_samples:
            raise RefusalError(f"the site has fewer samples than its limits.least_samples = {limits.least_samples}")
        if limits.epsilon is not None and not config.privacy.epsilon:
            raise RefusalError(
                f"limits.epsilon = {limits.epsilon:g} is a budget, and this {kind} has no differential privacy: "
                "privacy.epsilon is 0"
            )
        black_box = is_black_box(site.architecture)
        if not limits.expert and not config.privacy.epsilon and not black_box and kind in (CONTRIBUTION, ROUND):
            raise RefusalError(f"limits.expert = false, and a {kind} has weights of the site's model")
        if not config.privacy.epsilon:
            self.check_gate(ANSWER if black_box and kind == CONTRIBUTION else kind)
        if kind in (CONTRIBUTION, ROUND):
            self._check_steps(limits, "train.max_steps", config.train.max_steps)
        if kind == CONTRIBUTION:
            self._check_prototypes(limits, config)
            self._check_generator(limits, site, config, device)
            if config.moments.encoder and not limits.moments:
                raise RefusalError(f"moments.encoder = {config.moments.encoder}, and limits.moments = false")
            if config.moments.encoder:
                self._check_behind(limits, f"moments.encoder = {config.moments.encoder}", LEAST)
                self._check_components(limits, config.generator.components)

    def foresee(self, site: Holder, kind: str, statement: Statement | None) -> None:
        """Raise RefusalError, before any work, where the budgets do not allow that something new leaves."""
        if self.limits is not None:
            entries = self.entries()
            self._check_count(site, kind, entries)
            spend(statement, self.released(site, entries), "", self.limits, kind)

    def check_steps(self, settings: Mapping[str, Any]) -> None:
        """Raise RefusalError for a job whose own `settings` of training ask for too many steps."""
        if self.limits is not None and isinstance(steps := settings.get("max_steps"), int):
            self._check_steps(self.limits, "max_steps", steps)

    def check_gate(self, kind: str) -> None:
        """Raise RefusalError for what no audit sees, where nothing else may leave; noise needs no audit."""
        unseen = {ROUND: "a round sends", ANSWER: "a black box answers", STATISTICS: "statistics tell"}
        if self.limits is not None and self.limits.gate == "refuse" and kind in unseen:
            raise RefusalError(f"limits.gate = refuse, and no audit sees what {unseen[kind]}")

    def check_statistics(self, rows: int, least: int, *, private: bool) -> None:
        """Raise RefusalError for statistics of a table of so many `rows` that the limits forbid.

        `least` rows stand behind each value that is told, but where they are `private`: noise hides them.
        """
        limits = self.limits
        if limits is None:
            return
        if rows < limits.least_samples:
            raise RefusalError(f"the site has fewer samples than its limits.least_samples = {limits.least_samples}")
        if private:
            return
        if limits.epsilon is not None:
            raise RefusalError(
                f"limits.epsilon = {limits.epsilon:g} is a budget, and these statistics have no noise: give --epsilon"
            )
        self.check_gate(STATISTICS)
        if least < limits.min_cluster:
            raise RefusalError(f"--least-rows {least} is below limits.min_cluster = {limits.min_cluster}")

    def check_sums(self) -> None:
        """Raise RefusalError for sums over bins and nodes, of which some are of single rows."""
        if self.limits is not None and self.limits.min_cluster > 1:
            raise RefusalError(
                f"sums over bins may be of one row each, and limits.min_cluster is {self.limits.min_cluster}"
            )

    def entries(self) -> Sequence[Entry]:
        """The site's log so far; raises UsageError where it was edited."""
        return read_chain(self.log).entries if self.log is not None else ()

    def write(self, event: str, **values: Any) -> None:
        """Add an `event` to the log."""
        if self.log is not None:
            append(self.log, lambda _: {"event": event, **values})

    def read(self, site: Site) -> None:
        """Log that the data were read; once a process."""
        if self.log is not None and site.data_digest not in self.logged:
            self.write("read", data=site.data_digest, place=self.place, samples=len(site.data))
            self.logged.add(site.data_digest)

    def release(
        self, site: Holder, kind: str, content: bytes, statement: Statement | None, draw: str = "", **about: Any
    ) -> None:
        """Log that `content` leaves now, with what its `statement` costs; returns when the disk has the line.

        Nothing may leave before. Raises RefusalError where the budgets do not allow it. What follows from one `draw` of
        noise, by default the same bytes, costs once.
        """
        log = self.log
        if log is None:
            return
        digest = hashlib.sha256(content).hexdigest()  # as sha256sum prints it
        line = {
            "event": SENT,
            "kind": kind,
            "to": self.to,
            "content": digest,
            "bytes": len(content),
            "draw": draw or digest,
            "data": site.data_digest,
            "place": self.place,
            "model": site.architecture,
            **({} if statement is None else statement.to_json()),
            **about,
        }

        def make(entries: Sequence[Entry]) -> Mapping[str, Any]:
            if self.limits is not None:
                self._check_count(site, kind, entries, line["content"])
                spend(statement, self.released(site, entries), line["draw"], self.limits, kind)
            return line

        append(log, make)

    def released(self, site: Holder, entries: Sequence[Entry]) -> list[Mapping[str, Any]]:
        """What has left of these data, or of others at their place."""
        own = {"data": site.data_digest, "place": self.place}
        sent = [entry.values for entry in entries if entry.values.get("event") == SENT]
        return [line for line in sent if any(value and line.get(name) == value for name, value in own.items())]

    def _check_count(self, site: Holder, kind: str, entries: Sequence[Entry], content: str = "") -> None:
        assert self.limits is not None
        name = BUDGETS[kind]
        most: int = getattr(self.limits, name)
        before = {line.get("content") for line in self.released(site, entries) if line.get("kind") == kind}
        if len(before - {content}) >= most:
            raise RefusalError(f"limits.{name} = {most}, and so many have left of these data")

    def _check_steps(self, limits: SiteLimits, name: str, steps: int) -> None:
        if steps > limits.steps:
            raise RefusalError(f"{name} = {steps} is above limits.steps = {limits.steps}")

    def _check_prototypes(self, limits: SiteLimits, config: Config) -> None:
        wish = config.prototypes
        if not wish.per_class:
            return
        if wish.min_cluster < limits.min_cluster:
            raise RefusalError(
                f"prototypes.min_cluster = {wish.min_cluster} is below limits.min_cluster = {limits.min_cluster}"
            )
        if wish.per_class > limits.prototypes:
            raise RefusalError(
                f"prototypes.per_class = {wish.per_class} is above limits.prototypes = {limits.prototypes}"
            )

    def _check_generator(self, limits: SiteLimits, site: Site, config: Config, device: torch.device) -> None:
        wish = config.generator
        if wish.family == "none":
            return
        if limits.generator is False:
            raise RefusalError(f"generator.family = {wish.family}, and limits.generator = false")
        train, validation = split(site, config)
        families = set[str]()
        for trainee in trainees(train, None, wish, device):
            if trainee.family == "none":
                continue
            self._check_steps(limits, "generator.steps", wish.steps_for(len(trainee.data)))
            classes = len(validation.labels.unique())
            families |= {
                trainee.family,
                *rivals(wish, len(trainee.data), len(validation), classes, trainee.data.schema),
            }
        for family in sorted(families):
            if limits.generator is not True and family not in limits.generator:
                allowed = ", ".join(limits.generator) or "none"
                raise RefusalError(f"generator {family} is not of limits.generator ({allowed})")
            if not config.privacy.epsilon:  # noise hides how many samples are behind a number
                self._check_behind(limits, f"generator {family}", BEHIND.get(family))
            if family == "moments":
                self._check_components(limits, wish.components)

    def _check_components(self, limits: SiteLimits, wish: int) -> None:
        """A component's mean is as a prototype: the mean of a group of samples of a class."""
        if wish > max(limits.prototypes, 1):
            raise RefusalError(f"generator.components = {wish} is above limits.prototypes = {limits.prototypes}")

    def _check_behind(self, limits: SiteLimits, what: str, least: int | None) -> None:
        if least is not None and least < limits.min_cluster:
            samples = f"{least} sample{'s' * (least != 1)}"
            raise RefusalError(f"{what} tells of {samples} and more, and limits.min_cluster is {limits.min_cluster}")
