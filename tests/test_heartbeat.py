"""Off a terminal a run says at once what it begins with, and every minute how far it is."""

import io
import threading

from rich.console import Console

from mosaic_fl.report.heartbeat import Heartbeat, clock, counting, waiting
from mosaic_fl.report.progress import Display


class Clock:
    now = 0.0  # the test sets it

    def __call__(self) -> float:
        return self.now


def plain(time: Clock) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=False, force_interactive=False, width=40, get_time=time), text


def test_a_minute_without_a_line_brings_one() -> None:
    time = Clock()
    console, text = plain(time)
    heartbeat = Heartbeat(console, lambda: f"at {time.now:g}")
    for time.now in (0.0, 59.0, 60.0, 61.0, 119.0, 120.0):
        heartbeat.beat()
    assert text.getvalue() == "at 60\nat 120\n"
    time.now = 150.0
    heartbeat.say("train · 150.0 s")  # the minute begins anew
    for time.now in (180.0, 209.0, 210.0):
        heartbeat.beat()
    assert text.getvalue().splitlines()[2:] == ["train · 150.0 s", "at 210"]


def test_waiting_says_what_for_at_once_and_ends_its_thread() -> None:
    console, text = plain(Clock())
    before = threading.active_count()
    with waiting(console, "loading digits"):
        assert text.getvalue() == "loading digits\n"
    assert threading.active_count() == before


def test_counting_says_how_far_it_is_once_a_minute() -> None:
    time = Clock()
    console, text = plain(time)
    with counting(console, "predicting", 4000) as tell:
        for time.now, done in ((1.0, 10), (59.0, 900), (60.0, 1000), (61.0, 1010), (125.0, 4000)):
            tell(done)
    assert text.getvalue().splitlines() == [
        "predicting · 1,000 of 4,000 · 1:00 elapsed, about 3:00 left",
        "predicting · 4,000 of 4,000 · 2:05 elapsed",
    ]


def test_counting_shows_a_line_that_changes_on_a_terminal() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, get_time=Clock())
    with counting(console, "predicting", 3) as tell:
        tell(2)
    assert "predicting · 2 of 3" in text.getvalue()
    assert text.getvalue().endswith("\x1b[2K")  # the line is gone in the end


def test_the_line_of_a_minute_says_what_is_done_and_what_is_left() -> None:
    time = Clock()
    console, text = plain(time)
    display = Display([("train", 3.0), ("generator", 3.0), ("student", 4.0)], console, clients=3)
    assert display.line() == "between two stages · 0:00 elapsed"
    for client in range(3):
        display.update("train", client, 1, 10)
    time.now = 30.0
    display.update("train", 0, 10, 10)
    display.update("train", 1, 10, 10)
    time.now = 80.0
    display.update("train", 2, 5, 10)
    display.update("generator", 0, 1, 10)
    assert display.line().startswith("train · 2 of 3 clients, generator · 0 of 3 clients · 1:20 elapsed, about ")
    for name in ("train", "generator"):
        display.finish(name)
    display.update("student", -1, 45, 100)
    assert display.line().startswith("student · 45 % · 1:20 elapsed, about ")
    assert text.getvalue() == ""  # a stage that no clock measured has no figure to show


def test_a_display_beats_from_its_own_thread_and_ends_it() -> None:
    time = Clock()
    console, text = plain(time)
    spoken = threading.Event()
    write = text.write
    text.write = lambda words: (write(words), spoken.set())[0]  # type: ignore[method-assign]
    with Display([("train", 1.0)], console) as display:
        display.update("train", 0, 1, 4)
        time.now = 61.0
        assert spoken.wait(10)
    assert text.getvalue().startswith("train · 25 % · 1:01 elapsed, about 3:03 left")
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(_run)")]


def test_the_ceiling_trains_beside_the_server() -> None:
    """Its news do not end the stage that the server is in."""
    console, _ = plain(Clock())
    display = Display([("student", 1.0), ("centralised", 1.0)], console)
    display.update("student", -1, 1, 2)
    display.update("centralised", -1, 1, 4)
    display.update("student", -1, 1, 2)
    assert display.line().startswith("student · 50 %, centralised · 25 %")


def test_times() -> None:
    assert [clock(seconds) for seconds in (0.4, 59.6, 125, 3723)] == ["0:00", "1:00", "2:05", "1:02:03"]
