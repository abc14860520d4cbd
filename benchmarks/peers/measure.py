"""What a command costs with all processes that come of it: wall time, processor time, memory.

Linux alone. This process adopts what its children leave behind (Ray's daemons, say), so all of it is its descendants.
"""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
TICK = os.sysconf("SC_CLK_TCK")
EVERY = 0.1  # seconds between two samples at least
REST = 20  # times as long as a sample took: so the sampling takes a twentieth of a core at most
PATIENCE = 10.0  # seconds that what is left over has to end by itself


@dataclass(frozen=True)
class Cost:
    """Seconds from start to end of the command, processor seconds (user and system), bytes at the peak, exit code."""

    wall: float
    cpu: float
    peak: int
    code: int


@dataclass
class Sampler:
    """Samples of all descendants until `stop`: the greatest sum of their PSS, the latest processor time of each."""

    peak: int = 0
    seconds: dict[tuple[int, int], float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Sample, at a cost of a twentieth of a core at most."""
        cost = 0.0
        while not self.stop.wait(max(EVERY, REST * cost)):
            begin = time.perf_counter()
            total = 0
            for pid, (_, start, seconds) in descendants().items():
                self.seconds[pid, start] = seconds
                total += proportional(pid)
            self.peak = max(self.peak, total)
            cost = time.perf_counter() - begin


def measure(command: Sequence[str], log: Path, environment: dict[str, str], limit: float) -> Cost:
    """Run `command`, its output in `log`; it and all that it leaves are killed after `limit` seconds.

    The processor time is that of ended processes by the kernel's account, or the sum of each process's latest sample
    where that is more: a process whose parent does not wait for it is in no account.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sampler = Sampler()
    thread = threading.Thread(target=sampler.run)
    with log.open("wb") as output:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    timer = threading.Timer(limit, kill_all)
    timer.start()
    thread.start()
    accounted = 0.0
    ended: float | None = None
    try:
        while True:
            try:
                pid, status, usage = os.wait4(-1, 0 if ended is None else os.WNOHANG)
            except ChildProcessError:
                break
            accounted += usage.ru_utime + usage.ru_stime if pid else 0.0
            if pid == child.pid:
                ended = time.perf_counter()
                child.returncode = os.waitstatus_to_exitcode(status)
            elif not pid:
                time.sleep(0.01)
                if ended is not None and time.perf_counter() - ended > PATIENCE:
                    kill_all()
    finally:
        timer.cancel()
        sampler.stop.set()
        thread.join()
    assert ended is not None
    assert child.returncode is not None
    return Cost(ended - begin, max(accounted, sum(sampler.seconds.values())), sampler.peak, child.returncode)


def descendants() -> dict[int, tuple[int, int, float]]:
    """(parent, time of start in ticks, processor seconds) of each process that came of this one, by its number."""
    processes = dict[int, tuple[int, int, float]]()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (facts := facts_of(int(entry))):
            processes[int(entry)] = facts
    ours = {os.getpid()}
    while more := {pid for pid, (parent, *_) in processes.items() if parent in ours} - ours:
        ours |= more
    return {pid: processes[pid] for pid in ours - {os.getpid()} if pid in processes}


def facts_of(pid: int) -> tuple[int, int, float] | None:
    """See `descendants`; None where the process has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(stat[1]), int(stat[19]), (int(stat[11]) + int(stat[12])) / TICK


def proportional(pid: int) -> int:
    """The process's PSS in bytes: its own pages, and its share of those that it shares. 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def kill_all() -> None:
    """Kill all descendants."""
    for pid in descendants():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
