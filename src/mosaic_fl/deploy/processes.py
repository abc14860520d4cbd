"""The processes of one deployment: start each with its log, and always end all of them with their descendants."""

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
PATIENCE = 10.0  # seconds that a process has to end after SIGTERM
CALL_TIMEOUT = 120.0  # seconds for a short command
MAX_LOG = 20 << 20  # bytes: the next start renames a longer log to .1


@dataclass(frozen=True)
class Command:
    """A command: its words, and the environment variables beside those of this process."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def shell_line(self) -> str:
        """The command as one line for a shell."""
        variables = [f"{key}={shlex.quote(value)}" for key, value in sorted(self.environment.items())]
        return " ".join([*variables, shlex.join(self.words)])


@dataclass
class Child:
    """A running process and its log."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    start: int  # the offset of its output in the log

    def output(self) -> str:
        """Its output so far."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(self.start)
            return file.read().decode("utf-8", "replace")
        return ""


class Processes:
    """A context manager for processes: when it ends, for any reason, they and their descendants end too."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.earlier: set[int] = set()  # descendants of this process from before

    def __enter__(self) -> "Processes":
        self.earlier = descendants(os.getpid())
        _adopt(True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        _adopt(False)  # later orphans go to init, which reaps them: a zombie would look alive to Flower

    def start(self, name: str, command: Command, log: Path, death_signal: int = signal.SIGTERM) -> Child:
        """Start `command` with its output appended to `log`; it receives `death_signal` when this process dies."""
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > MAX_LOG:
            log.replace(log.with_name(log.name + ".1"))
        begin = log.stat().st_size if log.exists() else 0
        words = _launch_words(command, death_signal)
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
            process = subprocess.Popen(
                words,
                env={**base_environment(), **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.children.append(Child(name, process, log, begin))
        return self.children[-1]

    def dead(self) -> Child | None:
        """The first process that has ended by itself, or None."""
        return next((child for child in self.children if child.process.poll() is not None), None)

    def stop(self) -> None:
        """End every process and its descendants: by SIGTERM in reverse order, after some seconds by SIGKILL."""
        with _ignore_interrupts():
            family = descendants(os.getpid()) - self.earlier  # with the orphans of a child that has ended
            family -= {child.process.pid for child in self.children}
            for child in reversed(self.children):
                _end(child.process)
            self.children.clear()
            _sweep(family)


def _adopt(yes: bool) -> None:
    """Set whether orphans of this process's children become its own children (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def _launch_words(command: Command, death_signal: int) -> list[str]:
    """The words that start `command` so that it receives `death_signal` when this process (or its thread) ends."""
    return [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(death_signal)), *command.words]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process by SIGTERM, and by SIGKILL after `PATIENCE` seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sweep(family: set[int]) -> None:
    """End the living processes of `family` and their descendants.

    They have a second to end by themselves, as Flower's do. Then each receives SIGTERM once, and after 4 s SIGKILL.
    """
    begin = time.monotonic()
    terminated = set[int]()
    while True:
        family |= {below for pid in family for below in descendants(pid)}
        alive = {pid for pid in family if parent(pid) is not None}
        _reap(family)
        if not alive:
            return
        elapsed = time.monotonic() - begin
        for pid in alive - terminated if elapsed < 4.0 else alive:
            if elapsed > 1.0:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM if elapsed < 4.0 else signal.SIGKILL)
                terminated.add(pid)
        time.sleep(0.1)


def _reap(family: set[int]) -> None:
    """Collect the exit status of orphans that have become children of this process and have ended."""
    for pid in family:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def parent(pid: int) -> int | None:
    """The parent of a living process; None if there is no such process (or no /proc)."""
    with contextlib.suppress(OSError, ValueError):
        state, its_parent = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[:2]
        return None if state == "Z" else int(its_parent)
    return None


def descendants(root: int) -> set[int]:
    """All living processes below `root`."""
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")] if sys.platform == "linux" else []
    parents = {pid: its_parent for pid in numbers if (its_parent := parent(pid)) is not None}
    family = {root}
    while more := {pid for pid, its_parent in parents.items() if its_parent in family} - family:
        family |= more
    return family - {root}


@contextlib.contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM in the block, so that they cannot interrupt the clean-up."""
    try:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone receives signals
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Make SIGTERM end the block as Ctrl-C does, by KeyboardInterrupt."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def base_environment() -> dict[str, str]:
    """The environment of this process without the settings of Flower."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("FLWR_", "FLOWER_"))}


def free_port() -> int:
    """A port of loopback that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(command: Command) -> str:
    """Run a short command to its end; returns its stdout. Raises MosaicError with the last line of its output."""
    try:
        process = finish(command, CALL_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise MosaicError(f"{command.words[0]} did not end within {CALL_TIMEOUT:.0f} seconds") from error
    if process.returncode:
        reason = last_line(process.stderr) or last_line(process.stdout)
        raise MosaicError(f"{shlex.join(command.words[:3])} failed: {reason}")
    return process.stdout


def finish(command: Command, timeout: float | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; it is killed when this process ends. Raises subprocess.TimeoutExpired."""
    environment = {**base_environment(), **command.environment}
    return subprocess.run(
        _launch_words(command, signal.SIGKILL), env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def last_line(text: str) -> str:
    """The last line that is not empty, without the frame that Flower draws around it."""
    lines = [line.strip(" │╭╰─╮╯") for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "")


def as_words(words: Sequence[str | Path | int]) -> tuple[str, ...]:
    """The words of a command."""
    return tuple(map(str, words))
