"""One process at a time in a run's folder: another one is told so, and nothing outlives a process."""

import errno
import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic_fl.errors import UsageError
from mosaic_fl.storage import folder_lock
from mosaic_fl.storage.folder_lock import occupied, occupy

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nobody is kept out there")
HOLD = """
import sys, time
from pathlib import Path
from mosaic_fl.storage.folder_lock import occupy
occupy(Path(sys.argv[1]))
"""
WAIT = "print('mine', flush=True); time.sleep(600)"


@pytest.fixture(autouse=True)
def free() -> None:
    folder_lock.vacate()


def holder(folder: Path, code: str = WAIT) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD + code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    return process


def test_another_process_is_kept_out_until_it_ends(tmp_path: Path) -> None:
    other = holder(tmp_path)
    with pytest.raises(UsageError, match="another process works in .*: wait until it ends, .*another --out"):
        occupy(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    occupy(tmp_path)
    occupy(tmp_path)  # mine already


def test_what_a_process_started_does_not_keep_the_folder(tmp_path: Path) -> None:
    """A worker may outlive by a moment the process that was killed, and --resume comes at once."""
    occupy(tmp_path)
    context = multiprocessing.get_context("fork")
    leave, told = context.Event(), context.Event()

    def work() -> None:
        told.set()
        leave.wait(60)

    worker = context.Process(target=work)
    worker.start()
    told.wait(60)
    folder_lock.vacate()
    end = holder(tmp_path)  # not kept out by the worker
    end.kill()
    end.communicate()
    leave.set()
    worker.join()


def test_the_next_folder_frees_the_one_before(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        occupy(folder)
    other = holder(one)
    other.kill()
    other.communicate()


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    occupy(tmp_path)
    occupy(tmp_path / "nowhere")


def test_who_asks_learns_whether_somebody_works_there(tmp_path: Path) -> None:
    assert occupied(tmp_path) is False
    other = holder(tmp_path)
    assert occupied(tmp_path) is True
    other.kill()
    other.communicate()
    assert occupied(tmp_path) is False
    assert occupied(tmp_path / "nowhere") is None
