"""Processes with limits of memory and of processor time: for work that something received asks for.

`limit_memory` and `limit_seconds` are what a process does to itself. `confined` does a piece of work in a fork of this
process with such limits, so it needs no import and no copy of the data. Only Linux keeps all of these limits.
"""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from mosaic_fl.errors import UsageError, in_one_line

GIB = 2**30
MAX_REASON = 500  # characters of a refusal
LONGEST_NAP = 0.02  # seconds between two looks at a process
UNKNOWN_SIZE = 2**32  # bytes of a process's address space, a guess, where the system does not say
NO_MEMORY = ("bad_alloc", "can't allocate memory", "Failed to allocate memory", "bad allocation", "BFCArena")
"""What libraries say where there is no memory left."""
OUT_OF_MEMORY = 3  # the exit code of a process that says so


class LimitError(UsageError):
    """Work went beyond its limits. The text is what it did, as "takes more than 8 seconds"."""


@dataclass(frozen=True)
class Bounds:
    """What a piece of work may take: bytes of `memory` beside this process's own, `seconds` of processor time.

    On a busy machine it may take `patience` times as long by the clock.
    """

    memory: int
    seconds: float
    patience: float = 4.0


def can_confine() -> bool:
    """Whether this system can fork a process and keep its limits."""
    return sys.platform == "linux"


def confined(work: Callable[[], object], bounds: Bounds) -> None:
    """Do `work` in a fork of this process within `bounds`; nothing that it makes comes back.

    Raises UsageError with the text of an error of `work`, and LimitError with the limit that it went beyond.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: the child runs this thread only
        child = os.fork()
    if not child:
        os.close(reader)
        _work_and_exit(work, bounds, writer)
    os.close(writer)
    code: int | None = None
    try:
        code = _wait(child, bounds.seconds * bounds.patience)
    finally:
        if code is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as stream:
            os.set_blocking(reader, False)  # a fork of another thread may hold its other end
            text = (stream.read(4 * MAX_REASON) or b"").decode("utf-8", "replace")
    if code is None:
        raise LimitError(f"did not end within {bounds.seconds * bounds.patience:.0f} s")
    if code == OUT_OF_MEMORY:
        raise LimitError(f"needs more than {bounds.memory / GIB:.1f} GiB of memory")
    if text:
        raise UsageError("".join(letter for letter in text[:MAX_REASON] if letter.isprintable()))
    if code:
        raise LimitError(death(code, bounds.seconds))


def death(code: int, seconds: float) -> str:
    """Why a process with a limit of processor time ended with this exit code, without a word of its own."""
    if code == -signal.SIGXCPU:
        return f"takes more than {seconds:g} seconds"
    if code < 0:
        return f"ended the process that ran it ({signal.Signals(-code).name}), perhaps for want of memory"
    return f"ended the process that ran it (exit code {code})"


def limit_memory(memory: int) -> None:
    """Let this process take at most `memory` bytes more than now, write no file and leave no trace of a crash."""
    import resource  # which some systems lack

    most = _size() + memory
    for kind, value in (
        (resource.RLIMIT_AS, most),
        (resource.RLIMIT_DATA, most),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (least, least))
        except (OSError, ValueError):  # macOS has no limit of this kind
            continue


def limit_seconds(seconds: float) -> None:
    """Let the system end this process after `seconds` more of processor time, rounded up to whole ones."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(time.process_time() + seconds), hard))


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, of whatever library, says that there is no memory left."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in NO_MEMORY)


def _work_and_exit(work: Callable[[], object], bounds: Bounds, writer: int) -> None:
    """The child: do the work, tell an error in a line, and end without the exit handlers of the parent."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        warnings.simplefilter("ignore")  # a line on the parent's terminal would need its locks
        import torch

        torch.set_num_threads(1)  # the parent's other threads are not here
        limit_memory(bounds.memory)
        limit_seconds(bounds.seconds)
        work()
        code = 0
    except BaseException as error:
        code = OUT_OF_MEMORY if lacks_memory(error) else 1
        os.write(writer, in_one_line(error).encode("utf-8", "replace")[: 4 * MAX_REASON])
    finally:
        os._exit(code)


def _wait(child: int, seconds: float) -> int | None:
    """The exit code of a child, negative for a signal; None where it runs for longer."""
    deadline = time.monotonic() + seconds
    nap = 0.001
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(nap)
        nap = min(2 * nap, LONGEST_NAP)


def _size() -> int:
    """Bytes of this process's address space."""
    try:
        import resource

        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return UNKNOWN_SIZE
