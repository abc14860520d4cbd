"""The status of many clients is not written anew for each of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mosaic_fl.watch import Watch
from mosaic_fl.watch import watch as module
from mosaic_fl.watch.event import read_events
from test_watch import Clock, on_disk


def test_the_status_of_many_clients_is_written_once_a_second_and_the_latest_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of n clients who join at once a few files of n clients are written, not n."""
    written: list[float] = []
    timers: list[Callable[[], None]] = []
    clock, write = Clock(), module.write_atomic

    def count(path: Path, data: bytes | str) -> None:
        written.append(clock.now)
        write(path, data)

    class Timer:
        daemon = False

        def __init__(self, seconds: float, call: Callable[[], None]) -> None:
            assert seconds == 1
            timers.append(call)

        def start(self) -> None: ...
        def cancel(self) -> None: ...

    monkeypatch.setattr(module, "write_atomic", count)
    monkeypatch.setattr(module.threading, "Timer", Timer)
    with Watch(tmp_path, stream=None, clock=clock) as watch:
        watch.tell("run_started", expected=list(range(101)))
        written.clear()
        for client in range(101):
            watch.tell("joined", client)
        assert len(written) == 0
        assert len(timers) == 1
        assert len(read_events(tmp_path / "events.jsonl")) == 102
        timers.pop()()
        assert on_disk(tmp_path) == watch.status
        watch.tell("joined", 0)
        assert len(timers) == 1
        watch.tell("stage_started", stage="contribute", expected=[0], limit=1)  # told at once
        assert on_disk(tmp_path).stage == "contribute"
    timers.pop()()  # too late, and without effect
    assert on_disk(tmp_path) == watch.status
