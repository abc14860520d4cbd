"""The grid of a comparison as values: the methods, the settings, and the configuration of each cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mosaic_fl.config import Config
from mosaic_fl.config.budgets import CLIENT, SERVER, scaled
from mosaic_fl.config.budgets import METHODS as METHOD_BUDGETS
from mosaic_fl.config.presets import preset_config
from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.methods import METHODS, Card
from mosaic_fl.registries import PARTITIONS

METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}
"""Figures by which methods are ordered and compared, all in percent, and their names in tables."""
CENTRALISED = "centralised"
"""The student trained on the pooled data: a reference line, not a federated method."""
ROUNDS = ("rounds.warm_up", "rounds.steps")
CLIENT_MODELS = "models.clients"
LINEAR = "discriminant"
LARGE = ("quadratic", "mixture")
Architectures = Literal["equal", "mixed"]
AXES = {
    "run.method": "methods",
    "run.seed": "seeds",
    "partition.clients": "clients",
    "partition.alpha": "alpha",
    "rounds.warm_up": "rounds",
}
"""Settings that are axes of the grid, with their options on the command line."""
METHOD_SETTINGS = (
    "train.", "generator.", "prototypes.", "moments.", "experts.", "meta.", "distill.", "synthesis.", "rounds.",
    "models.ratios",
)  # fmt: skip
"""Prefixes of settings that one method may have for itself: they change the method, never its data."""
CLIENT_SETTINGS = ("train.", "generator.", "prototypes.", "moments.", "privacy.", "rounds.")
"""Those of `METHOD_SETTINGS` that change the clients' work: a method's own values of them are a caveat of its row."""
BUDGETS = (*CLIENT, *SERVER, *METHOD_BUDGETS)
"""The budgets of all methods. They shrink by one share, so that methods stay as comparable as they were."""
UNSUPPORTED = {
    "rounds.fine_tune": "a comparison has no rounds after the result, for any method",
    "run.engine": "a comparison computes in its own processes; mosaic run has --engine",
    "run.centralised": "in a comparison the pooled data is a method of its own: --methods centralised",
    "privacy.epsilon": "a comparison shares work among methods that send without noise; mosaic run has --epsilon",
}
"""Settings that have no effect in a comparison, and why."""


@dataclass(frozen=True, order=True)
class Setting:
    """Clients, their data and their architectures: the conditions that all methods share."""

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
    """One run: a method in a setting with `rounds` rounds, or with as many local steps in fewer exchanges."""

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
    """The axes of a comparison, and the settings of all its cells: `values` ({"section.key": value}) over `preset`.

    A key "method:section.key" is for that method alone and has precedence: a budget that only one paper's method needs.
    `share` is the part, 0..1, that every cell has of all budgets that these settings, and its method's paper, say.
    `metric` is one of `METRICS`, by which the tables order and compare the methods, or "auto": the accuracy, and of
    rows of two classes the AUROC.

    Raises UsageError for an unknown method, for architectures other than equal and mixed, for an axis that is empty or
    repeats a value, and for values that are not settings or belong to an axis.
    """

    methods: Sequence[str]
    clients: Sequence[int] = (5,)
    alphas: Sequence[float] = (0.1,)
    architectures: Sequence[str] = ("equal", "mixed")
    rounds: Sequence[int] = (1,)
    seeds: Sequence[int] = (0,)
    preset: str = "default"
    values: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    metric: str = "auto"

    def __post_init__(self) -> None:
        for name, values in self._axes().items():
            if not values:
                raise UsageError(f"--{name} is empty: a grid needs at least one")
            duplicate = next((value for value in values if list(values).count(value) > 1), None)
            if duplicate is not None:
                raise UsageError(f"--{name} names {duplicate} twice")
        for method in self.methods:
            if method not in all_methods():
                raise unknown("method", method, all_methods())
        for kind in self.architectures:
            if kind not in get_args(Architectures):
                raise unknown("architectures", kind, get_args(Architectures))
        if self.metric not in ("auto", *METRICS):
            raise unknown("metric", self.metric, ("auto", *METRICS))
        for key in self.values:
            method, colon, path = key.rpartition(":")
            if colon and method not in self.methods:
                raise unknown("method", method, self.methods)
            if path in UNSUPPORTED:
                raise UsageError(f"{path}: {UNSUPPORTED[path]}")
            if path in AXES and not (colon and path in _aggregator_rounds(method)):
                raise UsageError(f"{path} is an axis of the grid: say --{AXES[path]}")
            if colon and path.split(".")[0] in Config.model_fields and not path.startswith(METHOD_SETTINGS):
                raise UsageError(f"{path} is the same for all methods, so that they compare: say it without {method}:")
        if len(self.alphas) > 1 and (split := self.base().partition.split) and not PARTITIONS[split].uses_alpha:
            alphas = ",".join(f"{alpha:g}" for alpha in self.alphas)
            raise UsageError(f"--alpha {alphas}: the split {split} has none, and all would be the same: say one")
        if min(self.rounds) < 1:
            raise UsageError(f"--rounds {min(self.rounds)}: a method exchanges at least once")
        settings = self.settings()  # the configurations check the bounds of all numbers and all methods' defaults
        for setting, method in [(s, self.methods[0]) for s in settings] + [(settings[0], m) for m in self.methods]:
            self._config(setting, method, max(self.rounds))

    def _axes(self) -> dict[str, Sequence[object]]:
        return {
            "methods": self.methods, "clients": self.clients, "alpha": self.alphas,
            "architectures": self.architectures, "rounds": self.rounds, "seeds": self.seeds,
        }  # fmt: skip

    def options(self) -> dict[str, str]:
        """The options of a comparison that `base` does not show, as on a command line.

        These are the axes, the settings of single methods, and the user's values of settings for which some method's
        paper has a default. The latter matter even where they equal the general default.
        """
        axes = {name: ",".join(map(str, values)) for name, values in self._axes().items()}
        paper_keys = {key for method in self.methods if method in METHODS for key in METHODS[method].defaults}
        settings = {key: value for key, value in self.values.items() if ":" in key or key in paper_keys}
        return axes | {f"set {key}": str(value) for key, value in settings.items()}

    def _values_of(self, method: str) -> dict[str, Any]:
        """The values for `method`: those for all methods, then its own over them."""
        return self._shared_values() | self.own_values(method)

    def _shared_values(self) -> dict[str, Any]:
        return {key: value for key, value in self.values.items() if ":" not in key}

    def own_values(self, method: str) -> dict[str, Any]:
        """The values for `method` alone."""
        return {key.removeprefix(f"{method}:"): v for key, v in self.values.items() if key.startswith(f"{method}:")}

    def settings(self) -> list[Setting]:
        """All settings, in the order in which they run: one seed after the other, so that full tables come early."""
        return [
            Setting(clients, alpha, kind, seed)  # type: ignore[arg-type]
            for clients in self.clients
            for seed in self.seeds
            for alpha in self.alphas
            for kind in self.architectures
        ]

    def cells(self) -> list[Cell]:
        """All cells, setting by setting, because cells of one setting share work at clients."""
        return [
            Cell(setting, method, rounds)
            for setting in self.settings()
            for method in self.methods
            for rounds in (self.rounds if has_rounds(method) else (1,))
        ]

    def cell_rounds(self, method: str, rounds: int) -> int:
        """The rounds of the method's cell in the table of `rounds`: a one-shot method has one cell for all tables."""
        return rounds if has_rounds(method) else 1

    def base(self) -> Config:
        """The configuration without the axes and without the methods' own defaults."""
        return self._scaled(preset_config(self.preset).with_values(self._shared_values()))

    def config(self, cell: Cell, models: Sequence[str], student: str) -> Config:
        """The cell's configuration, where `models` are the clients' architectures in the mixed setting.

        The preset has precedence over the method's own defaults, and the user's values over the preset. In a single
        round a client trains as in a one-shot method: to the end, and as `[train]` says if `rounds.optimiser` is auto.
        A method whose rounds are its own, of a small aggregator (FENS) or of boosting, keeps its number of rounds. One
        that uses no client's model keeps the one that its card names. A quadratic student of a method that fuses, or
        one of mixtures, follows from moments alone: its clients have the linear form, which is many times smaller.
        """
        mixed = cell.setting.architectures == "mixed"
        card = METHODS.get(cell.method)
        own = card.defaults.get(CLIENT_MODELS) if card else None
        equal = LINEAR if card and card.fuses and student in LARGE else student
        names = {CLIENT_MODELS: own or (list(models) if mixed else [equal]), "models.student": student}
        return self._config(cell.setting, cell.method, cell.rounds).with_values(names)

    def _scaled(self, config: Config) -> Config:
        return scaled(config, self.share, BUDGETS)

    def _config(self, setting: Setting, method: str, rounds: int) -> Config:
        return self._scaled(self._usual(setting, method, rounds))

    def _usual(self, setting: Setting, method: str, rounds: int) -> Config:
        card = METHODS.get(method)
        values = self._values_of(method) | {
            "partition.clients": setting.clients,
            "partition.alpha": setting.alpha,
            "run.seed": setting.seed,
            "rounds.fine_tune": 0,
        }
        if has_rounds(method):
            values["rounds.warm_up"] = rounds if card and card.rounds else rounds - 1
        elif card:  # the values for all methods do not change rounds that are its own
            own = [key for key in _aggregator_rounds(method) if f"{method}:{key}" not in self.values]
            values |= {key: card.defaults[key] for key in own}
        if card:
            values["run.method"] = method
        config = preset_config(self.preset, card.defaults if card else None).with_values(values)
        steps = config.rounds.steps
        if rounds == 1 and has_rounds(method):
            kind = "train" if config.rounds.optimiser == "auto" else config.rounds.optimiser
            return config.with_values({"rounds.steps": 0, "rounds.optimiser": kind})
        # As many steps in all as every other method: half of the rounds average, and the exchange has the steps of the
        # other half. With fewer, its experts would hardly differ from the average (docs/notes/baselines.md).
        if card and card.fuses and steps:
            averaging = rounds // 2
            exchange_steps = (rounds - averaging) * steps
            budget = {"train.min_steps": exchange_steps, "train.max_steps": exchange_steps}
            if self.own_values(method).keys() & budget:
                budget = {}
            return config.with_values({"rounds.warm_up": averaging} | budget)
        return config


def all_methods() -> list[str]:
    """All names that a grid accepts: the registered methods, then the reference line of pooled data."""
    return [*METHODS, CENTRALISED]


def has_rounds(method: str) -> bool:
    """Whether the grid's number of rounds is the method's. Rounds of boosting, one tree each, are its own."""
    card = METHODS.get(method)
    return card is not None and (card.rounds or card.fuses) and not card.boosts


def _aggregator_rounds(method: str) -> list[str]:
    """The settings of rounds that are a method's own, not the grid's axis of rounds: of FENS, and of boosting."""
    card = METHODS.get(method)
    return [] if card is None or has_rounds(method) else [key for key in ROUNDS if key in card.defaults]


def needs(card: Card, setting: Setting) -> str:
    """What the method needs and the setting lacks, in words; empty where nothing is missing."""
    mixed = setting.architectures == "mixed"
    return "needs equal architectures" if card.equal_architectures and mixed else ""
