"""Fuzz one reader, or all: `python tests/fuzz/fuzz_run.py --reader toml --count 100000 --seed 0 --out build/fuzz`.

Input number N of seed S is the same on every machine, so a run goes on where another ended (--start), and an input
that failed is made again from its name. The work is done by a process of its own, with a bound on its memory: should it
die or hang, the input is kept and another process goes on with the next. Times are those of the processor, so that
others on the machine do not count. There is no hypothesis or atheris here: the formats are sealed by a SHA-256, which
nothing but a mutator that knows the format gets past, and what such a one needs is a page of code and a seed.
"""

import argparse
import contextlib
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Any

MOST_SECONDS, MOST_BYTES = 1.0, 256 * 2**20  # of one input
ROOM = 4 * 2**30  # bytes of address space beside what the process has when it begins
LONGEST_LINE = 4000  # characters: the names of all settings are 2,300
GIVE_UP = 20.0  # seconds of the processor after which an input is broken off
HANGS = 300.0  # seconds of the clock after which its process is ended
TOLD = 2000  # inputs between two reports of a worker


@dataclass
class Tally:
    """What came of the inputs so far: `failures` names those that were neither accepted nor refused, slow or large."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    worst_seconds: float = 0.0
    worst_bytes: int = 0

    def add(self, other: "Tally") -> None:
        """Those of another part of the same run."""
        self.inputs += other.inputs
        self.outcomes += other.outcomes
        self.failures += other.failures
        self.worst_seconds = max(self.worst_seconds, other.worst_seconds)
        self.worst_bytes = max(self.worst_bytes, other.worst_bytes)

    def line(self, name: str) -> str:
        """All of it in one line."""
        outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        worst = f"worst {self.worst_seconds:.2f} s, {self.worst_bytes / 2**20:.0f} MiB"
        return f"{name}: {self.inputs:,} inputs: {outcomes}; {worst}; {len(self.failures)} failures"


class BrokenOffError(BaseException):
    """An input took too long; no `except Exception` of a reader holds it."""


def mutant(name: str, corpus: list[bytes], seed: int, number: int) -> bytes:
    """Input `number` of `seed` for the reader `name`."""
    from fuzz_readers import READERS

    rng = Random(f"{name}:{seed}:{number}")  # noqa: S311 - not for secrets
    return READERS[name].mutate(rng.choice(corpus), corpus, rng)


def fuzz(name: str, seed: int, numbers: range, keep: Path, told: Any = None, place: Any = None) -> Tally:
    """Read the inputs of these numbers, in this process; failing ones are kept in `keep`.

    `told(tally)` is called now and then; `place` holds the number of the input at work, for who watches.
    """
    from fuzz_readers import READERS

    from mosaic_fl.errors import MosaicError

    reader, tally, total = READERS[name], Tally(), Tally()
    with tempfile.TemporaryDirectory() as made:
        folder, good = Path(made) / "read", Path(made) / "good"
        folder.mkdir()
        good.mkdir()
        corpus = reader.corpus(good)
        for data in corpus:
            with contextlib.suppress(MosaicError):
                reader.read(data, folder)  # what is imported or made at first is there, and not measured
        for number in numbers:
            data = mutant(name, corpus, seed, number)
            if place is not None:
                place[:8] = number.to_bytes(8, "little")
            before, begin = _resident(), time.process_time()
            try:
                with _limited():
                    reader.read(data, folder)
                outcome = "accepted"
            except MosaicError as error:
                outcome = "refused"
                if "\n" in str(error) or len(str(error)) > LONGEST_LINE:
                    outcome = "said in more than one line"
            except BrokenOffError:
                outcome = "broken off"
            except Exception as error:
                outcome = type(error).__name__
            seconds, grown = time.process_time() - begin, max(0, _peak() - before)
            if outcome in ("accepted", "refused") and seconds > MOST_SECONDS:
                outcome = "slow"
            if outcome in ("accepted", "refused") and grown > MOST_BYTES:
                outcome = "large"
            tally.inputs += 1
            tally.outcomes[outcome] += 1
            tally.worst_seconds, tally.worst_bytes = max(tally.worst_seconds, seconds), max(tally.worst_bytes, grown)
            if outcome not in ("accepted", "refused"):
                tally.failures.append(keep_input(keep, name, seed, number, outcome, data))
            if told is not None and tally.inputs == TOLD:
                told(tally)
                total.add(tally)
                tally = Tally()
    if told is not None:
        told(tally)
    total.add(tally)
    return total


def keep_input(keep: Path, name: str, seed: int, number: int, outcome: str, data: bytes) -> str:
    """Write an input that failed; returns its name."""
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"{name}-{seed}-{number}-{outcome.replace(' ', '-')}"
    path.write_bytes(data)
    return path.name


@contextlib.contextmanager
def _limited() -> Any:
    def break_off(*_: object) -> None:
        raise BrokenOffError

    before = signal.signal(signal.SIGPROF, break_off)
    signal.setitimer(signal.ITIMER_PROF, GIVE_UP)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _resident() -> int:
    """Bytes in use now; the peak is counted from here on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS:")


def _peak() -> int:
    return _memory("VmHWM:")


def _memory(what: str) -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith(what)), 0)
    except OSError:
        return 0


def _work(name: str, seed: int, numbers: range, keep: Path, place: IO[bytes]) -> None:
    """The worker: tells its tallies on stdout, a line of JSON each."""
    size = _memory("VmSize:")
    import fuzz_readers  # noqa: F401 - all that it imports is there before the bound is set
    import torch

    torch.set_num_threads(1)
    size = max(size, _memory("VmSize:"))
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    fuzz(
        name,
        seed,
        numbers,
        keep,
        lambda tally: print(json.dumps(vars(tally)), flush=True),
        mmap.mmap(place.fileno(), 8),
    )


def run(name: str, seed: int, numbers: range, keep: Path) -> Tally:
    """Fuzz in processes of their own, each going on where the last one died."""
    total, start = Tally(), numbers.start
    while start < numbers.stop:
        with tempfile.NamedTemporaryFile() as place:
            place.write(start.to_bytes(8, "little"))
            place.flush()
            words = ["--reader", name, "--seed", str(seed), "--start", str(start), "--count", str(numbers.stop - start)]
            command = [sys.executable, __file__, *words, "--out", str(keep), "--worker", place.name]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
                told = _listen(process, Path(place.name), total, name)
            number = int.from_bytes(Path(place.name).read_bytes()[:8], "little")
        if process.returncode == 0 and start + told >= numbers.stop:
            break
        if process.returncode > 0:
            raise SystemExit(f"{name}: the fuzzer itself failed")
        outcome = f"its process ended with {process.returncode}"
        _lost(name, seed, number, keep, total, outcome, number + 1 - start - told)
        start = number + 1
    return total


def _listen(process: "subprocess.Popen[str]", place: Path, total: Tally, name: str) -> int:
    """Add what the worker tells; end it where it stays at one input for too long. Returns how many inputs it told."""
    import threading

    quiet = threading.Event()

    def watch() -> None:
        number, since = b"", time.monotonic()
        while not quiet.wait(1.0):
            now = place.read_bytes()[:8]
            if now != number:
                number, since = now, time.monotonic()
            elif time.monotonic() - since > HANGS:
                process.kill()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    told, shown = 0, time.monotonic()
    assert process.stdout is not None
    for line in process.stdout:
        values = json.loads(line)
        tally = Tally(**{**values, "outcomes": Counter(values["outcomes"])})
        told += tally.inputs
        total.add(tally)
        if time.monotonic() - shown > 60:
            shown = time.monotonic()
            print(total.line(name), flush=True)
    process.wait()
    quiet.set()
    watcher.join()
    return told


def _lost(name: str, seed: int, number: int, keep: Path, total: Tally, outcome: str, inputs: int) -> None:
    """Keep the input that a process died of; what it read since its last report was read without a failure."""
    from fuzz_readers import READERS

    with tempfile.TemporaryDirectory() as folder:
        data = mutant(name, READERS[name].corpus(Path(folder)), seed, number)
    failure = keep_input(keep, name, seed, number, outcome, data)
    total.add(Tally(inputs, Counter({outcome: 1, "not told": max(0, inputs - 1)}), [failure]))


def main() -> int:
    """Returns 1 where an input failed."""
    words = argparse.ArgumentParser(description="Fuzz the readers.")
    words.add_argument("--reader", default="all")
    words.add_argument("--count", type=int, default=100_000, help="inputs a reader")
    words.add_argument("--start", type=int, default=0, help="the number of the first input")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where inputs that fail are kept")
    words.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)
    given = words.parse_args()
    numbers = range(given.start, given.start + given.count)
    if given.worker is not None:
        with given.worker.open("r+b") as place:
            _work(given.reader, given.seed, numbers, given.out, place)
        return 0
    from fuzz_readers import READERS

    if given.reader not in ("all", *READERS):
        words.error(f"--reader {given.reader}: one of all, {', '.join(READERS)}")
    failed = False
    for name in READERS if given.reader == "all" else [given.reader]:
        tally = run(name, given.seed, numbers, given.out)
        print(tally.line(name), flush=True)
        for failure in tally.failures[:20]:
            print(f"  {given.out / failure}")
        failed |= bool(tally.failures)
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
