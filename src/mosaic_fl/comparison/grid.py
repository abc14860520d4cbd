"""The grid of a comparison as values: which method runs in which setting, and with which configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mosaic_fl.config import Config
from mosaic_fl.config.presets import preset_config
from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.methods import METHODS, Card
from mosaic_fl.registries import PARTITIONS

CENTRALISED = "centralised"
"""The student trained on the pooled data: a reference line, and no federated method."""
ROUNDS = ("rounds.warm_up", "rounds.steps")
Architectures = Literal["equal", "mixed"]
AXES = {
    "run.method": "methods",
    "run.seed": "seeds",
    "partition.clients": "clients",
    "partition.alpha": "alpha",
    "rounds.warm_up": "rounds",
}
"""Settings that the grid gives, by the option that says them."""
OWN = ("train.", "generator.", "prototypes.", "experts.", "meta.", "distill.", "synthesis.", "rounds.", "models.ratios")
"""What settings begin with that may be another one for one method: how it works, never on what."""
LOCAL = ("train.", "generator.", "prototypes.", "rounds.")
"""Those of them that are the clients' work: who has another one is told from the others by it."""
NOT_HERE = {
    "rounds.fine_tune": "a comparison has no rounds after the result, for any method",
    "run.engine": "a comparison computes in its own processes; mosaic run has --engine",
    "run.centralised": "in a comparison the pooled data is a method of its own: --methods centralised",
}
"""Settings that would change nothing, and why."""


@dataclass(frozen=True, order=True)
class Setting:
    """Clients, their data and their architectures: what all methods share."""

    clients: int
    alpha: float
    architectures: Architectures
    seed: int

    def __str__(self) -> str:
        return f"{self.clients} clients · α = {self.alpha:g} · {self.architectures} · seed {self.seed}"

    @property
    def name(self) -> str:
        """A name for files."""
        return f"clients-{self.clients}_alpha-{self.alpha!r}_{self.architectures}_seed-{self.seed}"


@dataclass(frozen=True, order=True)
class Cell:
    """One run: a method in a setting with `rounds` rounds, or what has as many local steps in fewer exchanges."""

    setting: Setting
    method: str
    rounds: int

    def __str__(self) -> str:
        return f"{self.setting} · {self.method}, {self.rounds} round{'s' * (self.rounds != 1)}"

    @property
    def name(self) -> str:
        """A name for files."""
        return f"{self.setting.name}_{self.method}_rounds-{self.rounds}"


@dataclass(frozen=True)
class Grid:
    """Axes, and what is the same everywhere: `preset`, and `values` ({"section.key": value}) over it.

    A key "method:section.key" holds for that method alone, over all others: a budget that one paper's method needs
    and no other should pay for.

    Raises UsageError for an unknown method, architectures that are neither equal nor mixed, an axis that is empty or
    names something twice, values that are no setting, and values that an axis gives.
    """

    methods: Sequence[str]
    clients: Sequence[int] = (5,)
    alphas: Sequence[float] = (0.1,)
    architectures: Sequence[str] = ("equal", "mixed")
    rounds: Sequence[int] = (1,)
    seeds: Sequence[int] = (0,)
    preset: str = "default"
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self._axes().items():
            if not values:
                raise UsageError(f"--{name} is empty: a grid needs at least one")
            twice = next((value for value in values if list(values).count(value) > 1), None)
            if twice is not None:
                raise UsageError(f"--{name} names {twice} twice")
        for method in self.methods:
            if method not in known_methods():
                raise unknown("method", method, known_methods())
        for kind in self.architectures:
            if kind not in get_args(Architectures):
                raise unknown("architectures", kind, get_args(Architectures))
        for key in self.values:
            method, of_one, path = key.rpartition(":")
            if of_one and method not in self.methods:
                raise unknown("method", method, self.methods)
            if path in NOT_HERE:
                raise UsageError(f"{path}: {NOT_HERE[path]}")
            if path in AXES and not (of_one and path in _aggregating(method)):
                raise UsageError(f"{path} is an axis of the grid: say --{AXES[path]}")
            if of_one and path.split(".")[0] in Config.model_fields and not path.startswith(OWN):
                raise UsageError(f"{path} is the same for all methods, so that they compare: say it without {method}:")
        if len(self.alphas) > 1 and (split := self.base().partition.split) and not PARTITIONS[split].uses_alpha:
            alphas = ",".join(f"{alpha:g}" for alpha in self.alphas)
            raise UsageError(f"--alpha {alphas}: the split {split} has none, and all would be the same: say one")
        if min(self.rounds) < 1:
            raise UsageError(f"--rounds {min(self.rounds)}: a method exchanges at least once")
        settings = self.settings()  # every number in its bounds, and every method's defaults beside the values
        for setting, method in [(s, self.methods[0]) for s in settings] + [(settings[0], m) for m in self.methods]:
            self._config(setting, method, max(self.rounds))

    def _axes(self) -> dict[str, Sequence[object]]:
        return {
            "methods": self.methods, "clients": self.clients, "alpha": self.alphas,
            "architectures": self.architectures, "rounds": self.rounds, "seeds": self.seeds,
        }  # fmt: skip

    def options(self) -> dict[str, str]:
        """What `base` does not show of a comparison, as it is written on a command line.

        The axes; settings of single methods; and those that some method's paper has another value for, over which the
        user's lies, even if it is everybody's default.
        """
        axes = {name: ",".join(map(str, values)) for name, values in self._axes().items()}
        of_papers = {key for method in self.methods if method in METHODS for key in METHODS[method].defaults}
        given = {key: value for key, value in self.values.items() if ":" in key or key in of_papers}
        return axes | {f"set {key}": str(value) for key, value in given.items()}

    def _of(self, method: str) -> dict[str, Any]:
        """The values that hold for `method`: everybody's, then its own."""
        return self._common() | self.own(method)

    def _common(self) -> dict[str, Any]:
        return {key: value for key, value in self.values.items() if ":" not in key}

    def own(self, method: str) -> dict[str, Any]:
        """The values that hold for `method` alone."""
        return {key.removeprefix(f"{method}:"): v for key, v in self.values.items() if key.startswith(f"{method}:")}

    def settings(self) -> list[Setting]:
        """All settings, in the order in which they run: whole tables come early, one seed after the other."""
        return [
            Setting(clients, alpha, kind, seed)  # type: ignore[arg-type]
            for clients in self.clients
            for seed in self.seeds
            for alpha in self.alphas
            for kind in self.architectures
        ]

    def cells(self) -> list[Cell]:
        """All cells, setting by setting, so that work at clients is shared while it is there."""
        return [
            Cell(setting, method, rounds)
            for setting in self.settings()
            for method in self.methods
            for rounds in (self.rounds if has_rounds(method) else (1,))
        ]

    def shown(self, method: str, rounds: int) -> int:
        """The rounds of the cell that stands in the table for `rounds`: a one-shot method stands in all of them."""
        return rounds if has_rounds(method) else 1

    def base(self) -> Config:
        """The configuration without what the axes and the methods' own defaults say."""
        return preset_config(self.preset).with_values(self._common())

    def config(self, cell: Cell, models: Sequence[str], student: str) -> Config:
        """The cell's configuration, where `models` are the clients' architectures in the mixed setting.

        A method's own defaults lie below the preset, and the preset below the user's values. In one round a client
        trains as in a one-shot method: to the end, and where `rounds.optimiser` is auto as `[train]` says. A
        one-shot method whose small aggregator has rounds of its own (FENS) keeps those.
        """
        mixed = cell.setting.architectures == "mixed"
        named = {"models.clients": list(models) if mixed else [student], "models.student": student}
        return self._config(cell.setting, cell.method, cell.rounds).with_values(named)

    def _config(self, setting: Setting, method: str, rounds: int) -> Config:
        card = METHODS.get(method)
        values = self._of(method)
        given = values | {
            "partition.clients": setting.clients,
            "partition.alpha": setting.alpha,
            "run.seed": setting.seed,
            "rounds.fine_tune": 0,
        }
        if has_rounds(method):
            given["rounds.warm_up"] = rounds if card and card.rounds else rounds - 1
        elif card:  # the rounds of all others are not those of its aggregator
            own = [key for key in _aggregating(method) if f"{method}:{key}" not in self.values]
            given |= {key: card.defaults[key] for key in own}
        if card:
            given["run.method"] = method
        config = preset_config(self.preset, card.defaults if card else None).with_values(given)
        steps = config.rounds.steps
        if rounds == 1 and has_rounds(method):
            kind = "train" if config.rounds.optimiser == "auto" else config.rounds.optimiser
            return config.with_values({"rounds.steps": 0, "rounds.optimiser": kind})
        # Half of the rounds' steps go to averaging and the others to the exchange, whose experts would hardly differ
        # from the average else (docs/notes/baselines.md).
        if card and card.fuses and steps:  # no more steps in all than anybody's
            averaging = rounds // 2
            rest = (rounds - averaging) * steps
            last = {"train.min_steps": rest, "train.max_steps": rest}
            return config.with_values({"rounds.warm_up": averaging} | ({} if self.own(method).keys() & last else last))
        return config


def known_methods() -> list[str]:
    """All that can be compared: the registered methods, then the line of pooled data."""
    return [*METHODS, CENTRALISED]


def has_rounds(method: str) -> bool:
    """Whether more rounds change what the method does."""
    card = METHODS.get(method)
    return card is not None and (card.rounds or card.fuses)


def _aggregating(method: str) -> list[str]:
    """The settings of rounds that are of an aggregator's own, which no more exchanges change (FENS)."""
    card = METHODS.get(method)
    return [] if card is None or has_rounds(method) else [key for key in ROUNDS if key in card.defaults]


def needs(card: Card, setting: Setting) -> str:
    """What a method needs that the setting does not have, in words; empty where it has all."""
    mixed = setting.architectures == "mixed"
    return "needs equal architectures" if card.equal_architectures and mixed else ""
