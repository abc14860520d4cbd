"""The display of a run tells the truth, on a terminal and without one, and cleans up after itself."""

import io
import threading
import time

import pytest
from rich.console import Console

from mosaic_fl.report.progress import Display, Stage, remaining_seconds
from mosaic_fl.storage.stopwatch import Stopwatch


class Clock:
    now = 0.0  # the test sets it

    def __call__(self) -> float:
        return self.now


def console(terminal: bool, clock: Clock | None = None) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    shown = Console(
        file=text,
        force_terminal=terminal,
        force_interactive=terminal,
        width=100,
        get_time=clock or time.monotonic,
    )
    return shown, text


def wait_for(words: str, text: io.StringIO) -> None:
    """Until the display has drawn these words."""
    give_up = time.monotonic() + 5
    while words not in text.getvalue():
        assert time.monotonic() < give_up, f"{words!r} is not in {text.getvalue()!r}"
        time.sleep(0.01)


def test_time_left_uses_the_pace_of_the_work_done() -> None:
    assert remaining_seconds([Stage(1.0), Stage(2.0)], clients=1) is None  # nothing is measured yet
    # 10 units took 20 s, so the 5 units to come take 10 s.
    done = Stage(10.0, seconds=20.0, parts={-1: 1.0}, over=True)
    assert remaining_seconds([done, Stage(5.0)], clients=1) == pytest.approx(10.0)
    # Half of the 5 in 1 s. Pace: 21 s / 12.5 units. Whole: ½·(1/½) + ½·(5·1.68) = 5.2 s, half of it left.
    half = Stage(5.0, seconds=1.0, parts={-1: 0.5})
    assert remaining_seconds([done, half], clients=1) == pytest.approx(2.6)
    # One client of two is half-way: a quarter is done; 1 s / 1.25 units. ¾·(1 + ¾·5·0.8) = 3 s.
    assert remaining_seconds([Stage(5.0, seconds=1.0, parts={0: 0.5})], clients=2) == pytest.approx(3.0)
    assert remaining_seconds([done], clients=1) == 0.0


def test_a_stage_taken_from_disk_says_nothing_about_the_pace() -> None:
    resumed = Stage(100.0, over=True)
    assert remaining_seconds([resumed, Stage(4.0, seconds=2.0, parts={-1: 0.5})], clients=1) == pytest.approx(2.0)


def test_without_a_terminal_there_is_one_plain_line_a_stage() -> None:
    clock = Clock()
    stopwatch = Stopwatch(clock)
    plain, text = console(terminal=False, clock=clock)
    with Display([("train", 1.0), ("pool", 1.0)], plain, clients=2, stopwatch=stopwatch) as display:
        clock.now = 1.0
        with stopwatch.stage("train"):
            display.update("train", 0, 1, 2)
            clock.now = 3.5
        display.finish("train")
        display.finish("train")
        display.update("train", 0, 2, 2)
        with stopwatch.stage("pool"):
            clock.now = 4.0
            display.hear("pool", -1, 5, 5)  # its steps are done, and it goes on to something else
            clock.now = 4.25
        display.hear("pool", -1, 1, 1)
    assert text.getvalue() == "train · 2.5 s\npool · 0.8 s\n"
    assert stopwatch.report() == {"train": 2.5, "pool": 0.75, "other": 1.0, "total": 4.25}


def test_a_terminal_shows_the_running_pieces_and_gets_its_cursor_back() -> None:
    clock = Clock()
    terminal, text = console(terminal=True, clock=clock)
    threads = set(threading.enumerate())
    with Display([("generator", 1.0), ("distil", 1.0)], terminal, clients=20) as display:
        clock.now = 5.0
        for client in range(12):
            display.update("generator", client, 750, 1500)
        clock.now = 11.0
        for words in ("client 3 · generator", "750/1500", "and 4 more"):
            wait_for(words, text)
        assert "client 8 · generator" not in text.getvalue()
        display.finish("generator")
        display.update("distil", -1, 1, 2)
        wait_for("server · distil", text)
        display.finish("distil")
    assert "100 %" in text.getvalue()
    assert text.getvalue().rindex("\x1b[?25h") > text.getvalue().rindex("\x1b[?25l")
    assert set(threading.enumerate()) == threads


def test_an_interrupt_leaves_no_thread_and_no_hidden_cursor() -> None:
    terminal, text = console(terminal=True)
    threads = set(threading.enumerate())

    def interrupted() -> None:
        with Display([("train", 1.0)], terminal) as display:
            display.update("train", 0, 1, 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert text.getvalue().rindex("\x1b[?25h") > text.getvalue().rindex("\x1b[?25l")
    assert set(threading.enumerate()) == threads


@pytest.mark.parametrize("terminal", [False, True])
def test_odd_news_never_raises(terminal: bool) -> None:
    shown, _ = console(terminal)
    display = Display([("train", 0.0)], shown)
    display.update("train", 0, 1, 2)
    with display:
        for done, total in [(5, 2), (-1, 2), (0, 0), (3, -1), (1, 3)]:
            display.update("train", 0, done, total)
            display.update("unplanned", 7, done, total)
        display.finish("never heard of")
        shown.print("")
    display.update("train", 0, 2, 2)
    display.finish("train")


def test_many_threads_may_report_at_once() -> None:
    terminal, text = console(terminal=True)
    with Display([("train", 1.0)], terminal, clients=4) as display:

        def work(client: int) -> None:
            for step in range(1, 501):
                display.update("train", client, step, 500)

        workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        display.finish("train")
    assert "100 %" in text.getvalue()
