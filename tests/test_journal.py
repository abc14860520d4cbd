import json
from pathlib import Path

import pytest
import torch

from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.files import remove_partial, sha256, write_atomic
from mosaic_fl.journal import Journal
from mosaic_fl.methods.averaging import round_name
from mosaic_fl.monitor import Monitor


def work(calls: list[str], name: str = "a"):
    def compute(monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        calls.append(name)
        monitor.log(0, loss=1.5)
        return {"x": torch.arange(3)}, {"n": 7}

    return compute


def test_a_finished_stage_is_never_done_again(tmp_path: Path) -> None:
    calls: list[str] = []
    first = Journal(tmp_path).stage("a", work(calls))
    again = Journal(tmp_path).stage("a", work(calls))
    assert calls == ["a"]
    assert torch.equal(first.tensors["x"], again.tensors["x"])
    assert (again.info, again.metrics, again.seconds) == (first.info, first.metrics, first.seconds)


def test_without_a_folder_it_remembers_in_memory() -> None:
    calls: list[str] = []
    journal = Journal()
    journal.stage("a", work(calls))
    journal.stage("a", work(calls))
    assert calls == ["a"]


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(_: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        raise MosaicError("diverged")

    with pytest.raises(MosaicError):
        Journal(tmp_path).stage("a", fail)
    assert Journal(tmp_path).recall("a") is None


def test_a_stage_can_shed_its_tensors_and_stays_finished(tmp_path: Path) -> None:
    calls: list[str] = []
    journal = Journal(tmp_path)
    journal.stage("a", work(calls))
    size = (tmp_path / "stages" / "a.safetensors").stat().st_size
    journal.shed("a")
    journal.shed("never done")
    again = Journal(tmp_path).stage("a", work(calls))
    assert calls == ["a"]
    assert (again.tensors, again.info) == ({}, {"n": 7})
    assert (tmp_path / "stages" / "a.safetensors").stat().st_size < size


def test_metrics_are_one_json_line_a_figure(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.stage("b", work([]))
    journal.stage("a", work([]))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"stage": "a", "step": 0, "loss": 1.5}, {"stage": "b", "step": 0, "loss": 1.5}]


def test_a_damaged_stage_is_named(tmp_path: Path) -> None:
    Journal(tmp_path).stage("a", work([]))
    file = tmp_path / "stages" / "a.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"a.safetensors is damaged: delete it, and --resume does that stage again"):
        Journal(tmp_path).recall("a")
    file.unlink()
    calls: list[str] = []
    Journal(tmp_path).stage("a", work(calls))
    assert calls == ["a"]


def test_a_damaged_round_cannot_be_done_again_alone(tmp_path: Path) -> None:
    Journal(tmp_path).stage(round_name(7), work([]))
    (tmp_path / "stages" / "round-0007.safetensors").write_bytes(b"garbage")
    with pytest.raises(UsageError, match=r"delete .*/stages/round-\*, and --resume does them again"):
        Journal(tmp_path).recall(round_name(7))


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "f"
    write_atomic(target, "one")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MosaicError, match="cannot write"):
        write_atomic(tmp_path / "folder", "two")  # a folder cannot be replaced by a file
    with pytest.raises(MosaicError, match="cannot write"):
        write_atomic(target / "below-a-file", "three")
    assert target.read_text() == "one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "folder"]


def test_what_a_killed_process_left_half_written_goes_away(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / ".a.safetensors.x1y2.partial").write_text("half")
    (tmp_path / "stages" / "b.partial").write_text("whole")
    remove_partial(tmp_path)
    assert [p.name for p in tmp_path.rglob("*partial")] == ["b.partial"]


def test_a_hash_knows_where_its_parts_end() -> None:
    assert sha256(b"ab", b"c") != sha256(b"a", b"bc")
