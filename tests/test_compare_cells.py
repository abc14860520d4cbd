"""A cell that is killed goes on where it was, and costs what it would have cost."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from mosaic_fl.comparison.cell_journal import CellJournal, Cost
from mosaic_fl.engines.shared import SharedFederation
from mosaic_fl.storage.journal import Advance, Stage
from mosaic_fl.training.monitor import Monitor


class Clock:
    """Time that passes when it is told to, and two clients that work in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.wait_seconds, self.seconds = 100.0, 0.0, [0.0, 0.0]
        self.killed_in = -1
        monkeypatch.setattr("mosaic_fl.comparison.cell_journal.time.perf_counter", lambda: self.now)

    def ask(self, *seconds: float) -> None:
        """The clients work at once; who asked waits for the slower one."""
        self.seconds = [a + b for a, b in zip(self.seconds, seconds, strict=True)]
        self.wait_seconds += max(seconds)
        self.now += max(seconds)

    def journal(self, folder: Path) -> CellJournal:
        """That of a process that begins now."""
        self.wait_seconds, self.seconds = 0.0, [0.0, 0.0]
        return CellJournal(folder, cast("SharedFederation", self))


def a_round(clock: Clock, server: float) -> Advance:
    def compute(before: Stage, round: int, monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        clock.ask(2.0, 5.0)
        clock.now += server
        return {"w": torch.ones(1) * round}, {}

    return compute


def test_a_killed_cell_costs_what_an_uninterrupted_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def method(journal: CellJournal, rounds: int) -> Cost:
        clock.ask(1.0, 1.0)  # before any stage: a resumed one asks again, and the engine counts what it recalls again
        journal.rounds(range(rounds), Stage({"w": torch.zeros(1)}), a_round(clock, server=3.0))
        clock.now += 0.5
        return journal.cost

    whole = method(clock.journal(tmp_path / "whole"), 3)
    assert whole == Cost((7.0, 16.0), 9.5)  # 1 + 3·2, 1 + 3·5; 3·3 + 0.5
    method(clock.journal(tmp_path / "killed"), 2)
    clock.now += 1000  # nobody is there
    assert method(clock.journal(tmp_path / "killed"), 3) == whole
    assert method(clock.journal(tmp_path / "killed"), 3) == whole  # and once more, when all is done


def test_a_stage_within_another_costs_neither_twice_nor_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DFRD's rounds of sub-models: training, then the statistics of the merged model, then fine-tuning."""
    clock = Clock(monkeypatch)

    def method(journal: CellJournal, rounds: int) -> Cost:
        def statistics(monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
            clock.ask(1.0, 1.0)
            return {}, {}

        def compute(before: Stage, round: int, monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
            clock.ask(10.0, 20.0)
            journal.stage(f"statistics-{round}", statistics)
            clock.now += 2.0
            if round == clock.killed_in:
                raise KeyboardInterrupt
            return {"w": torch.ones(1)}, {}

        journal.rounds(range(rounds), Stage({"w": torch.zeros(1)}), compute)
        return journal.cost

    whole = method(clock.journal(tmp_path / "whole"), 3)
    assert whole == Cost((33.0, 63.0), 6.0)  # 3·(10 + 1), 3·(20 + 1), 3·2
    clock.killed_in = 2
    with pytest.raises(KeyboardInterrupt):
        method(clock.journal(tmp_path / "killed"), 3)
    clock.killed_in = -1
    # Round 2 is done again but for its statistics, which are kept.
    assert method(clock.journal(tmp_path / "killed"), 3) == whole
    assert method(clock.journal(tmp_path / "killed"), 3) == whole


@pytest.mark.parametrize(
    "damaged", ["", "[1]", '{"stage": "round-0000"}', '{"stage": "round-0000", "clients": 1, "server": 2}']
)
def test_costs_that_cannot_be_read_are_missing_and_the_stage_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    clock = Clock(monkeypatch)
    clock.journal(tmp_path).rounds(range(1), Stage(), a_round(clock, server=3.0))
    line = {"stage": "round-0000", "clients": {"0": 2.0, "1": 5.0}, "server": 3.0}
    assert json.loads((tmp_path / "costs.jsonl").read_text()) == line
    (tmp_path / "costs.jsonl").write_text(damaged)
    again = clock.journal(tmp_path)
    assert again.rounds(range(1), Stage(), a_round(clock, server=3.0)).tensors["w"] == 0
    assert again.cost == Cost((0.0, 0.0), 0.0)


def test_a_stage_whose_file_is_lost_is_done_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.journal(tmp_path).rounds(range(1), Stage(), a_round(clock, server=3.0))
    (tmp_path / "stages" / "round-0000.safetensors").unlink()
    again = clock.journal(tmp_path)
    again.rounds(range(1), Stage(), a_round(clock, server=4.0))
    assert again.cost == Cost((2.0, 5.0), 4.0)


def test_a_stage_that_was_killed_between_its_parts_costs_what_an_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def part(before: Stage, part: int, monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        clock.now += 2.0
        if part == clock.killed_in:
            raise KeyboardInterrupt
        return {}, {}

    clock.killed_in = 2
    with pytest.raises(KeyboardInterrupt):
        clock.journal(tmp_path).parts("long", 4, part)
    clock.now += 1000
    clock.killed_in = -1
    resumed = clock.journal(tmp_path)
    resumed.parts("long", 4, part)
    assert resumed.cost == Cost((0.0, 0.0), 8.0)
    again = clock.journal(tmp_path)
    assert again.parts("long", 4, part).seconds == 8.0
    assert again.cost == Cost((0.0, 0.0), 8.0)
