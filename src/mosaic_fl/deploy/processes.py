"""The processes of one deployment: started with logs of their own, and ended with all their descendants, always."""

import contextlib
import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mosaic_fl.errors import MosaicError

LAUNCH = Path(__file__).with_name("launch.py")
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: orphans of our children become our children
PATIENCE = 10.0  # seconds that a process has to end by itself
CALLING = 120.0  # seconds that a short command has
KEPT_LOG = 20 << 20  # bytes: a longer log is put aside as .1 at the next start


@dataclass(frozen=True)
class Command:
    """A command as it is shown and started: its words, and the environment beside what the process is given."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> str:
        """One line for a shell."""
        variables = [f"{key}={shlex.quote(value)}" for key, value in sorted(self.environment.items())]
        return " ".join([*variables, shlex.join(self.words)])


@dataclass
class Child:
    """A process that runs, and where its output goes."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    start: int  # where its output begins in the log

    def output(self) -> str:
        """What it has printed until now."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(self.start)
            return file.read().decode("utf-8", "replace")
        return ""


class Processes:
    """A context in which processes run; its end, however it comes, is theirs and their descendants'."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.others: set[int] = set()  # what ran below this process before

    def __enter__(self) -> "Processes":
        self.others = descendants(os.getpid())
        _adopt(True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        _adopt(False)  # what nobody buries looks alive to Flower's children of it

    def start(self, name: str, command: Command, log: Path, dies_by: int = signal.SIGTERM) -> Child:
        """Start `command`, appending its output to `log`; it gets the signal `dies_by` when this process dies."""
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > KEPT_LOG:
            log.replace(log.with_name(log.name + ".1"))
        begin = log.stat().st_size if log.exists() else 0
        words = _leashed(command, dies_by)
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
            process = subprocess.Popen(
                words, env={**inherited(), **command.environment}, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        self.children.append(Child(name, process, log, begin))
        return self.children[-1]

    def dead(self) -> Child | None:
        """A process that has ended by itself, if one has."""
        return next((child for child in self.children if child.process.poll() is not None), None)

    def stop(self) -> None:
        """End every process and its descendants: by SIGTERM in reverse order, after some seconds by SIGKILL."""
        with _undisturbed():
            family = descendants(os.getpid()) - self.others  # with the orphans of a child that has gone
            family -= {child.process.pid for child in self.children}
            for child in reversed(self.children):
                _end(child.process)
            self.children.clear()
            _sweep(family)


def _adopt(yes: bool) -> None:
    """Whether orphans of this process's children become its own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def _leashed(command: Command, dies_by: int) -> list[str]:
    """The words that start `command` so that it gets the signal `dies_by` when this process (or its thread) ends."""
    return [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(dies_by)), *command.words]


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sweep(family: set[int]) -> None:
    """End what is left of the processes `family` and what they start; Flower's own end by themselves."""
    began = time.monotonic()
    asked = set[int]()
    while True:
        family |= {below for pid in family for below in descendants(pid)}
        left = {pid for pid in family if parent(pid) is not None}
        _reap(family)
        if not left:
            return
        waited = time.monotonic() - began
        for pid in left - asked if waited < 4.0 else left:
            if waited > 1.0:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM if waited < 4.0 else signal.SIGKILL)
                asked.add(pid)
        time.sleep(0.1)


def _reap(family: set[int]) -> None:
    """Take leave of those that became our children when their parent ended, and have ended themselves."""
    for pid in family:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def parent(pid: int) -> int | None:
    """The parent of a living process, or None where there is no such process (or no /proc)."""
    with contextlib.suppress(OSError, ValueError):
        state, its_parent = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[:2]
        return None if state == "Z" else int(its_parent)
    return None


def descendants(root: int) -> set[int]:
    """All living processes below `root`."""
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")] if sys.platform == "linux" else []
    below = {pid: found for pid in numbers if (found := parent(pid)) is not None}
    family = {root}
    while more := {pid for pid, its_parent in below.items() if its_parent in family} - family:
        family |= more
    return family - {root}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let a second Ctrl-C not interrupt the cleaning up."""
    try:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: no signal comes here
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM end the block as Ctrl-C does."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def inherited() -> dict[str, str]:
    """This process's environment without any setting of Flower's."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("FLWR_", "FLOWER_"))}


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(command: Command) -> str:
    """Run a short command to its end; returns its stdout. Raises MosaicError with the last line of what it said."""
    try:
        done = finish(command, CALLING)
    except subprocess.TimeoutExpired as error:
        raise MosaicError(f"{command.words[0]} did not end within {CALLING:.0f} seconds") from error
    if done.returncode:
        raise MosaicError(f"{shlex.join(command.words[:3])} failed: {last_line(done.stderr) or last_line(done.stdout)}")
    return done.stdout


def finish(command: Command, timeout: float | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, which is this process's end at the latest; raises subprocess.TimeoutExpired."""
    return subprocess.run(
        _leashed(command, signal.SIGKILL), env={**inherited(), **command.environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip(" │╭╰─╮╯") for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "")


def as_words(words: Sequence[str | Path | int]) -> tuple[str, ...]:
    """The words of a command."""
    return tuple(map(str, words))
