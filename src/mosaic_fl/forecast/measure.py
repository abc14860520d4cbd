"""The cost of each unit of work, from a few steps of it in processes like the run's own."""

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
from mosaic_fl.forecast.rough import SMALL, first_batch, numbers
from mosaic_fl.forecast.steptimer import ENDLESS
from mosaic_fl.forecast.work import STEPS, Unit

GROWTH = 4  # factor from one number of samples at once to the next
COPIES_OF_WEIGHTS = 4  # the weights, their gradients, and two moments
SLOW = 0.5  # seconds of a step: after a slower one the factor is only 2
REPEATS = 3  # how often about the same work is done for one timing, with its warm-up
PATIENCE = 180.0  # seconds over the plan after which a measurement counts as hung


@dataclass(frozen=True)
class Cost:
    """Seconds of one unit of work, and the bytes of memory that it needs while it runs."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Request:
    """How to measure a unit: its `role` ("client" or "server"), the seconds to spend, the largest count in one job."""

    role: str
    seconds: float
    most: int


def measure(requests: Mapping[Unit, Request], workers: int, bench: Bench) -> dict[Unit, Cost]:
    """The cost of each unit that `requests` names.

    Clients' work is measured in as many processes at once as the run has workers, so that it includes their competition
    for the machine. The processes are forked, so random state and threads of this process do not change. On an
    accelerator, and where processes cannot be forked, this process measures. Raises MosaicError where a measurement
    fails.
    """
    costs = dict[Unit, Cost]()
    for role in ("client", "server"):
        role_requests = {unit: request for unit, request in requests.items() if request.role == role}
        if role_requests:
            threads, processes = (1, workers) if role == "client" else (bench.config.run.threads, 1)
            costs |= _measure_units(role_requests, bench, threads, processes)
    return costs


def _measure_units(requests: Mapping[Unit, Request], bench: Bench, threads: int, processes: int) -> dict[Unit, Cost]:
    if sys.platform != "linux" or bench.device.type != "cpu" or threads > 1:
        with one_thread():
            torch.set_num_threads(threads)
            try:
                return _work(requests, bench)
            except Exception as error:  # a user's own network may raise anything, as in a process of its own
                raise MosaicError(in_one_line(error)) from error
    context = multiprocessing.get_context("fork")
    pairs = [context.Pipe(duplex=False) for _ in range(processes)]
    workers = [context.Process(target=_child, args=(writer, requests, bench), daemon=True) for _, writer in pairs]
    for worker in workers:
        worker.start()
    try:
        answers = [_answer(reader, sum(request.seconds for request in requests.values())) for reader, _ in pairs]
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    return {
        unit: Cost(fmean(a[unit].seconds for a in answers), max(a[unit].memory for a in answers)) for unit in requests
    }


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


def _child(writer: Connection, requests: Mapping[Unit, Request], bench: Bench) -> None:
    torch.set_num_threads(1)
    try:
        writer.send(_work(requests, bench))
    except Exception as error:  # a user's own network may raise anything
        writer.send(in_one_line(error))
    writer.close()


def _work(requests: Mapping[Unit, Request], bench: Bench) -> dict[Unit, Cost]:
    if any(unit.kind in ("prototypes", "density") for unit in requests):  # importing these is no cost of an image
        import sklearn.cluster
        import sklearn.mixture  # noqa: F401
    if any(unit.kind in STEPS for unit in requests):  # nor is what torch imports for the first optimiser one of a step
        weight = torch.nn.Parameter(torch.zeros(1))
        weight.sum().backward()
        torch.optim.AdamW([weight]).step()
    start = _anonymous()
    return {unit: cost_of(unit, bench, request, start) for unit, request in requests.items()}


def cost_of(unit: Unit, bench: Bench, request: Request, start: int = 0) -> Cost:
    """The cost of one `unit`, measured as `request` says; its memory is what exceeds `start` bytes.

    If the unit may be slow, the first step has a few samples at once, and the next ones two or four times as many, up
    to the run's own number. If that number would take too long, its cost is extrapolated from the last two steps.
    """
    probe = PROBES[unit.kind]
    steps = unit.kind not in AT_ONCE
    batch = unit.batch if steps else max(1, min(AT_ONCE[unit.kind], request.most))
    seconds = request.seconds
    begin = time.perf_counter()
    n = first_batch(unit, bench, batch)
    points = list[tuple[int, float, int]]()
    resident = max(0, _anonymous() - start)
    while True:
        _forget_peak()
        last = n == batch
        probe_seconds = probe(unit, bench, n, seconds / (2 if last else 10)) * (1 if steps else n)
        points.append((n, probe_seconds, max(0, _peak() - start)))
        more = min((2 if probe_seconds > SLOW else GROWTH) * n, batch)
        remaining = seconds - (time.perf_counter() - begin)
        if last or (probe_seconds * more / n * REPEATS > remaining and (len(points) > 1 or probe_seconds > ENDLESS)):
            break
        n = more
    weights = 0 if unit.kind in SMALL else COPIES_OF_WEIGHTS * 4 * numbers(unit, bench)
    batch_seconds, memory = _extrapolate(points, batch, resident + weights)
    return Cost(batch_seconds / (1 if steps else batch), round(memory))


def _extrapolate(points: Sequence[tuple[int, float, int]], batch: int, fixed: int) -> tuple[float, float]:
    """Seconds and bytes at `batch` samples, on the line through the last two of `points` (samples, seconds, bytes).

    From a single point both grow in proportion to the samples, except `fixed` bytes, which do not depend on them. The
    result is never below the last point, and its seconds never above the proportion.
    """
    n, seconds, memory = points[-1]
    if n == batch:
        return seconds, memory
    if len(points) == 1:
        constant = min(fixed, memory)
        return seconds * batch / n, constant + (memory - constant) * batch / n
    smaller, smaller_seconds, smaller_memory = points[-2]
    slope = min(max((seconds - smaller_seconds) / (n - smaller), 0.0), seconds / n)
    return seconds + slope * (batch - n), memory + max((memory - smaller_memory) / (n - smaller), 0.0) * (batch - n)


def _status(*fields: str) -> int:
    """The sum of these fields of /proc/self/status, in bytes; 0 where the system has no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(values.get(field, "0 kB").split()[0]) * 1024 for field in fields)


def _anonymous() -> int:
    """Bytes of this process's memory that belong to no file."""
    return _status("RssAnon")


def _peak() -> int:
    """The largest value of `_anonymous` since `_forget_peak`."""
    return _status("VmHWM") - _status("RssFile", "RssShmem")


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
