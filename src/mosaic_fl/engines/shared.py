"""Clients whose work is kept by its content: several methods on the same clients ask for it once.

Every answer is what the clients would have given, bit for bit, and its cost is counted each time that it is used.
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
    """A `Federation` over `engine` that keeps its contributions, and the weights fitted in round 0, in `folder`.

    All methods begin round 0 from the same weights; later rounds hardly ever meet again, and would fill the disk.
    `waited` is the seconds that the method waited for its clients.
    """

    def __init__(self, engine: LocalFederation, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.waited = 0.0
        self._found = dict.fromkeys(engine.seconds, 0.0)
        # A site is its number, its architecture and its samples.
        self._sites = [digest(site) for site in engine.sites]
        self._client = client_settings(engine.config)

    @property
    def seconds(self) -> list[float]:
        """Seconds of work at each client, of answers made now and of those kept from before alike."""
        return [now + self._found[client] for client, now in sorted(self.engine.seconds.items())]

    def contribute(self, start: Mapping[int, Start] | None = None) -> list[Contribution]:
        """Every client's contribution, made now or kept; those made before a fault or a kill are kept, too."""
        return self._timed(self._contribute, start)

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The weights of the clients that have a job after it, in round 0 made now or kept."""
        return self._timed(self._fit if round == 0 else self.engine.fit, jobs, round)

    def __getattr__(self, name: str) -> Any:
        """All else that the engine can do, as it does it; what a method waits for is timed."""
        found = getattr(self.engine, name)
        if not callable(found):
            return found

        def forward(*arguments: Any, **named: Any) -> Any:
            return self._timed(found, *arguments, **named)

        return forward

    def _timed(self, work: Callable[..., Answer], *arguments: Any, **named: Any) -> Answer:
        begin = time.perf_counter()
        try:
            return work(*arguments, **named)
        finally:
            self.waited += time.perf_counter() - begin

    def _contribute(self, start: Mapping[int, Start] | None) -> list[Contribution]:
        """In two steps: the classifiers, which hardly any method trains otherwise, and what else is asked for."""
        digests = Digests()
        trained = self._kept("classifiers", bare_settings(self._client), start, digests, bare=True)
        asked = self.engine.config
        if asked.with_values(dict(BARE)) == asked:
            return trained
        return self._kept("whole", self._client, start, digests, trained=trained)

    def _kept(
        self,
        name: str,
        settings: Mapping[str, Any],
        start: Mapping[int, Start] | None,
        digests: Digests,
        **how: Any,
    ) -> list[Contribution]:
        key = digests.of([name, self._sites, settings, dict(start or {}), self.engine.place.device.type])
        journal = Journal(self.folder / f"{name}-{key[:16]}")
        return self.engine.contribute(start, journal=journal, **how)

    def _fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        digests = Digests()  # clients mostly begin with the same weights
        paths = {job.client: self._path(job, round, digests) for job in jobs}
        answers = {job.client: kept for job in jobs if (kept := self._recall(paths[job.client])) is not None}
        missing = [job for job in jobs if job.client not in answers]
        before = dict(self.engine.seconds)
        for fitted in self.engine.fit(missing, round) if missing else ():
            answers[fitted.client] = fitted
            self._keep(paths[fitted.client], fitted, self.engine.seconds[fitted.client] - before[fitted.client])
        return [answers[job.client] for job in jobs if job.client in answers]

    def _path(self, job: FitJob, round: int, digests: Digests) -> Path | None:
        """Where the answer is kept; None where the job holds what has no content to tell it by."""
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
        except UsageError:  # damaged: it is made again
            return None
        values: dict[str, Any] = manifest["values"] | {name: {} for name in manifest["states"]}
        for name, tensor in tensors.items():
            field, slash, key = name.partition("/")
            if slash:
                values[field][key] = tensor
            else:
                values[field] = tensor
        fitted = Fitted(**values)
        self._found[fitted.client] += manifest["seconds"]
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
    """What of a configuration a client's answers depend on, beside its site and its own data."""
    return config.site_settings(frozenset({Reader.TRAINING}))


def bare_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a client's `settings` that its classifier depends on, which it would also train for others' sake."""
    rest = {setting.partition(".")[0] for setting in BARE}
    return {name: values for name, values in settings.items() if name not in rest}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_storable(tensor: Tensor) -> bool:
    return tensor.dtype in container.TYPES and bool(tensor.isfinite().all())


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_tensor, value.values()))


def _is_json(value: Any) -> bool:
    """Whether JSON gives it back as it is."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False
