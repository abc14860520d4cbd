"""The other end of `worker`: starts a model's process, asks it, and ends it. What it answers is not trusted."""

import json
import os
import select
import subprocess
import sys
import time
import weakref
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import mosaic_fl
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.experts.onnx import frames
from mosaic_fl.experts.onnx.bounds import MAX_RANK, Limits
from mosaic_fl.experts.onnx.facts import Facts
from mosaic_fl.numerics.confined import death

MAX_COLUMNS = 2**14  # values that a model may give for a sample
MAX_REASON = 500  # characters of a refusal
CLOSING = 10.0  # seconds from the end of a process's answers to its own end
PROGRAM = ("-P", "-m", "mosaic_fl.experts.onnx.worker")
# All that the process is told of this machine: the model must find no secret in it, should it ever take it over.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR")


class Process:
    """A running model. It ends with this object, and at the latest with this process.

    Every method raises MosaicError with the reason where the model refuses, fails, or is late; its process has then
    ended.
    """

    def __init__(self, content: bytes, limits: Limits) -> None:
        """Start the process, which checks the model `content` and makes it ready."""
        self.limits = limits
        words = [sys.executable, *PROGRAM]
        pipe = subprocess.PIPE
        # A session of its own: Ctrl-C reaches this process alone, which ends the model's.
        self._popen = subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd="/", env=_environment(), bufsize=0,
            start_new_session=True,
        )  # fmt: skip
        self._end = weakref.finalize(self, _end, self._popen, os.getpid())
        for stream in (self._popen.stdin, self._popen.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        memory = limits.memory + limits.memory_a_byte * len(content)
        answer, _ = self._ask({"memory": memory, "seconds": limits.start}, memoryview(content), limits.start, 0)
        try:
            self.facts = Facts.from_json(answer)
        except UsageError as error:
            self.close()
            raise MosaicError(str(error)) from error

    def run(self, batch: Any) -> Any:
        """The model's outputs, a numpy array (n, …) of float32 or int64, for `batch`, float32 (n, …)."""
        values: Any = np.ascontiguousarray(batch, np.float32)
        request = {"shape": list(values.shape), "seconds": self.limits.call}
        most = 8 * MAX_COLUMNS * len(values)
        answer, content = self._ask(request, memoryview(values).cast("B"), self.limits.call, most)
        match answer:
            case {"shape": [*shape], "type": ("float32" | "int64") as name}:
                sides = [side for side in shape if type(side) is int and side >= 0]
                if len(sides) == len(shape) <= MAX_RANK and prod(sides) * np.dtype(name).itemsize == len(content):
                    return np.frombuffer(content, name).reshape(sides)
        self.close()
        raise MosaicError("has broken its process, which gives no array")

    def close(self) -> None:
        """End the process now."""
        self._end()

    def _ask(
        self, header: dict[str, Any], content: memoryview, seconds: float, most: int
    ) -> tuple[dict[str, Any], bytes]:
        """The answer, of at most `most` bytes; whatever comes between ends the process, so that no answer is late."""
        deadline = time.monotonic() + seconds * self.limits.patience
        try:
            self._send(memoryview(frames.pack(header, len(content))), deadline)
            self._send(content, deadline)
            text, size = frames.LENGTHS.unpack(self._receive(frames.LENGTHS.size, deadline))
            if text > frames.MAX_HEADER or size > most:
                raise MosaicError(f"gives an answer of {text + size:,} bytes: at most {most:,}")
            answer = _object(self._receive(text, deadline))
            if "refused" in answer:
                raise MosaicError(str(answer["refused"])[:MAX_REASON])
            return answer, self._receive(size, deadline)
        except BaseException:
            self.close()
            raise

    def _send(self, content: memoryview, deadline: float) -> None:
        stream = self._popen.stdin
        assert stream is not None
        while content:
            _wait([], [stream], deadline)
            try:
                content = content[os.write(stream.fileno(), content) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return  # it has refused, or died: its answer says which

    def _receive(self, size: int, deadline: float) -> bytes:
        stream = self._popen.stdout
        assert stream is not None
        content = bytearray()
        while len(content) < size:
            _wait([stream], [], deadline)
            try:
                part = os.read(stream.fileno(), min(size - len(content), 2**20))
            except BlockingIOError:
                continue
            if not part:
                raise MosaicError(self._death())
            content += part
        return bytes(content)

    def _death(self) -> str:
        """The reason why the process has ended without an answer."""
        try:
            code = self._popen.wait(CLOSING)
        except subprocess.TimeoutExpired:
            return "has broken its process, which no longer answers"
        return death(code, max(self.limits.start, self.limits.call))


def _environment() -> dict[str, str]:
    """What the process needs to find this Python and this package."""
    places = [str(Path(mosaic_fl.__file__).parent.parent), *(place for place in sys.path if place)]
    own = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places)), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**{name: os.environ[name] for name in ENVIRONMENT if name in os.environ}, **own}


def _end(popen: "subprocess.Popen[bytes]", owner: int) -> None:
    """Kill and reap the process. A fork of its owner only closes its own copies of the pipes."""
    if os.getpid() == owner:
        popen.kill()
        popen.wait()
    else:
        popen.returncode = 0
    for stream in (popen.stdin, popen.stdout):
        if stream is not None:
            stream.close()


def _wait(readers: list[Any], writers: list[Any], deadline: float) -> None:
    """Wait until one of the streams is ready; raises MosaicError at the deadline."""
    poller = select.poll()
    for stream in readers:
        poller.register(stream, select.POLLIN)
    for stream in writers:
        poller.register(stream, select.POLLOUT)
    left = deadline - time.monotonic()
    if left <= 0 or not poller.poll(left * 1000):
        raise MosaicError("did not answer in time")


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MosaicError("has broken its process, which gives no answer")
    return value
