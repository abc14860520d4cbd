"""Signed answers of black boxes by files: where a server has the sites' keys, nobody else answers in their name."""

from pathlib import Path

import pytest
import torch

from command import fails, mosaic
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.query import Query
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.notes import Note
from mosaic_fl.runs.answer_files import AnswerFiles
from mosaic_fl.storage.keys import make_key, read_key
from mosaic_fl.storage.signature import attach

RUN = "wards-2026"
BOX = 2


@pytest.fixture
def place(tmp_path: Path, schema: Schema) -> Path:
    """Keys of clients 1 and 2, the folder `signers`, and `q.query`, which asks client 2."""
    (tmp_path / "signers").mkdir()
    for client in (1, BOX):
        (tmp_path / "signers" / f"{client}.pub").write_text(make_key(tmp_path / f"{client}.key").line)
    (tmp_path / "labels.csv").write_text("label\n" + "b\n" * 4)
    files = AnswerFiles(tmp_path, schema)
    files.ask({BOX: samples_of(schema)})
    (tmp_path / "q.query").write_bytes(files.open_queries()[0].content)
    return tmp_path


def samples_of(schema: Schema) -> Samples:
    values = torch.arange(4).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).to(torch.uint8)
    return Samples(schema.fields, {"image": values})


def waiting(place: Path, path: Path, run: str = RUN) -> int:
    """How many queries still wait, where the server has the keys and this answer comes."""
    schema = Query.load(place / "q.query").schema
    files = AnswerFiles(place, schema, Signers.load(place / "signers", run))
    files.receive([path])
    return len(files.open_queries())


def answer(place: Path, *words: str) -> str:
    return mosaic("answer", "q.query", "--model", "labels.csv", "--out", "a.answer", "--force", *words, cwd=place)


def test_an_answer_is_signed_and_counts_and_comes_again(place: Path, schema: Schema) -> None:
    told = answer(place, "--sign", f"{BOX}.key", "--run-id", RUN)
    assert f"signed by {read_key(place / f'{BOX}.key').public.fingerprint} for 'wards-2026'" in told
    assert waiting(place, place / "a.answer") == 0
    assert waiting(place, place / "a.answer") == 0  # one answer to one query: a copy changes nothing
    unchecked = AnswerFiles(place, schema)
    unchecked.receive()
    assert unchecked.open_queries() == []


def test_who_did_not_sign_it_as_the_box_is_refused(place: Path) -> None:
    answer(place)
    with pytest.warns(Note, match="a.answer is not signed: its client makes it with mosaic answer --sign"):
        assert waiting(place, place / "a.answer") == 1
    plain = (place / "a.answer").read_bytes()
    (place / "x").write_bytes(attach(plain, read_key(place / "1.key"), 1, RUN))
    with pytest.warns(Note, match="it answers a query to client 2, and is signed as client 1"):
        assert waiting(place, place / "x") == 1
    (place / "x").write_bytes(attach(plain, read_key(place / "1.key"), BOX, RUN))
    with pytest.warns(Note, match="is signed by the key .*, and that of client 2 is"):
        assert waiting(place, place / "x") == 1
    (place / "x").write_bytes(attach(plain, read_key(place / f"{BOX}.key"), BOX, "wards-2025"))
    with pytest.warns(Note, match="is signed for the run 'wards-2025', and this is 'wards-2026'"):
        assert waiting(place, place / "x") == 1


def test_another_content_under_the_same_signature_is_refused(place: Path) -> None:
    answer(place, "--sign", f"{BOX}.key", "--run-id", RUN)
    data = bytearray((place / "a.answer").read_bytes())
    data[-8] ^= 1  # another label
    (place / "x").write_bytes(data)
    with pytest.warns(Note, match="its SHA-256 does not match"):
        assert waiting(place, place / "x") == 1


def test_options_that_do_not_fit_are_told_before_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["answer", place / "q.query", "--model", place / "labels.csv", "--out", place / "new.answer"]
    assert "--sign needs --run-id" in fails(capsys, *words, "--sign", place / "1.key")
    assert "--run-id is for --sign" in fails(capsys, *words, "--run-id", RUN)
    assert "is a public key" in fails(capsys, *words, "--run-id", RUN, "--sign", place / "signers" / "1.pub")
    assert not (place / "new.answer").exists()
