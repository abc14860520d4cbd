"""A store of clients' answers by content, so that a comparison of methods computes equal work once.

Every answer is bit for bit the one that the clients would give. Its cost counts for each method that uses it.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from mosaic_fl.config import Config, Reader
from mosaic_fl.config.client import BARE
from mosaic_fl.engines.digests import Digests, digest
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, Start
from mosaic_fl.numerics.states import State
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal

Answer = TypeVar("Answer")

KIND = "fit"


class SharedFederation:
    """A `Federation` over `engine` that stores contributions, and the weights after round 0, in `folder`.

    All methods begin round 0 from the same weights. Later rounds hardly ever have equal work, and would fill the disk.
    `wait_seconds` is the time that the method has wait_seconds for its clients.
    """

    def __init__(self, engine: LocalFederation, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.wait_seconds = 0.0
        self._recalled_seconds = dict.fromkeys(engine.seconds, 0.0)
        # A site's content is its number, its architecture and its samples.
        self._sites = [digest(site) for site in engine.sites]
        self._client = client_settings(engine.config)

    @property
    def seconds(self) -> list[float]:
        """Seconds of work at each client, for computed and recalled answers alike."""
        return [now + self._recalled_seconds[client] for client, now in sorted(self.engine.seconds.items())]

    def contribute(self, start: Mapping[int, Start] | None = None) -> list[Contribution]:
        """Every client's contribution, computed or recalled; each is stored at once, so a fault or kill loses none."""
        return self._timed(self._contribute, start)

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The weights after each client's job, computed or in round 0 perhaps recalled."""
        return self._timed(self._fit if round == 0 else self.engine.fit, jobs, round)

    def __getattr__(self, name: str) -> Any:
        """All other attributes are the engine's; the time in its methods also counts in `wait_seconds`."""
        attribute = getattr(self.engine, name)
        if not callable(attribute):
            return attribute

        def forward(*arguments: Any, **keywords: Any) -> Any:
            return self._timed(attribute, *arguments, **keywords)

        return forward

    def _timed(self, work: Callable[..., Answer], *arguments: Any, **keywords: Any) -> Answer:
        begin = time.perf_counter()
        try:
            return work(*arguments, **keywords)
        finally:
            self.wait_seconds += time.perf_counter() - begin

    def _contribute(self, start: Mapping[int, Start] | None) -> list[Contribution]:
        """In two steps: first the classifiers, which most methods share, then the generators and prototypes."""
        digests = Digests()
        classifiers = self._recall_or_contribute("classifiers", bare_settings(self._client), start, digests, bare=True)
        config = self.engine.config
        if config.with_values(dict(BARE)) == config:
            return classifiers
        return self._recall_or_contribute("whole", self._client, start, digests, trained=classifiers)

    def _recall_or_contribute(
        self,
        name: str,
        settings: Mapping[str, Any],
        start: Mapping[int, Start] | None,
        digests: Digests,
        **options: Any,
    ) -> list[Contribution]:
        key = digests.of([name, self._sites, settings, dict(start or {}), self.engine.place.device.type])
        journal = Journal(self.folder / f"{name}-{key[:16]}")
        return self.engine.contribute(start, journal=journal, **options)

    def _fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        digests = Digests()  # one for all jobs, since clients mostly begin with the same weights
        paths = {job.client: self._path(job, round, digests) for job in jobs}
        answers = {job.client: fitted for job in jobs if (fitted := self._recall(paths[job.client])) is not None}
        open_jobs = [job for job in jobs if job.client not in answers]
        before = dict(self.engine.seconds)
        for fitted in self.engine.fit(open_jobs, round) if open_jobs else ():
            answers[fitted.client] = fitted
            self._keep(paths[fitted.client], fitted, self.engine.seconds[fitted.client] - before[fitted.client])
        return [answers[job.client] for job in jobs if job.client in answers]

    def _path(self, job: FitJob, round: int, digests: Digests) -> Path | None:
        """The file of the answer; None where the job has a value without a digest."""
        try:
            kind = self.engine.place.device.type
            key = digests.of(["fit", self._sites[job.client], self._client, job, round, kind])
        except TypeError:
            return None
        return self.folder / "fits" / f"{key[:32]}.safetensors"

    def _recall(self, path: Path | None) -> Fitted | None:
        if path is None or not path.exists():
            return None
        try:
            manifest, tensors = container.read(path, KIND)
        except UsageError:  # a damaged answer is computed again
            return None
        values: dict[str, Any] = manifest["values"] | {name: {} for name in manifest["states"]}
        for name, tensor in tensors.items():
            field, slash, key = name.partition("/")
            if slash:
                values[field][key] = tensor
            else:
                values[field] = tensor
        fitted = Fitted(**values)
        self._recalled_seconds[fitted.client] += manifest["seconds"]
        return fitted

    def _keep(self, path: Path | None, fitted: Fitted, seconds: float) -> None:
        values = {field.name: getattr(fitted, field.name) for field in fields(fitted)}
        tensors: dict[str, Tensor] = {name: values.pop(name) for name in list(values) if _is_tensor(values[name])}
        states: dict[str, State] = {name: values.pop(name) for name in list(values) if _is_state(values[name])}
        tensors |= {f"{field}/{key}": tensor for field, state in states.items() for key, tensor in state.items()}
        if path is None or not _is_json(values) or not all(map(_is_storable, tensors.values())):
            return
        container.write(path, KIND, {"values": values, "states": list(states), "seconds": seconds}, tensors)


def client_settings(config: Config) -> dict[str, Any]:
    """The settings that a client's answers depend on, beside its site and its data."""
    return config.site_settings(frozenset({Reader.TRAINING}))


def bare_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a client's `settings` that its classifier depends on."""
    irrelevant = {setting.partition(".")[0] for setting in BARE}
    return {name: values for name, values in settings.items() if name not in irrelevant}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_storable(tensor: Tensor) -> bool:
    return tensor.dtype in container.TYPES and bool(tensor.isfinite().all())


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_tensor, value.values()))


def _is_json(value: Any) -> bool:
    """Whether the value is unchanged after a way through JSON."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False
