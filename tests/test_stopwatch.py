"""One clock: every second of a run counts for one stage, and the stages add up to the whole."""

import json
from pathlib import Path

import pytest
import torch

from mosaic_fl.storage.journal import Journal
from mosaic_fl.storage.stopwatch import CLIENTS, Stopwatch


class Clock:
    now = 0.0  # the test sets it

    def __call__(self) -> float:
        return self.now


def test_a_stage_within_another_takes_its_time_out_of_it() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    clock.now = 1.0
    with watch.stage("round"):
        clock.now = 4.0
        with watch.stage("statistics"):
            assert watch.cost("round") is None  # not over
            clock.now = 4.5
        clock.now = 6.0
    clock.now = 6.25
    # round: 1 to 4 and 4.5 to 6; other: 0 to 1 and 6 to 6.25.
    assert watch.report() == {"round": 4.5, "statistics": 0.5, "other": 1.25, "total": 6.25}
    assert watch.cost("round") == "4.5 s"


def test_the_wait_for_clients_is_what_they_do_in_equal_parts() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with watch.stage(CLIENTS):
        clock.now = 2.0  # the workers start
        watch.hear("train", 0, 1, 10)
        watch.hear("train", 1, 1, 10)
        clock.now = 6.0  # both train: 4 s
        watch.hear("generator", 0, 1, 10)
        clock.now = 8.0  # one of each: 1 s each
        watch.hear("generator", 0, 10, 10)
        watch.hear("train", 1, 10, 10)
        watch.hear("meta", -1, 1, 2)  # the server's, which none waits for
        clock.now = 9.0  # nobody says anything: the latest goes on
    # train: 2 (before the first word) + 4 + 1 + 1, generator: 1.
    assert watch.report() == {"train": 8.0, "generator": 1.0, "other": 0.0, "total": 9.0}


def test_clients_that_say_nothing_are_a_stage_all_the_same() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with watch.stage(CLIENTS):
        clock.now = 3.0
    assert watch.report() == {"clients": 3.0, "other": 0.0, "total": 3.0}


def test_rounded_stages_add_up_to_the_total() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    for stage in range(100):
        with watch.stage(f"stage-{stage}"):
            clock.now += 1 / 3
    *stages, total = watch.report().values()
    assert total == pytest.approx(sum(stages), abs=1e-9)
    assert total == pytest.approx(100 / 3, abs=0.05)


def test_a_resumed_run_counts_what_it_spent_before(tmp_path: Path) -> None:
    clock = Clock()
    first = Journal(tmp_path, clock=Stopwatch(clock))

    def work(seconds: float) -> dict[str, torch.Tensor]:
        clock.now += seconds
        return {}

    first.stage("meta", lambda monitor: (work(6.0), {}))
    clock.now = 100.0
    again = Journal(tmp_path, clock=Stopwatch(clock))
    again.stage("meta", lambda monitor: (work(1000.0), {}))  # it is there: nothing is done
    again.stage("pool", lambda monitor: (work(0.5), {}))
    assert again.clock.report() == {"meta": 6.0, "pool": 0.5, "other": 0.0, "total": 6.5}
    assert (again.clock.cost("meta"), again.clock.cost("pool")) == ("kept", "0.5 s")


@pytest.mark.parametrize("content", ["", "[1]", '{"meta": "x"}', '{"meta": null}'])
def test_damaged_seconds_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "seconds.json").write_text(content)
    assert Journal(tmp_path).clock.cost("meta") is None


def test_a_cleared_journal_leaves_what_is_for_the_user(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.stage("meta", lambda monitor: ({"w": torch.zeros(2)}, {}))
    assert {"meta"} <= json.loads((tmp_path / "stages" / "seconds.json").read_text()).keys()
    journal.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
