"""`mosaic check`: what is said of files without a run, by rules with numbers worked out by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.cli.main import main
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.seal import Seal
from mosaic_fl.runs.file_check import check_files
from mosaic_fl.server.trust.copies import distance
from mosaic_fl.server.trust.plausibility import doubts
from mosaic_fl.storage.keys import make_key, read_key

FEW = {"train.max_steps": 5, "train.min_steps": 5, "generator.steps": 5, "generator.width": 4}


@pytest.fixture(scope="module")
def three(digits: Dataset) -> list[Contribution]:
    """Contributions of clients 0, 1 and 2."""
    parts = (digits.subset(range(k, 300, 3)) for k in range(3))
    return [mosaic_fl.contribute(part, model="mlp:4", client=k, settings=FEW) for k, part in enumerate(parts)]


def sized(contribution: Contribution, samples: int) -> Contribution:
    """The contribution with `samples` in its first class, and none in others."""
    counts = torch.zeros_like(contribution.class_counts)
    counts[0] = samples
    return replace(contribution, class_counts=counts)


def told(contributions: list[Contribution]) -> list[tuple[str, tuple[int, ...]]]:
    return [(doubt.rule, doubt.clients) for doubt in doubts(contributions)]


def test_honest_contributions_raise_no_doubt(three: list[Contribution]) -> None:
    assert doubts(three) == []
    assert doubts([]) == []


def test_more_than_five_times_the_median_is_doubted(three: list[Contribution]) -> None:
    """Medians of 100, 100, n and of 100, n."""
    first, second, third = three
    assert told([sized(first, 100), sized(second, 100), sized(third, 500)]) == []
    assert told([sized(first, 100), sized(second, 100), sized(third, 501)]) == [("counts", (2,))]
    assert told([sized(first, 100), sized(third, 10**9)]) == []  # two have no median that says anything


def test_a_copy_is_doubted_with_a_little_noise_too(three: list[Contribution]) -> None:
    first, second, third = three
    assert told([first, replace(second, expert=first.expert), third]) == [("copy", (0, 1))]
    noisy = {name: tensor * (1 + 1e-4) for name, tensor in first.expert.items()}
    assert told([first, replace(second, expert=noisy), third]) == [("copy", (0, 1))]
    other = {name: tensor * 1.01 for name, tensor in first.expert.items()}
    assert told([first, replace(second, expert=other), third]) == []
    lean = [replace(c, generator=None, generator_spec=None) for c in three]
    assert told(lean) == []


def test_the_distance_of_two_states() -> None:
    a = {"w": torch.tensor([3.0, 4.0]), "n": torch.tensor([1])}
    assert distance(a, {"w": torch.tensor([3.0, 4.5]), "n": torch.tensor([2])}) == pytest.approx(0.1)
    assert distance(a, {"w": torch.tensor([3.0])}) == distance({}, {}) == math.inf
    assert distance({"w": torch.zeros(2)}, {"w": torch.zeros(2)}) == 0
    assert distance({"w": torch.zeros(2)}, {"w": torch.ones(2)}) == math.inf
    octets = torch.tensor([1, 2], dtype=torch.uint8)
    assert distance({"model": octets}, {"model": octets.clone()}) == 0
    assert distance({"model": octets}, {"model": octets + 1}) == math.inf


def test_numbers_and_schemas_are_compared(three: list[Contribution]) -> None:
    first, second, third = three
    classes = tuple("abcdefghij")
    other = replace(third, schema=image_schema((1, 8, 8), classes))
    assert told([first, second, other]) == [("schema", (2,))]
    assert "the classes a, b" in doubts([first, second, other])[0].text
    assert told([first, replace(second, client=0), third]) == [("number", (0,))]


@pytest.fixture
def place(tmp_path: Path, three: list[Contribution]) -> Path:
    """Files of all kinds: `0` plain, `1` signed and encrypted, `2` signed; keys and signers."""
    (tmp_path / "signers").mkdir()
    server = make_key(tmp_path / "server.key")
    for k, made in enumerate(three):
        (tmp_path / "signers" / f"{k}.pub").write_text(make_key(tmp_path / f"{k}.key").line)
        signer = read_key(tmp_path / f"{k}.key") if k else None
        seal = Seal((server,) if k == 1 else (), signer, "a run")
        (tmp_path / f"{k}.contribution").write_bytes(seal.close(made.to_bytes(), k))
    return tmp_path


FILES = ["0.contribution", "1.contribution", "2.contribution"]
SIGNERS = ["--signers", "signers", "--run-id", "a run"]


def report(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as ended:
        main(["check", *words, "--json"])
    content = json.loads(capsys.readouterr().out)
    assert ended.value.code == (0 if content["clean"] else 1)
    return content


def test_a_clean_set_of_files(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = mosaic("check", *FILES, "--key", "server.key", cwd=place)
    assert "3 of 3 files count, and nothing is odd by these rules" in said
    content = report(place, monkeypatch, capsys, *FILES, "--key", "server.key")
    assert content["clean"]
    assert [file["encrypted"] for file in content["files"]] == [False, True, False]
    assert [file["signed"] for file in content["files"]] == ["no", "unchecked", "unchecked"]
    assert [file["client"] for file in content["files"]] == [0, 1, 2]
    only_signed = report(place, monkeypatch, capsys, *FILES[1:], "--key", "server.key", *SIGNERS)
    assert only_signed["clean"]
    assert [file["signed"] for file in only_signed["files"]] == ["yes", "yes"]


def test_one_bad_file_hides_no_other(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "damaged").write_bytes((place / FILES[2]).read_bytes()[:-1])
    (place / "text").write_text("hello")
    (place / "copy").write_bytes((place / FILES[2]).read_bytes())
    files = [*FILES, "damaged", "text", "copy", "missing"]
    content = report(place, monkeypatch, capsys, *files, *SIGNERS)
    words = ("is not signed", "is encrypted: give the private key", "", "damaged", "not a mosaic-fl file", "", "cannot")
    for file, word in zip(content["files"], words, strict=True):
        assert word in (file["defect"] or ""), file
    assert [file["client"] for file in content["files"]] == [None, None, 2, None, None, None, None]
    assert "copy is a copy of 2.contribution" in content["files"][5]["defect"]
    assert content["files"][5]["signed"] == "wrong"
    with pytest.raises(SystemExit) as ended:
        main(["check", *files])
    out = capsys.readouterr().out
    assert ended.value.code == 1
    unasked = [file.signed for file in check_files([place / name for name in (*FILES, "damaged")]).files]
    assert "wrong" not in unasked  # nobody asked who signed
    assert out.count("refused: ") == 4  # without signers the copy is a contribution, of a number that came before
    assert "odd: 2 contributions are of client 2\n3 of 7 files count, 1 odd" in out


def test_wrong_options_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--run-id is for --signers" in fails(capsys, "check", place / FILES[0], "--run-id", "a")
    assert "--signers needs --run-id" in fails(capsys, "check", place / FILES[0], "--signers", place / "signers")
    assert "is a public key" in fails(capsys, "check", place / FILES[0], "--key", place / "signers" / "0.pub")
