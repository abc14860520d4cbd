"""One piece of work at a time at a client: who works, who waits, who is sent away."""

import fcntl
import threading
from pathlib import Path

from mosaic_fl.engines.flower.turn import BUSY, OLD, alone


def taken(path: Path) -> bool:
    """Whether a lock that nobody holds could be taken; it is given back at once."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def test_one_works_one_waits_and_more_are_sent_away(tmp_path: Path) -> None:
    said, inside, leave = dict[int, str](), threading.Event(), threading.Event()

    def work(serial: int) -> None:
        while said.setdefault(serial, BUSY) == BUSY:  # `taken` below has the lock for a moment
            with alone(tmp_path, serial) as turn:
                said[serial] = turn
                inside.set()
                if serial == 1:
                    leave.wait(10)

    first = threading.Thread(target=work, args=(1,))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=work, args=(2,))
    second.start()
    while taken(tmp_path / ".waiting"):
        pass
    with alone(tmp_path, 3) as turn:
        assert turn == BUSY
    leave.set()
    first.join(10)
    second.join(10)
    assert said == {1: "", 2: OLD}  # the third, which was sent away, is newer


def test_who_waited_while_a_newer_request_came_has_nothing_to_do(tmp_path: Path) -> None:
    with alone(tmp_path, 5):
        pass
    with alone(tmp_path, 4) as turn:
        assert turn == OLD
    with alone(tmp_path, 5) as turn:
        assert turn == ""


def test_without_a_folder_nobody_waits() -> None:
    with alone(None, 1) as outer, alone(None, 1) as inner:
        assert outer == inner == ""
