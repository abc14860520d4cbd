"""A few steps of each kind of work, in processes such as the run's own, and what they cost."""

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean

import torch

from mosaic_fl.engines.workers import one_thread
from mosaic_fl.errors import MosaicError, in_one_line
from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.probes import AT_ONCE, PROBES
from mosaic_fl.forecast.rough import SMALL, first, numbers
from mosaic_fl.forecast.steptimer import ENDLESS
from mosaic_fl.forecast.work import Unit

GROWTH = 4  # times as many samples at once as before, where a step is tried with few first
COPIES_OF_WEIGHTS = 4  # themselves, their gradients, and two moments
SLOW = 0.5  # seconds of a step after which only twice as many samples are tried
REPEATS = 3  # how often about the same is done to time it once: to warm up, and again
PATIENCE = 180.0  # seconds beyond those planned after which a measurement counts as hung


@dataclass(frozen=True)
class Cost:
    """Seconds of one of a unit, and bytes of memory that it takes while it is done."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Asked:
    """Who does a unit ("client" or "server"), the seconds to spend on it, and how many there are at most in one go."""

    who: str
    seconds: float
    most: int


def measure(asked: Mapping[Unit, Asked], workers: int, bench: Bench) -> dict[Unit, Cost]:
    """The cost of each of the units that are `asked` for.

    Clients' work is measured in as many processes at once as the run has workers, so that what they take from each
    other is in it. They are forked: nothing here changes, no random state and no thread. On an accelerator, and where
    processes cannot be forked, it is measured here. Raises MosaicError where a measurement fails.
    """
    costs = dict[Unit, Cost]()
    for who in ("client", "server"):
        ours = {unit: each for unit, each in asked.items() if each.who == who}
        if ours:
            threads, alike = (1, workers) if who == "client" else (bench.config.run.threads, 1)
            costs |= _measured(ours, bench, threads, alike)
    return costs


def _measured(asked: Mapping[Unit, Asked], bench: Bench, threads: int, alike: int) -> dict[Unit, Cost]:
    if sys.platform != "linux" or bench.device.type != "cpu" or threads > 1:
        with one_thread():
            torch.set_num_threads(threads)
            try:
                return _work(asked, bench)
            except Exception as error:  # a user's own network may raise anything, as in a process of its own
                raise MosaicError(in_one_line(error)) from error
    context = multiprocessing.get_context("fork")
    pairs = [context.Pipe(duplex=False) for _ in range(alike)]
    workers = [context.Process(target=_child, args=(writer, asked, bench), daemon=True) for _, writer in pairs]
    for worker in workers:
        worker.start()
    try:
        answers = [_answer(reader, sum(each.seconds for each in asked.values())) for reader, _ in pairs]
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    return {unit: Cost(fmean(a[unit].seconds for a in answers), max(a[unit].memory for a in answers)) for unit in asked}


def _answer(reader: Connection, seconds: float) -> dict[Unit, Cost]:
    if not reader.poll(seconds + PATIENCE):
        raise MosaicError("a step took too long to be measured")
    try:
        answer = reader.recv()
    except EOFError:
        raise MosaicError("a process that measured steps died (out of memory?)") from None
    if isinstance(answer, str):
        raise MosaicError(answer)
    costs: dict[Unit, Cost] = answer
    return costs


def _child(writer: Connection, asked: Mapping[Unit, Asked], bench: Bench) -> None:
    torch.set_num_threads(1)
    try:
        writer.send(_work(asked, bench))
    except Exception as error:  # a user's own network may raise anything
        writer.send(in_one_line(error))
    writer.close()


def _work(asked: Mapping[Unit, Asked], bench: Bench) -> dict[Unit, Cost]:
    if any(unit.kind in ("prototypes", "density") for unit in asked):  # what they import is no cost of an image
        import sklearn.cluster
        import sklearn.mixture  # noqa: F401
    start = _anonymous()
    return {unit: cost_of(unit, bench, each, start) for unit, each in asked.items()}


def cost_of(unit: Unit, bench: Bench, asked: Asked, start: int = 0) -> Cost:
    """The cost of one of `unit`, measured as `asked`; of its memory, what is more than `start` bytes.

    Of what may be slow a few samples at once come first, then two or four times as many, up to as many as the run
    takes at once; where those would be too slow, their cost follows from the last two.
    """
    probe = PROBES[unit.kind]
    steps = unit.kind not in AT_ONCE
    batch = unit.batch if steps else max(1, min(AT_ONCE[unit.kind], asked.most))
    seconds = asked.seconds
    begin = time.perf_counter()
    n = first(unit, bench, batch)
    points = list[tuple[int, float, int]]()
    held = max(0, _anonymous() - start)
    while True:
        _forget_peak()
        last = n == batch
        spent = probe(unit, bench, n, seconds / (2 if last else 10)) * (1 if steps else n)
        points.append((n, spent, max(0, _peak() - start)))
        more = min((2 if spent > SLOW else GROWTH) * n, batch)
        left = seconds - (time.perf_counter() - begin)
        if last or (spent * more / n * REPEATS > left and (len(points) > 1 or spent > ENDLESS)):
            break
        n = more
    weights = 0 if unit.kind in SMALL else COPIES_OF_WEIGHTS * 4 * numbers(unit, bench)
    whole, memory = _extrapolated(points, batch, held + weights)
    return Cost(whole / (1 if steps else batch), round(memory))


def _extrapolated(points: Sequence[tuple[int, float, int]], batch: int, fixed: int) -> tuple[float, float]:
    """Seconds and bytes at `batch` samples, on the line through the last two of `points` (samples, seconds, bytes).

    Where there is one alone, both are in proportion, but for `fixed` bytes, which are there for any number. More
    samples never take less, and seconds no more than in proportion.
    """
    n, seconds, memory = points[-1]
    if n == batch:
        return seconds, memory
    if len(points) == 1:
        same = min(fixed, memory)
        return seconds * batch / n, same + (memory - same) * batch / n
    before, less, lower = points[-2]
    slope = min(max((seconds - less) / (n - before), 0.0), seconds / n)
    return seconds + slope * (batch - n), memory + max((memory - lower) / (n - before), 0.0) * (batch - n)


def _status(*fields: str) -> int:
    """The sum of these fields of this process's memory, in bytes; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(values.get(field, "0 kB").split()[0]) * 1024 for field in fields)


def _anonymous() -> int:
    """Bytes that this process holds and no file does."""
    return _status("RssAnon")


def _peak() -> int:
    """The most of them since `_forget_peak`."""
    return _status("VmHWM") - _status("RssFile", "RssShmem")


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
