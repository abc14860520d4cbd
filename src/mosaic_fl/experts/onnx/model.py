"""A model and its process, started when first asked. Experts of the same bytes share one; few run at once."""

import os
import time
import weakref
from threading import RLock
from typing import Any

from mosaic_fl.errors import MosaicError
from mosaic_fl.experts.onnx import bounds
from mosaic_fl.experts.onnx.facts import Facts
from mosaic_fl.experts.onnx.process import Process
from mosaic_fl.extras import require
from mosaic_fl.storage.files import sha256

MOST_AT_ONCE = 32  # processes, of some 60 MB each


class Model:
    """An ONNX model in a process of its own, which ends with this object. One that has failed stays refused.

    A process that has not failed may end to make room for others; it starts again when it is asked.
    """

    def __init__(self, content: bytes) -> None:
        """Raise MosaicError where the model is refused, UsageError where the packages that run it are not installed."""
        require("an ONNX model", "onnx", "onnxruntime")
        self.content = content
        self.used = 0.0
        self.failure = ""
        self._process: Process | None = None
        self._owner = 0
        self._lock = RLock()
        self.facts: Facts = self._running().facts

    def run(self, batch: Any) -> Any:
        """See `Process.run`; raises MosaicError with the reason of a first failure at each further call."""
        with self._lock:
            process = self._running()
            try:
                return process.run(batch)
            except MosaicError as error:
                self.failure = str(error)
                raise

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._owner == os.getpid():
            self._process.close()
        self._process = None

    def _running(self) -> Process:
        if self.failure:
            raise MosaicError(self.failure)
        if self._owner != os.getpid():  # after a fork the process is the parent's
            self._process = None
            self._owner = os.getpid()
        self.used = time.monotonic()
        if self._process is None:
            _make_room()
            try:
                self._process = Process(self.content, bounds.LIMITS)
            except MosaicError as error:
                self.failure = str(error)
                raise
            _running.add(self)
        return self._process


_models: "weakref.WeakValueDictionary[str, Model]" = weakref.WeakValueDictionary()
_running: "weakref.WeakSet[Model]" = weakref.WeakSet()


def model_of(content: bytes) -> Model:
    """The model with these bytes: one that is there, or else a new one, as `Model`."""
    key = sha256(content)
    model = _models.get(key)
    if model is None or model.failure:
        model = Model(content)
        _models[key] = model
    return model


def _make_room() -> None:
    """End the processes that were used longest ago, so that one more may start."""
    alive = [model for model in _running if model._process is not None and model._owner == os.getpid()]
    for model in sorted(alive, key=lambda model: model.used)[: max(0, len(alive) - MOST_AT_ONCE + 1)]:
        model.close()
        _running.discard(model)
