"""A piece of work in a process of its own: what it says comes back, and at its limits it ends."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.confined import Bounds, LimitError, can_confine, confined

pytestmark = pytest.mark.skipif(not can_confine(), reason="only Linux keeps these limits")
AMPLE = Bounds(2**30, 20.0)
CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")


def endless() -> None:
    while True:
        pass


def test_work_that_ends_changes_nothing_here() -> None:
    values: list[int] = []
    before = torch.get_num_threads()
    confined(lambda: values.append(1), AMPLE)
    assert values == []
    assert torch.get_num_threads() == before


def test_an_error_comes_back_in_one_line() -> None:
    def refuse() -> None:
        raise UsageError("not\nso \x1b[31m" + "x" * 10_000)

    with pytest.raises(UsageError, match=r"^not so \[31mx+$") as error:
        confined(refuse, AMPLE)
    assert not isinstance(error.value, LimitError)
    assert len(str(error.value)) <= 500
    with pytest.raises(UsageError, match="^ZeroDivisionError: division by zero$"):
        confined(lambda: 1 / 0, AMPLE)


def test_work_without_an_end_is_ended_by_processor_time() -> None:
    with pytest.raises(LimitError, match=r"^takes more than 0\.5 seconds$"):
        confined(endless, Bounds(2**30, 0.5, patience=100.0))


def test_work_that_sleeps_is_ended_by_the_clock() -> None:
    with pytest.raises(LimitError, match="^did not end within 0 s$"):
        confined(lambda: time.sleep(60), Bounds(2**30, 0.1, patience=2.0))


def test_memory_beyond_the_bound_is_not_there() -> None:
    confined(lambda: torch.ones(2**26), AMPLE)  # 256 MiB
    with pytest.raises(LimitError, match=r"^needs more than 1\.0 GiB of memory$"):
        confined(lambda: torch.ones(2**29), AMPLE)
    with pytest.raises(LimitError, match=r"^needs more than 1\.0 GiB of memory$"):
        confined(lambda: bytearray(2**31), AMPLE)


def test_a_death_is_named() -> None:
    with pytest.raises(LimitError, match=r"^ended the process that ran it \(SIGKILL\)"):
        confined(lambda: os.kill(os.getpid(), signal.SIGKILL), AMPLE)


def test_no_file_is_written(tmp_path: Path) -> None:
    file = tmp_path / "x"
    with pytest.raises(UsageError):
        confined(lambda: file.write_text("x"), AMPLE)
    assert not file.exists() or file.stat().st_size == 0


@pytest.mark.skipif(not CHILDREN.exists(), reason="needs Linux's list of a process's children")
def test_no_process_is_left() -> None:
    before = CHILDREN.read_text().split()
    confined(lambda: None, AMPLE)
    for work in (lambda: 1 / 0, lambda: time.sleep(60)):
        with pytest.raises(UsageError):
            confined(work, Bounds(2**30, 0.1, patience=2.0))
    assert CHILDREN.read_text().split() == before
