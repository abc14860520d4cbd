"""Worker processes of the `local` engine: started once, one intra-op thread each, with the data in shared memory."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch

from mosaic_fl.engines.parcel import Parcel
from mosaic_fl.engines.tasks import Task, TaskResult, Workplace
from mosaic_fl.models.own import admissions
from mosaic_fl.training.monitor import Listener

REPORT_EVERY = 0.1  # seconds between two progress messages of a worker
_place: Workplace | None = None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One intra-op thread within the block: small networks run slower, not faster, with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class InProcess:
    """Runs the tasks in this process, one after the other, each at the call of its `result()`."""

    def __init__(self, place: Workplace) -> None:
        self.place = place

    def submit(self, task: Task) -> "Future[TaskResult]":
        """The result, computed at the first `result()`."""
        return _Lazy(self.place, task)

    def close(self) -> None:
        """Do nothing: there are no processes to end."""


class _Lazy(Future[TaskResult]):
    def __init__(self, place: Workplace, task: Task) -> None:
        super().__init__()
        self.place = place
        self.task = task

    def result(self, timeout: float | None = None) -> TaskResult:
        if not self.done():
            with one_thread():
                self.set_result(self.task(self.place))
        return super().result(timeout)


class Workers:
    """Processes that have the workplace in memory from the start.

    On Linux they are forked and share the sites' tensors as pages; elsewhere they are spawned and the tensors are in
    shared memory. They end with this process, even if it is killed.
    """

    def __init__(self, place: Workplace, count: int) -> None:
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self.news: SimpleQueue[Any] = context.SimpleQueue()
        self.pool = ProcessPoolExecutor(
            count, context, _start, (place.sites, place.config, place.device, self.news, admissions())
        )
        # All processes start now, before any thread of a progress display does: forking with threads is unsafe.
        for future in [self.pool.submit(os.getpid) for _ in range(count)]:
            future.result()
        self.reader = threading.Thread(target=_read, args=(self.news, place.listen), daemon=True)
        self.reader.start()

    def submit(self, task: Task) -> "Future[TaskResult]":
        """The future result of a task, which runs in one of the workers."""
        return self.pool.submit(_run, Parcel(task))

    def close(self) -> None:
        """Kill all workers now, also those at work."""
        processes = list((self.pool._processes or {}).values())
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        self.pool.shutdown(wait=True)  # ends its thread: the next fork must happen without threads
        # Without a writer the reader ends. A last message might wait forever for the lock of a killed worker.
        self.news._writer.close()  # type: ignore[attr-defined]
        self.reader.join(timeout=5)


def _start(sites: Any, config: Any, device: Any, news: "SimpleQueue[Any]", factories: Any) -> None:
    """Set up a worker: its threads, its end with the parent, and its reports of progress."""
    global _place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    threading.Thread(target=die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    admissions().update(factories)
    last = 0.0

    def tell(stage: str, client: int, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > REPORT_EVERY or done >= total:
            last = now
            news.put((stage, client, done, total))

    _place = Workplace(sites, config, device, tell)


def die_with_parent() -> None:
    """End this process when its parent has ended; it waits, so run it in a thread."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _run(task: Any) -> Any:
    """The result of the task. Both travel as parcels and arrive without them."""
    assert _place is not None
    return Parcel(task(_place))


def _read(news: "SimpleQueue[Any]", listen: Listener) -> None:
    while True:
        try:
            message = news.get()
        except (EOFError, OSError):  # all writers have ended, or one was killed while it wrote
            return
        listen(*message)
