"""What a report says of one run: its result, the figures that follow from it, and the files beside it."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.audited import Audited
from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.release import release
from mosaic_fl.runs.result import read_result
from mosaic_fl.storage.files import read_if_there

PICTURES = {"split.png": "Which client holds how much of which class", "samples.png": "What the generators draw"}
MOST_PICTURE = 2**20  # bytes of a picture that is shown
WATTS = 15.0  # assumed of a busy core and its memory, for an estimate of energy
MODELS = {
    "centralised_accuracy": "same model on pooled data",
    "accuracy": "global model",
    "teacher_accuracy": "teacher",
    "class_weighted_accuracy": "class-weighted ensemble",
    "ensemble_accuracy": "mean-logit ensemble",
}


@dataclass(frozen=True)
class Score:
    """An accuracy in 0..1 with the ends of its 95 % interval; `own` marks a client's own model."""

    name: str
    value: float
    low: float
    high: float
    own: bool = False


@dataclass(frozen=True)
class Facts:
    """One run: the `folder`'s name, the content of `result.json`, its configuration, pictures and hashes."""

    folder: str
    result: Mapping[str, Any]
    configuration: str
    pictures: Mapping[str, str]
    hashes: Mapping[str, str]

    @property
    def title(self) -> str:
        """The method and its data."""
        data = Path(str(self.result.get("data") or "")).name
        return str(self.result.get("title") or self.result.get("method")) + (f" on {data}" if data else "")

    @property
    def figures(self) -> Mapping[str, Any]:
        """The content of `result.json`, in which a figure that was not measured is None."""
        return defaultdict(lambda: None, self.result)

    @property
    def detail(self) -> Mapping[str, Any]:
        """The figures of the test set; empty where nothing was tested."""
        return self.result.get("detail") or {}

    @property
    def classes(self) -> list[str]:
        """The names of the classes, where they are told."""
        return list(self.detail.get("classes", []))

    @property
    def clients(self) -> list[int]:
        """The numbers of the clients."""
        numbers = self.result.get("contributors")
        return list(numbers) if numbers else list(range(len(self.result.get("models") or [])))

    @property
    def names(self) -> list[str]:
        """The clients' names."""
        return [f"client {client}" for client in self.clients]

    @property
    def scores(self) -> list[Score]:
        """The accuracy of every model on the test set: those of all clients first, then each client's own."""
        samples = int(self.detail.get("samples", 0))

        def score(name: str, value: float, own: bool = False) -> Score:
            return Score(name, value, *(wilson(value, samples) if samples else (value, value)), own)

        shared = [score(name, self.result[key]) for key, name in MODELS.items() if self.result.get(key) is not None]
        local = self.result.get("local_accuracy") or []
        pairs = zip(self.names, local, strict=False)
        return shared + [score(name, value, own=True) for name, value in pairs if value is not None]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What each client is and has from taking part: one row a client."""
        result = self.result
        gains = (result.get("taking_part") or {}).get("test", {}).get("points") or []
        at_home = result.get("own_data") or []
        audits = {row["client"]: Audited(**{k: v for k, v in row.items() if k != "client"}) for row in self._audits}
        trust = {row["client"]: row for row in ((result.get("choice") or {}).get("trust") or {}).get("clients", [])}

        def of(name: str, place: int) -> Any:
            values = result.get(name) or []
            return values[place] if place < len(values) else None

        return [
            {
                "client": client,
                "model": of("models", place),
                "samples": of("samples", place),
                "classes": of("classes_held", place),
                "alone": of("local_accuracy", place),
                "gain": gains[place] if place < len(gains) else None,
                "home_alone": at_home[place]["alone"] if place < len(at_home) else None,
                "home_together": at_home[place]["together"] if place < len(at_home) else None,
                "home_samples": at_home[place]["samples"] if place < len(at_home) else None,
                "up": of("bytes_up", place),
                "down": of("bytes_down", place),
                "generator": of("generators", place),
                "trust": (trust.get(client) or {}).get("state"),
                "audit": audits[client].summary if client in audits else None,
            }
            for place, client in enumerate(self.clients)
        ]

    @property
    def _audits(self) -> list[dict[str, Any]]:
        return list(self.result.get("audit") or [])

    @property
    def recalls(self) -> list[tuple[str, list[float | None]]]:
        """Recall by class of the global model, the teacher and every client's model, by name."""
        by_model = self.detail.get("recall_by_model") or {}
        rows = [("global model", list(self.result.get("recall") or []))]
        if by_model.get("teacher"):
            rows.append(("teacher", by_model["teacher"]))
        rows += zip(self.names, by_model.get("local") or [], strict=False)
        return [(name, values) for name, values in rows if len(values) == len(self.classes) and values]

    @property
    def energy(self) -> float | None:
        """Watt-hours of one core that is busy all the time; an estimate."""
        total = (self.result.get("seconds") or {}).get("total")
        return None if total is None else float(total) * WATTS / 3600

    @property
    def doubts(self) -> list[str]:
        """Why clients do not count, or not in full, and who was left out of a step."""
        return list(self._doubts())

    def _doubts(self) -> Iterator[str]:
        for row in ((self.result.get("choice") or {}).get("trust") or {}).get("clients", []):
            if row["state"] != "accepted":
                yield f"client {row['client']} is {row['state'].replace('_', '-')}: {'; '.join(row.get('reasons', []))}"
        for left in self.result.get("left_out") or []:
            yield ", ".join(f"{key} {value}" for key, value in left.items())


def read_facts(folder: Path) -> Facts:
    """The facts of the run in `folder`; raises UsageError where no run has ended there."""
    result = read_result(folder)
    if result is None or "seconds" not in result:
        raise UsageError(f"{folder} has no result.json: name the folder of a run that has ended, its --out")
    configuration = read_if_there(folder / "config.toml") or b""
    model = read_if_there(folder / "global_model.safetensors")
    hashes = {"mosaic-fl": release()}
    if model is not None:
        hashes["global_model.safetensors (SHA-256)"] = hashlib.sha256(model).hexdigest()
    return Facts(folder.name, result, configuration.decode("utf-8", "replace"), _pictures(folder), hashes)


def _pictures(folder: Path) -> dict[str, str]:
    """Pictures as data URIs, by what they show."""
    result = {}
    for name, words in PICTURES.items():
        content = read_if_there(folder / "pictures" / name)
        if content is not None and len(content) <= MOST_PICTURE:
            result[words] = "data:image/png;base64," + base64.b64encode(content).decode()
    return result
