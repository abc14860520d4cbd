"""Every reader on a few hundred mutants: accepted, or refused in one line of the library's own, quickly and in little.

`make fuzz` reads many more.
"""

from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the flower extra is not installed")
pytest.importorskip("pyrage", reason="the keys extra is not installed")
pytest.importorskip("skl2onnx", reason="the trees extra is not installed")

from fuzz_mutation import mutate_bytes
from fuzz_readers import READERS
from fuzz_run import Tally, fuzz, mutant, run

from mosaic_fl.errors import UsageError

# Files of the one format have networks in them that must be built: some 10 ms each; an ONNX model has a process.
COUNTS = {
    "onnx": 40, "contribution": 150, "global-model": 150, "parquet": 200, "picture": 200, "cart": 100, "merged": 60,
    "boosted-trees": 200, "bundled-model": 100,
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_mutant_is_read_or_refused(name: str, tmp_path: Path) -> None:
    tally = fuzz(name, 0, range(COUNTS.get(name, 400)), tmp_path / "failures")
    # How long an input takes is for `make fuzz` to say: here others may be at work.
    assert set(tally.outcomes) <= {"accepted", "refused", "slow"}, (tally.line(name), tally.failures)
    assert sum(tally.outcomes.values()) == tally.inputs == COUNTS.get(name, 400)
    assert tally.outcomes["accepted"]
    assert tally.outcomes["refused"] or name == "run-folder"  # whose other files are whole


@pytest.mark.parametrize("name", READERS)
def test_what_is_mutated_is_accepted_before(name: str, tmp_path: Path) -> None:
    good, read = tmp_path / "good", tmp_path / "read"
    good.mkdir()
    read.mkdir()
    refused = 0
    corpus = READERS[name].corpus(good)
    for data in corpus:
        try:
            READERS[name].read(data, read)
        except UsageError:
            refused += 1
    assert refused == 0


def test_the_same_seed_and_number_give_the_same_mutant(tmp_path: Path) -> None:
    corpus = READERS["schema"].corpus(tmp_path)
    mutants = [mutant("schema", corpus, 1, number) for number in range(50)]
    assert mutants == [mutant("schema", corpus, 1, number) for number in range(50)]
    assert len(set(mutants)) > 40
    assert mutants != [mutant("schema", corpus, 2, number) for number in range(50)]


def test_what_fails_is_found_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, _folder: Path) -> None:
        if data != b"good":
            raise KeyError(data)

    monkeypatch.setitem(READERS, "bad", type(READERS["schema"])(lambda _: [b"good"], mutate_bytes, fail))
    tally = fuzz("bad", 0, range(20), tmp_path)
    assert tally.outcomes["KeyError"] == len(tally.failures) == len(list(tmp_path.iterdir())) > 10


def test_a_worker_tells_what_this_process_would(tmp_path: Path) -> None:
    here = fuzz("schema", 3, range(10, 60), tmp_path)
    there = run("schema", 3, range(10, 60), tmp_path)
    assert isinstance(there, Tally)
    assert there.outcomes == here.outcomes
