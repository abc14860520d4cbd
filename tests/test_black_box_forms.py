"""What a black box may answer, and from which models a site answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.query import Query
from mosaic_fl.experts.answers.book import AnswerBook, UnansweredError, keys_of, require_answers
from mosaic_fl.experts.answers.form import CERTAINTY, LEAST, answers_of
from mosaic_fl.experts.answers.function import arrays_of
from mosaic_fl.notes import Note
from mosaic_fl.registries import KINDS
from mosaic_fl.runs.answer_files import AnswerFiles
from mosaic_fl.storage import container

NAMES = ("a", "b", "c")


def query_of(schema: Schema, count: int = 4) -> Query:
    values = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).to(torch.uint8)
    return Query(2, 1, schema, Samples(schema.fields, {"image": values}))


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([[0.2, 0.3, 0.5]], "probabilities"),
        ([[2.0, -1.0, 0.5]], "logits"),
        (np.array([[1e4, 0, 0]], dtype=np.float32), "logits"),
        ([2], "labels"),
        (["c"], "labels"),
        (np.array([[2]]), "labels"),
        (torch.tensor([2.0]), "labels"),
        ([[0, 0, 1]], "probabilities"),
    ],
)
def test_what_answers_are(values: Any, form: str) -> None:
    assert answers_of(values, 1, NAMES).form == form


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[0.2, 0.3, 0.5]] * 2, "2 answers to 1 samples"),
        ([], "0 answers to 1 samples"),
        ([[0.2, 0.3, float("nan")]], "answer 0 has a NaN or infinite value"),
        ([[float("inf"), 0, 0]], "answer 0 has a NaN or infinite value"),
        ([[0.2, 0.3, 0.9]], "answer 0 sums to 1.4, where probabilities sum to 1"),
        ([[-0.2, 0.3, 0.9]], "answer 0 has a negative probability"),
        ([[1e7, 0, 0]], "a logit is beyond"),
        ([[0.5, 0.5]], "2 columns, and the black box knows 3 classes"),
        ([[[0.5]]], "answers of the shape"),
        ([3], "a label is 3: the black box knows the classes 0..2"),
        ([-1], "a label is -1"),
        ([0.5], "labels are whole numbers or names"),
        ([float("nan")], "labels are whole numbers or names"),
        (["d"], "answer 0 is 'd', which is no class"),
        ([["x", "y", "z"]], "answers are no numbers"),
        ([[1, 2, 3], [1]], "answers"),
        (None, "answers of the shape"),
        ({"a": 1}, "answers of the shape"),
    ],
)
def test_what_is_no_answer(values: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        answers_of(values, 1, NAMES)


def test_a_black_box_may_know_some_classes_alone() -> None:
    """The others are as good as impossible; a hard label is not quite certain."""
    said = answers_of([[0.75, 0.25]], 1, NAMES, ["c", "a"]).log_probabilities(3).exp()
    assert torch.allclose(said, torch.tensor([[0.25, LEAST, 0.75]]))
    said = answers_of([[1.0, 3.0]], 1, NAMES, ["c", "a"]).log_probabilities(3).exp()
    assert said[0, 0] == pytest.approx(1 / (1 + np.exp(-2)))
    said = answers_of(["c"], 1, NAMES).log_probabilities(3).exp()
    assert torch.allclose(said, torch.tensor([[(1 - CERTAINTY) / 2] * 2 + [CERTAINTY]]))
    for known, reason in [
        (["d"], "none of the federation's classes"),
        (["a", "a"], "each of them once"),
        ([], "one or"),
    ]:
        with pytest.raises(UsageError, match=reason):
            answers_of([[1.0]], 1, NAMES, known)


def test_a_book_says_what_it_was_asked_and_names_the_rest(schema: Schema) -> None:
    samples = query_of(schema).samples
    books = [AnswerBook(client, 3) for client in (1, 2)]
    books[0].add(samples[:2], torch.eye(3)[:2])
    assert torch.equal(books[0].log_probabilities(samples[torch.tensor([1, 0, 1])]), torch.eye(3)[[1, 0, 1]])
    with pytest.raises(UnansweredError) as error:
        require_answers([*books, object()], samples)
    assert {client: len(missing) for client, missing in error.value.missing.items()} == {1: 2, 2: 4}
    assert error.value.exit_code == 3


def test_a_site_answers_by_a_csv_or_a_function_of_its_own(
    schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    query = query_of(schema)
    (tmp_path / "q.query").write_bytes(query.content)
    (tmp_path / "own_box.py").write_text(
        "import numpy as np\n"
        "def sure(images):\n    return np.eye(3)[images[:, 0, 0, 0] % 3]\n"
        "def few(images):\n    return ['b'] * 3\n"
        "def two(images):\n    return np.full((len(images), 2), 0.5)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text("c,a\n" + "0.9,0.1\n" * 4)
    (tmp_path / "labels.csv").write_text("label\n" + "b\n" * 4)
    for model, said in [
        ("own_box:sure", "probabilities of 4 samples · 3 classes"),
        ("p.csv", "probabilities of 4 samples · 2 classes"),
        ("labels.csv", "labels of 4 samples · 3 classes"),
    ]:
        words = ["answer", "q.query", "--model", model, "--out", "a.answer", "--force"]
        assert said in mosaic(*words, cwd=tmp_path)
    told = mosaic(*words[:3], "own_box:two", *words[4:], "--known", "a,b", cwd=tmp_path)
    assert "probabilities of 4 samples · 2 classes" in told
    (tmp_path / "short.csv").write_text("a,b,c\n0.5,0.5,0\n")
    (tmp_path / "odd.csv").write_text("a,b,c\n" + "0.5,x,0\n" * 4)
    (tmp_path / "ragged.csv").write_text("a,b,c\n0.5,0.5\n")
    (tmp_path / "none.csv").write_text("")
    for model, reason in [
        ("own_box:few", "3 answers to 4 samples: each sample needs one"),
        ("own_box:none", "cannot be imported"),
        ("own_box", "is no file here: --model is a global model"),
        ("short.csv", "short.csv: 1 answers to 4 samples"),
        ("odd.csv", "odd.csv: row 2 has 'x', which is no number"),
        ("ragged.csv", "row 2 has 2 columns, its header 3"),
        ("none.csv", "none.csv: it is empty"),
        ("q.query", "q.query: holds a 'query'"),
    ]:
        assert reason in fails(capsys, *words[:3], model, *words[4:])
    assert "not a mosaic-fl file" in fails(capsys, "answer", "p.csv", *words[2:])
    assert "--form 'odd'" in fails(capsys, *words, "--form", "odd")
    assert "has no queries" in fails(capsys, "query", str(tmp_path))


def test_a_received_query_is_checked(schema: Schema) -> None:
    query = query_of(schema)
    again = Query.from_bytes(query.content)
    assert (again.client, again.round, again.digest) == (2, 1, query.digest)
    with pytest.raises(UsageError, match="truncated or damaged"):
        Query.from_bytes(query.content[:-1])
    with pytest.raises(UsageError, match="holds a 'answer'"):
        Query.from_bytes(mosaic_fl.answer(query, lambda x: np.eye(3)[[0] * len(x)]).to_bytes())
    with pytest.raises(UsageError, match="0 samples: a query has"):
        Query.from_bytes(Query(2, 1, schema, query.samples[:0]).content)
    with pytest.raises(UsageError, match="not one of a query"):
        Query.from_bytes(Query(2, 0, schema, query.samples).content)


def test_missing_values_travel_and_what_is_no_mark_of_them_is_refused(
    outside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind may say by NaN that a value is missing; a file holds no NaN."""
    kind = KINDS["readings"](sensors=2)  # type: ignore[call-arg]
    schema = Schema({"readings": kind}, NAMES)
    values = torch.tensor([[1.0, torch.nan], [0.0, 2.0]])
    query = Query(0, 1, schema, Samples(schema.fields, {"readings": values}))
    again = Query.from_bytes(query.content)
    assert torch.equal(again.samples.only.isnan(), values.isnan())
    assert keys_of(query.samples[1:]) == keys_of(again.samples)[1:]
    assert arrays_of(again.samples).shape == (2, 2)  # type: ignore[union-attr]
    manifest = {"client": 0, "round": 1, "schema": schema.to_json()}
    for gaps in (torch.ones(2), torch.ones(3, 2, dtype=torch.bool)):
        tensors = {"sample/readings": torch.zeros(2, 2), "sample/readings~": gaps}
        with pytest.raises(UsageError, match="do not say which values are missing"):
            Query.from_bytes(container.pack("query", manifest, tensors))
    with pytest.raises(UsageError, match="the samples lack the field readings"):
        Query.from_bytes(container.pack("query", manifest, {}))
    tensors = {"sample/readings": torch.zeros(2, 2), "sample/readings?": torch.ones(2)}
    with pytest.raises(UsageError, match="do not say which rows have the field"):
        Query.from_bytes(container.pack("query", manifest, tensors))


def test_one_answer_counts_and_what_waits_is_not_asked_twice(schema: Schema, tmp_path: Path) -> None:
    samples = query_of(schema).samples
    files = AnswerFiles(tmp_path, schema)
    assert "client-2-round-1.query (3 samples)" in str(files.ask({2: samples[:3]}))
    line = str(files.ask({2: samples}))  # of another machine, whose generators drew one more
    assert "2 queries wait" in line
    assert "client-2-round-2.query (1 samples)" in line
    again = AnswerFiles(tmp_path, schema)
    assert str(again.ask({2: samples})) == line
    first = again.open_queries()[0]
    for name, label in (("one", "a"), ("two", "b")):
        mosaic_fl.answer(first, lambda rows, label=label: [label] * len(rows)).save(tmp_path / name)
    with pytest.warns(Note, match=r"two: client 2 has answered round 1 already \(.*client-2-round-1.answer\)"):
        again.receive([tmp_path / "one", tmp_path / "two"])
    later = AnswerFiles(tmp_path, schema)
    (tmp_path / "answers" / "a").write_bytes((tmp_path / "two").read_bytes())
    with pytest.warns(Note, match="answers/a: client 2 has answered round 1 already"):
        later.receive()
    assert later.books([2])[2].log_probabilities(samples[:3]).argmax(1).tolist() == [0, 0, 0]
    assert [query.round for query in later.open_queries()] == [2]
    (tmp_path / "queries" / "client-2-round-2.query").write_bytes(b"cut")
    with pytest.raises(UsageError, match="delete it, and --resume asks its samples again"):
        AnswerFiles(tmp_path, schema).receive()
