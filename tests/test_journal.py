import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage import json_lines
from mosaic_fl.storage.files import remove_partial, sha256, write_atomic
from mosaic_fl.storage.journal import Journal, Stage, round_name
from mosaic_fl.training.monitor import Monitor


def work(calls: list[str], name: str = "a"):
    def compute(monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        calls.append(name)
        monitor.log(0, loss=1.5)
        return {"x": torch.arange(3)}, {"n": 7}

    return compute


def test_a_journal_through_another_listener_is_the_same_journal(tmp_path: Path) -> None:
    heard, calls = list[str](), list[str]()
    journal = Journal(tmp_path, lambda stage, *_: heard.append(f"own {stage}"))
    other = journal.through(lambda listen: lambda stage, *more: (heard.append(f"first {stage}"), listen(stage, *more)))
    other.stage("a", work(calls))
    journal.stage("a", work(calls))
    assert (calls, heard) == (["a"], ["first a", "own a", "own a"])
    assert journal.clock is other.clock


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


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_one_json_line_a_figure_in_order_at_the_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.stage("b", work([]))
    journal.stage("a", work([]))
    of_a = {"stage": "a", "step": 0, "loss": 1.5}
    of_b = {"stage": "b", "step": 0, "loss": 1.5}
    assert metrics(tmp_path) == [of_b, of_a]
    journal.write_metrics()
    assert metrics(tmp_path) == [of_a, of_b]


def test_a_stage_adds_its_own_lines_to_the_metrics_however_many_there_are(tmp_path: Path) -> None:
    """Of n clients each writes its own once: n pieces, not n · (n + 1) / 2."""
    Journal(tmp_path).stage("earlier", work([]))
    journal = Journal(tmp_path)
    journal.stage("earlier", work([]))  # recalled
    file = tmp_path / "metrics.jsonl"
    journal.stage("client-000", work([]))
    inode = file.stat().st_ino
    for client in range(1, 20):
        before = file.read_bytes()
        journal.stage(f"client-{client:03d}", work([]))
        after = file.read_bytes()
        assert after.startswith(before)
        assert after[len(before) :] == f'{{"stage": "client-{client:03d}", "loss": 1.5, "step": 0}}\n'.encode()
    assert file.stat().st_ino == inode
    assert [line["stage"] for line in metrics(tmp_path)].count("earlier") == 1


def test_metrics_of_a_stage_that_is_done_anew_replace_the_earlier_ones(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for loss in (1.0, 2.0):
        journal.keep("client-000", Stage(metrics=[{"loss": loss}]))
        journal.keep("other", Stage())
        assert metrics(tmp_path) == [{"stage": "client-000", "loss": loss}]


def test_a_line_that_a_kill_tore_spoils_no_other_one(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    json_lines.append(file, [{"a": 1}, {"a": 2}])
    file.write_bytes(file.read_bytes()[:-4])
    json_lines.append(file, [{"a": 3}])
    assert list(json_lines.read_lines(file, 1000)) == [{"a": 1}, {"a": 3}]
    assert list(json_lines.read_lines(tmp_path / "none", 1000)) == []
    with pytest.raises(MosaicError, match="cannot write"):
        json_lines.append(tmp_path, [{}])


def test_metrics_that_a_kill_kept_from_being_written_are_written_at_the_end(tmp_path: Path) -> None:
    """The kill came between a stage's file and the curves; nothing is left to be kept when the run goes on."""
    Journal(tmp_path).stage("a", work([]))
    (tmp_path / "metrics.jsonl").unlink()
    resumed = Journal(tmp_path)
    resumed.stage("a", work([]))
    resumed.write_metrics()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"stage": "a", "step": 0, "loss": 1.5}


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


def one_more(before: Stage, round: int, monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return {"w": before.tensors["w"] + 1}, {"said": round}


def test_rounds_go_on_from_each_other_and_the_latest_alone_keeps_its_tensors(tmp_path: Path) -> None:
    start = Stage({"w": torch.tensor(0)})
    assert Journal(tmp_path).rounds(range(3), start, one_more).tensors == {"w": torch.tensor(3)}
    resumed = Journal(tmp_path)
    assert resumed.rounds(range(5), start, one_more).tensors == {"w": torch.tensor(5)}
    stages = [resumed.done[round_name(round)] for round in range(5)]
    assert [stage.info["said"] for stage in stages] == [0, 1, 2, 3, 4]
    assert [bool(stage.tensors) for stage in stages] == [False, False, False, False, True]
    assert resumed.rounds(range(5, 5), start, one_more) is start


@pytest.mark.parametrize("gone", [1, 2])
def test_a_round_that_is_gone_is_not_begun_from_a_wrong_start(tmp_path: Path, gone: int) -> None:
    start = Stage({"w": torch.tensor(0)})
    Journal(tmp_path).rounds(range(3), start, one_more)
    (tmp_path / "stages" / f"{round_name(gone)}.safetensors").unlink()
    with pytest.raises(
        UsageError, match=rf"{round_name(gone)}.* is missing: delete .*/round-\*, and --resume does them"
    ):
        Journal(tmp_path).rounds(range(3), start, one_more)
    for file in (tmp_path / "stages").glob("round-*"):
        file.unlink()
    assert Journal(tmp_path).rounds(range(3), start, one_more).tensors == {"w": torch.tensor(3)}


def test_a_stage_that_is_killed_goes_on_after_its_last_part(tmp_path: Path) -> None:
    calls: list[int] = []

    def add(before: Stage, part: int, monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        calls.append(part)
        if part == 2 and calls.count(2) == 1:
            raise KeyboardInterrupt
        monitor.log(part, loss=0.5)
        so_far = before.tensors.get("w", torch.tensor(0))
        return {"w": so_far + 10**part}, {"said": [*before.info.get("said", []), part]}

    with pytest.raises(KeyboardInterrupt):
        Journal(tmp_path).parts("long", 4, add)
    assert Journal(tmp_path).recall("long") is None
    resumed = Journal(tmp_path).parts("long", 4, add)
    assert calls == [0, 1, 2, 2, 3]
    assert (resumed.tensors, resumed.info) == ({"w": torch.tensor(1111)}, {"said": [0, 1, 2, 3]})
    assert [figures["step"] for figures in resumed.metrics] == [0, 1, 2, 3]
    assert [file.name for file in (tmp_path / "stages").glob("long*")] == ["long.safetensors"]
    (tmp_path / "stages" / "long.safetensors.half").write_bytes(b"killed before it could be deleted")
    assert Journal(tmp_path).parts("long", 4, add).tensors == resumed.tensors
    assert calls == [0, 1, 2, 2, 3]
    assert [file.name for file in (tmp_path / "stages").glob("long*")] == ["long.safetensors"]


def test_a_damaged_half_stage_is_named(tmp_path: Path) -> None:
    def fail(before: Stage, part: int, monitor: Monitor) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        if part:
            raise MosaicError("killed")
        return {}, {}

    with pytest.raises(MosaicError):
        Journal(tmp_path).parts("long", 2, fail)
    (tmp_path / "stages" / "long.safetensors.half").write_bytes(b"garbage")
    with pytest.raises(UsageError, match=r"long.safetensors.half is damaged: delete it, and --resume does that stage"):
        Journal(tmp_path).parts("long", 2, fail)


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
