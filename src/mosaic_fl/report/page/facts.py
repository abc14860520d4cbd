"""What a report says of one run: its result, and the figures that follow from it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosaic_fl.exchange.audited import Audited
from mosaic_fl.methods import METHODS
from mosaic_fl.numerics.intervals import paired_difference, wilson
from mosaic_fl.report.doubts import left_out_lines, trust_lines
from mosaic_fl.report.page.charts import Change, Pair, Score
from mosaic_fl.report.page.home import Home, homes

WATTS = 15.0  # assumed of a busy core and its memory, for an estimate of energy
MOST_SITES = 40  # in a drawing or a table
MOST_CLASSES = 40  # columns of a heat map
WORST = 6  # rows of a list of confusions or weak classes
MODELS = {
    "centralised_accuracy": "model of pooled data",
    "accuracy": "shared model",
    "teacher_accuracy": "teacher",
    "class_weighted_accuracy": "class-weighted mean",
    "ensemble_accuracy": "mean of logits",
}
AREAS = {
    "centralised": "model of pooled data",
    "served": "shared model",
    "teacher": "teacher",
    "class_weighted": "class-weighted mean",
    "ensemble": "mean of logits",
}
Named = list[tuple[str, list[float | None]]]


@dataclass(frozen=True)
class Facts:
    """One run: the `folder`'s name, the content of `result.json`, its configuration, pictures and hashes.

    `pictures` are data URIs by what they show, `generated` the content of `pictures/generated.json`, `sources` the
    contribution files of a distillation by client, each with its hash; `command` wrote it all, and told the `notes`.
    """

    folder: str
    result: Mapping[str, Any]
    configuration: str
    pictures: Mapping[str, str]
    hashes: Mapping[str, str]
    generated: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    command: str = "run"
    notes: Sequence[str] = ()

    @property
    def title(self) -> str:
        """The method and its data."""
        data = Path(str(self.result.get("data") or "")).name
        method = str(self.result.get("method"))
        title = self.result.get("title") or (METHODS[method].title if method in METHODS else method)
        return f"{title}{f' on {data}' if data else ''}"

    @property
    def figures(self) -> Mapping[str, Any]:
        """The content of `result.json`, in which a figure that was not measured is None."""
        return defaultdict(lambda: None, self.result)

    @property
    def detail(self) -> Mapping[str, Any]:
        """The figures of the test set; empty where nothing was tested."""
        return defaultdict(lambda: None, self.result.get("detail") or {})

    @property
    def tested(self) -> int:
        """How many test samples there are."""
        return int(self.detail["samples"] or 0)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, where they are told."""
        return [str(name) for name in self.detail["classes"] or []]

    @property
    def mapped(self) -> bool:
        """Whether the classes are few enough for heat maps."""
        return 0 < len(self.classes) <= MOST_CLASSES

    @property
    def clients(self) -> list[int]:
        """The numbers of the clients."""
        numbers = self.result.get("contributors")
        return list(numbers) if numbers else list(range(len(self.result.get("models") or [])))

    @property
    def names(self) -> list[str]:
        """The clients' names."""
        return [site(client) for client in self.clients]

    @property
    def is_ensemble(self) -> bool:
        """Whether all clients' models serve together, and no one model was made of them."""
        return (self.result.get("models_served") or 1) > 1

    @property
    def scores(self) -> list[Score]:
        """The accuracy of every model on the test set: those of all clients first, then each client's own."""

        def score(name: str, value: float, own: bool = False) -> Score:
            return Score(name, value, *(wilson(value, self.tested) if self.tested else (value, value)), own)

        shared = [score(name, self.result[key]) for key, name in MODELS.items() if self.result.get(key) is not None]
        pairs = zip(self.names, self.result.get("local_accuracy") or [], strict=False)
        return shared + [score(name, value, own=True) for name, value in pairs if value is not None][:MOST_SITES]

    @property
    def aurocs(self) -> list[Score]:
        """The AUROC of every model with its bootstrap interval; empty where samples are no rows of a table."""
        told = self.detail["auroc"] or {}
        shared = [Score(name, told[key][0], told[key][1], told[key][2]) for key, name in AREAS.items() if told.get(key)]
        local = zip(self.names, told.get("local") or [], strict=False)
        return shared + [Score(name, values[0], values[1], values[2], own=True) for name, values in local if values]

    @property
    def gains(self) -> list[Change]:
        """What each site gains on the test set, in points."""
        points = (self.result.get("taking_part") or {}).get("test", {}).get("points") or []
        return [Change(name, value) for name, value in zip(self.names, points, strict=False)][:MOST_SITES]

    @property
    def at_home(self) -> list[Pair]:
        """The accuracies of each site's own model and of the shared one on its own held-back data."""
        rows = zip(self.names, self.result.get("own_data") or [], strict=False)
        both = ((n, row) for n, row in rows if row["alone"] is not None and row["together"] is not None)
        return [Pair(name, row["alone"], row["together"], row["samples"]) for name, row in both][:MOST_SITES]

    @property
    def homes(self) -> list[Home]:
        """Each site's own held-back data and what models do there; empty where nobody told."""
        return homes(self.result)[:MOST_SITES]

    @property
    def home_gains(self) -> list[Change]:
        """What each site gains on its own data, with intervals; empty where no site has both figures."""
        gains = [home.gain for home in self.homes]
        return gains if any(gain.value is not None for gain in gains) else []

    @property
    def home_by_class(self) -> Named:
        """What each site gains on its own data by class, of classes with enough samples."""
        rows = [(home.name, home.gains(len(self.classes))) for home in self.homes]
        return [row for row in rows if any(value is not None for value in row[1])]

    @property
    def recalls(self) -> Named:
        """Recall by class of the shared model, the teacher and every client's model, by name."""
        by_model = self.detail["recall_by_model"] or {}
        rows = [("shared model", list(self.result.get("recall") or []))]
        if by_model.get("teacher"):
            rows.append(("teacher", by_model["teacher"]))
        rows += list(zip(self.names, by_model.get("local") or [], strict=False))[:MOST_SITES]
        return [(name, values) for name, values in rows if values and len(values) == len(self.classes)]

    @property
    def gains_by_class(self) -> Named:
        """What each site gains or loses by class, in points of recall on the test set."""
        rows = self.recalls
        if not rows or rows[0][0] != "shared model":
            return []
        together = rows[0][1]

        def change(ours: float | None, theirs: float | None) -> float | None:
            return None if ours is None or theirs is None else 100 * (ours - theirs)

        own = [(name, values) for name, values in rows if name not in ("shared model", "teacher")]
        return [(name, [change(*pair) for pair in zip(together, values, strict=True)]) for name, values in own]

    @property
    def confusion(self) -> Named:
        """Each true class with the shares of its answers; None for a class without a sample."""
        counts = self.detail["confusion"] or []
        totals = [sum(row) for row in counts]
        rows = [[n / total if total else None for n in row] for row, total in zip(counts, totals, strict=True)]
        return list(zip(self.classes, rows, strict=False))

    @property
    def mistakes(self) -> list[tuple[str, str, int, float]]:
        """The most frequent mistakes: (true class, answer, how many, share of the class)."""
        counts = self.detail["confusion"] or []
        totals = [sum(row) for row in counts]
        names = self.classes
        pairs = [
            (names[i], names[j], n, n / totals[i])
            for i, row in enumerate(counts)
            for j, n in enumerate(row)
            if n and i != j
        ]
        return sorted(pairs, key=lambda pair: -pair[2])[:WORST]

    @property
    def weak(self) -> list[tuple[str, float]]:
        """The classes that the shared model recognises least."""
        recalls = [(n, v) for n, v in zip(self.classes, self.result.get("recall") or [], strict=False) if v is not None]
        return sorted(recalls, key=lambda pair: pair[1])[:WORST]

    @property
    def split(self) -> list[tuple[str, list[int]]]:
        """How many training samples of each class each client holds."""
        told = self.detail["split"] or {}
        rows = zip(told.get("clients") or [], told.get("counts") or [], strict=False)
        return [(site(client), counts) for client, counts in rows][:MOST_SITES]

    @property
    def listening(self) -> Named:
        """The share of each client in the teacher's word, by class."""
        told = self.detail["listening"] or {}
        rows = zip(told.get("clients") or [], told.get("by_class") or [], strict=False)
        beside = [("class moments of all", list(told["moments"]))] if told.get("moments") else []
        return [(site(client), list(values)) for client, values in rows][:MOST_SITES] + beside

    @property
    def without(self) -> list[Change]:
        """What each client's model adds to the teacher, in points, with a 95 % interval of the paired difference."""
        told = self.detail["without"] or {}
        samples = int(told.get("samples") or 0)
        return [_contributed(row, told["accuracy"], samples) for row in told.get("clients") or []][:MOST_SITES]

    @property
    def audits(self) -> Mapping[int, Audited]:
        """What sites say of their own audits, by client."""
        rows = self.result.get("audit") or []
        return {row["client"]: Audited(**{k: v for k, v in row.items() if k != "client"}) for row in rows}

    @property
    def areas(self) -> list[Score]:
        """The AUC of the worst attack of each audit."""
        rows = [(client, one) for client, one in self.audits.items() if one.attack][:MOST_SITES]
        return [Score(site(c), a.auc, a.low, a.high, about=f": {a.attack} on the {a.on}") for c, a in rows]

    @property
    def limit(self) -> float:
        """The least limit of the audits."""
        return min((one.limit for one in self.audits.values() if one.attack), default=0.6)

    @property
    def energy(self) -> float | None:
        """Watt-hours of one core that is busy all the time; an estimate."""
        total = (self.result.get("seconds") or {}).get("total")
        return None if total is None else float(total) * WATTS / 3600

    @property
    def doubts(self) -> list[str]:
        """Why clients do not count, or not in full, and who was left out of a step."""
        return trust_lines(self.result) + left_out_lines(self.result.get("left_out") or [])


def site(client: int) -> str:
    """The name of a client."""
    return f"client {client}"


def _contributed(row: Mapping[str, Any], accuracy: float, samples: int) -> Change:
    """Accuracy with all minus that without one, and the interval of this difference of shares of the same samples."""
    if row["accuracy"] is None:
        return Change(site(row["client"]), None)
    low, high = paired_difference(row["mends"], row["spoils"], samples)
    about = f": {row['mends']:,} answers mended, {row['spoils']:,} spoilt"
    return Change(site(row["client"]), 100 * (accuracy - row["accuracy"]), 100 * low, 100 * high, about)


def rows_of(run: Facts) -> Sequence[Mapping[str, Any]]:
    """What each client is and has from taking part: one row a client, `MOST_SITES` at most."""
    result = run.result
    gains = (result.get("taking_part") or {}).get("test", {}).get("points") or []
    at_home = result.get("own_data") or []
    trust = {row["client"]: row for row in ((result.get("choice") or {}).get("trust") or {}).get("clients", [])}
    held = dict(run.split)

    def of(values: Any, place: int) -> Any:
        return values[place] if values and place < len(values) else None

    def row(client: int, place: int) -> Mapping[str, Any]:
        home = of(at_home, place) or {}
        counts = held.get(site(client))
        return {
            "client": client,
            "model": of(result.get("models"), place),
            "samples": of(result.get("samples"), place) or (sum(counts) if counts else None),
            "classes": of(result.get("classes_held"), place) or (sum(n > 0 for n in counts) if counts else None),
            "alone": of(result.get("local_accuracy"), place),
            "gain": of(gains, place),
            "home_alone": home.get("alone"),
            "home_together": home.get("together"),
            "home_samples": home.get("samples"),
            "up": of(result.get("bytes_up"), place),
            "down": of(result.get("bytes_down"), place),
            "trust": (trust.get(client) or {}).get("state"),
        }

    return [row(client, place) for place, client in enumerate(run.clients[:MOST_SITES])]
