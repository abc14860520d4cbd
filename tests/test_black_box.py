"""A client that keeps its model and answers queries: by files, with the real command line, and as a function."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.query import Query
from mosaic_fl.experts.answers.book import keys_of
from table_cases import patients

FEW = {"train.max_steps": 60, "train.min_steps": 40, "generator.steps": 120, "generator.width": 8}
SERVER = dict(word.split("=") for word in QUICK if "=" in word)
WORDS = ["distill", "0.contribution", "1.contribution", "--student", "mlp:8", *QUICK, "--out", "global"]


def function_of(contribution: Contribution) -> Any:
    """The contribution's network as a function of arrays, as a site may have it."""

    def logits(images: Any) -> Any:
        network = contribution.build_network()
        with torch.no_grad():
            return network(torch.from_numpy(images).float() / 127.5 - 1).numpy()

    return logits


@pytest.fixture(scope="module")
def contributions(digits: Dataset) -> list[Contribution]:
    """Of two clients with all classes."""
    parts = [digits.subset(range(k, 400, 2)) for k in range(2)]
    return [mosaic_fl.contribute(part, model="mlp:16", client=k, settings=FEW) for k, part in enumerate(parts)]


def black(contribution: Contribution) -> Contribution:
    """The same contribution without its model."""
    return replace(contribution, architecture="answers", expert={}, prototypes=no_prototypes())


@pytest.fixture
def place(contributions: list[Contribution], tmp_path: Path) -> Path:
    """A folder with a contribution of client 0, and one of client 1, whose model stays there in own.contribution."""
    first, second = contributions
    (tmp_path / "0.contribution").write_bytes(first.to_bytes())
    (tmp_path / "1.contribution").write_bytes(black(second).to_bytes())
    (tmp_path / "own.contribution").write_bytes(second.to_bytes())
    return tmp_path


def settings() -> dict[str, Any]:
    return {
        name: {"none": "none", "meta": "meta", "false": False}.get(value) if not value.isdecimal() else int(value)
        for name, value in SERVER.items()
        if name.startswith(("meta.", "distill."))
    }


def weights(model: GlobalModel) -> torch.Tensor:
    return torch.cat([tensor.flatten() for _, tensor in sorted(model.state.items())])


def test_a_function_gives_the_same_model_as_the_network_itself(contributions: list[Contribution]) -> None:
    first, second = contributions
    usual = mosaic_fl.distill(contributions, student="mlp:8", settings=settings())
    asked = mosaic_fl.distill(
        [first, black(second)], student="mlp:8", settings=settings(), answer={1: function_of(second)}
    )
    assert torch.allclose(weights(usual), weights(asked), atol=1e-4)


def test_by_files_it_takes_one_round_and_gives_the_same_model(place: Path, contributions: list[Contribution]) -> None:
    line = waits(place)
    assert "1 query waits for an answer: global/queries/client-1-round-1.query" in line
    listed = mosaic("query", "global", "--out", "sent", cwd=place)
    assert listed.startswith("sent/client-1-round-1.query: client 1, round 1, ")
    asked = Query.load(place / "sent" / "client-1-round-1.query")
    told = mosaic(
        "answer", "sent/client-1-round-1.query", "--model", "own.contribution", "--out", "a.answer", cwd=place
    )
    assert f"logits of {len(asked.samples):,} samples · 10 classes" in told
    mosaic(*WORDS, "--answers", "a.answer", "--resume", "--keep-stages", cwd=place)
    made = GlobalModel.load(place / "global")
    usual = mosaic_fl.distill(contributions, student="mlp:8", settings=settings())
    assert torch.allclose(weights(made), weights(usual), atol=1e-4)
    assert "nothing waits for an answer" in mosaic("query", "global", cwd=place)


def waits(place: Path, *words: str) -> str:
    """The line with which `distill` stops; its exit code is 3."""
    err = io.StringIO()
    with pytest.raises(AssertionError, match="exit code 3"):
        mosaic(*WORDS, *words, cwd=place, err=err)
    return next(line for line in err.getvalue().splitlines() if "for an answer" in line)


def notes(place: Path, *words: str) -> tuple[str, str]:
    """(the notes, the line with which `distill` stops to wait)."""
    err = io.StringIO()
    with pytest.raises(AssertionError, match="exit code 3"):
        mosaic(*WORDS, *words, "--resume", cwd=place, err=err)
    lines = err.getvalue().splitlines()
    return (
        "\n".join(line for line in lines if "note: an answer" in line),
        next(line for line in lines if "waits for" in line),
    )


def test_where_all_are_black_boxes_and_their_word_changes_the_plan_a_second_round_asks_the_rest(place: Path) -> None:
    """Weak generators need prior images, which nobody foresaw: what was answered is not asked again."""
    whole = (place / "0.contribution").read_bytes()
    (place / "own-0.contribution").write_bytes(whole)
    (place / "0.contribution").write_bytes(black(Contribution.from_bytes(whole)).to_bytes())
    models = ["own-0.contribution", "own.contribution"]
    open_prior = ["--set", "distill.prior=auto", "--set", "distill.prior_pool=200", "--set", "distill.pool=300"]
    asked = list[Query]()
    for round in (1, 2):
        assert "2 queries wait for an answer" in waits(place, *open_prior, "--resume")
        for client, model in enumerate(models):
            name = f"client-{client}-round-{round}.query"
            asked.append(Query.load(place / "global" / "queries" / name))
            mosaic("answer", f"global/queries/{name}", "--model", model, "--out", f"global/answers/{name}", cwd=place)
    assert asked[0].client == asked[2].client
    assert not set(keys_of(asked[0].samples)) & set(keys_of(asked[2].samples))
    mosaic(*WORDS, *open_prior, "--resume", cwd=place)
    assert (place / "global" / "global_model.safetensors").exists()
    told = io.StringIO()
    mosaic(*WORDS, *open_prior, "--answers", "own.contribution", "--resume", cwd=place, err=told)
    assert "own.contribution comes too late: global has its result" in told.getvalue()


def test_with_test_data_and_a_site_that_trains_no_model(place: Path, digits: Dataset) -> None:
    """Test data are the server's: they go to no site."""
    save_parquet(digits.subset(range(1, 200, 2)), place / "own.parquet")
    save_parquet(digits.subset(range(500, 560)), place / "test.parquet")
    words = ["--classes", ",".join("0123456789"), "--client", "1", *QUICK, "--out", "1.contribution", "--force"]
    said = mosaic("contribute", "--data", "own.parquet", "--model", "answers", *words, cwd=place)
    assert "model answers · generator cvae" in said
    assert "The model stays here: the server will send a query" in said
    made = Contribution.load(place / "1.contribution")
    assert (made.expert, made.validation, int(made.class_counts.sum())) == ({}, {}, 100)
    waits(place, "--test", "test.parquet")
    query = Query.load(place / "global" / "queries" / "client-1-round-1.query")
    mosaic_fl.answer(query, lambda images: np.full(len(images), 3)).save(place / "global" / "answers-3")
    (place / "global" / "answers").mkdir()
    (place / "global" / "answers-3").rename(place / "global" / "answers" / "mine")
    out = mosaic(*WORDS, "--test", "test.parquet", "--resume", cwd=place)
    assert "accuracy on test.parquet" in out
    result = json.loads((place / "global" / "result.json").read_text())
    assert result["accuracy"] is not None
    assert result["models"] == ["mlp:16", "answers"]


def test_what_is_no_answer_is_refused_and_nothing_else_is_lost(place: Path) -> None:
    waits(place)
    query = Query.load(place / "global" / "queries" / "client-1-round-1.query")
    good = mosaic_fl.answer(query, Contribution.load(place / "own.contribution"))
    rows = len(query.samples)
    short = replace(good.answers, values=good.answers.values[:-1])
    odd = replace(good.answers, form="probabilities")
    bad = {
        "short": (replace(good, answers=short).to_bytes(), f"{rows - 1:,} answers to {rows:,} samples"),
        "odd": (replace(good, answers=odd).to_bytes(), "has a negative probability"),
        "late": (replace(good, digest="0" * 64).to_bytes(), "it answers no query of global: one of another run"),
        "other": (replace(good, client=0).to_bytes(), "client 0 answers a query to client 1"),
        "cut": (good.to_bytes()[:-9], "truncated or damaged"),
        "large": (bytes(2**23), "bytes; at most"),
    }
    for name, (content, reason) in bad.items():
        (place / name).write_bytes(content)
        told, line = notes(place, "--answers", name)
        assert reason in told
        assert "1 query waits for an answer" in line
    assert not list((place / "global").glob("answers/*"))
    assert len(list((place / "global" / "queries").iterdir())) == 1
    good.save(place / "good")
    err = io.StringIO()
    mosaic(*WORDS, "--answers", "short", "--answers", "good", "--resume", cwd=place, err=err)
    assert "an answer is refused" in err.getvalue()


def test_contributions_and_functions_that_do_not_fit(
    contributions: list[Contribution], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = contributions
    both = [first, black(second)]
    for answer, said in [
        (None, "client 1 is a black box: give its function, as answer={1: function}"),
        ({0: len, 1: len}, "answer has a function for client 0, whose contribution is no black box"),
        ({1: 3}, r"answer\[1\] is 3, but it should be a function"),
        ({1: lambda _: 1 / 0}, "client 1: the black box failed: ZeroDivisionError: division by zero"),
        ({1: lambda x: np.full((len(x), 10), np.nan)}, "client 1: answer 0 has a NaN or infinite value"),
        ({1: lambda x: np.full((len(x), 10), 0.5)}, "client 1: answer 0 sums to 5, where probabilities sum to 1"),
    ]:
        with pytest.raises(mosaic_fl.UsageError, match=said):
            mosaic_fl.distill(both, student="mlp:8", settings=settings(), answer=answer)
    fresh = {**settings(), "distill.fresh": True}
    with pytest.raises(mosaic_fl.UsageError, match="distill.fresh draws new samples at each step"):
        mosaic_fl.distill(both, student="mlp:8", settings=fresh, answer={1: len})
    assert "does not say which model answers: write answers:MODEL" in fails(capsys, "run", "--models", "answers,mlp:8")
    with pytest.raises(mosaic_fl.UsageError, match=r"a black box \(answers\) with weights"):
        Contribution.from_bytes(replace(second, architecture="answers").to_bytes())


def test_rows_of_a_table_take_one_round_too(tmp_path: Path) -> None:
    """All that a distillation of rows asks was drawn beforehand, so that the first answers are enough."""
    for client in range(2):
        part = mosaic_fl.contribute(patients(120, client), model="mlp:8:1", client=client, settings=FEW)
        (tmp_path / f"{client}.contribution").write_bytes((black(part) if client else part).to_bytes())
        (tmp_path / f"own-{client}.contribution").write_bytes(part.to_bytes())
    waits(tmp_path)
    query = "global/queries/client-1-round-1.query"
    mosaic("answer", query, "--model", "own-1.contribution", "--out", "a.answer", cwd=tmp_path)
    mosaic(*WORDS, "--resume", "--answers", "a.answer", cwd=tmp_path)
    assert (tmp_path / "global" / "global_model.safetensors").is_file()
