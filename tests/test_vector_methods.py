"""FedCGS, AFL and FedPFT: heads by hand, the split that does not matter, what they refuse, and a comparison of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mosaic_fl
from command import mosaic
from mosaic_fl.client.contribute import Site
from mosaic_fl.comparison.cells import CellResult
from mosaic_fl.comparison.grid import Grid
from mosaic_fl.comparison.table import blocks
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.forecast.plans import plan_run
from mosaic_fl.methods import METHODS, afl, fedcgs
from mosaic_fl.methods.fedpft import draw
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.notes import Note
from mosaic_fl.numerics.moments import ABSENT, moments_of
from mosaic_fl.runs.runner import prepare
from mosaic_fl.runs.runner import run as run_setup
from mosaic_fl.storage.journal import Journal
from vector_cases import clouds

CPU = torch.device("cpu")
HEADS = {"fedcgs": fedcgs.head, "afl": afl.head}
PEERS = ("fedcgs", "fedpft", "afl")
# Class 0 is at -2 and 0, class 1 at 0 and 2; nobody has class 2.
LINE = torch.tensor([[-2.0], [0.0], [0.0], [2.0]])
SIDES = torch.tensor([0, 0, 1, 1])


def run(name: str, parts: Sequence[Dataset], **more: Any) -> Outcome:
    """The outcome of the method on clients with these parts, none of which is held out."""
    card = METHODS[name]
    settings = {"run.workers": 1, "data.validation": 0.0, "run.method": name, "distill.steps": 60}
    values = {**card.defaults, **settings, **{key.replace("__", "."): value for key, value in more.items()}}
    sites = [Site(k, part, "discriminant") for k, part in enumerate(parts)]
    with LocalFederation(sites, Config().with_values(values), CPU, Journal()) as federation:
        return card.run(federation, federation.config, CPU, Journal())


def logits(outcome: Outcome, data: Dataset) -> Tensor:
    return outcome.served.logits(data.samples, CPU)


def test_the_head_of_fedcgs_by_hand() -> None:
    """The mean is 0 and the variance (4 + 0 + 0 + 4)/3 = 8/3, the class means are −1 and 1."""
    weight, bias = fedcgs.head([moments_of(LINE, SIDES, 3)])
    assert weight.flatten().tolist() == pytest.approx([-3 / 8, 3 / 8, 0])
    assert bias.tolist() == pytest.approx([-0.693147 - 3 / 16, -0.693147 - 3 / 16, ABSENT])


def test_the_head_of_afl_by_hand() -> None:
    """The sum of squares is 8, the sums of the classes are −2 and 2."""
    weight, bias = afl.head([moments_of(LINE, SIDES, 3)])
    assert weight.flatten().tolist() == pytest.approx([-0.25, 0.25, 0])
    assert bias.tolist() == [0, 0, ABSENT]


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_the_head_of_afl_is_that_of_the_recursion_of_the_paper(penalty: float) -> None:
    """Ridge at each client, two merged at a time by the absolute aggregation law, and the penalty taken off."""
    data = clouds(90)
    order = data.labels.argsort()  # each client has one class alone
    x = data.samples.only[order].double()
    y = torch.nn.functional.one_hot(data.labels[order], 3).double()
    eye = torch.eye(4, dtype=torch.float64)
    pairs = list(zip(x.split(30), y.split(30), strict=True))
    grams = [own.T @ own + penalty * eye for own, _ in pairs]
    weights = [torch.linalg.solve(gram, own.T @ to) for gram, (own, to) in zip(grams, pairs, strict=True)]
    merged = weights[0]
    gram = grams[0]
    for own, weight in zip(grams[1:], weights[1:], strict=True):
        both = torch.linalg.inv(gram + own)
        first = eye - gram.inverse() @ own + gram.inverse() @ own @ both @ own
        second = eye - own.inverse() @ gram + own.inverse() @ gram @ both @ gram
        merged = first @ merged + second @ weight
        gram = gram + own
    clean = torch.linalg.solve(gram - 3 * penalty * eye, gram @ merged)
    parts = [moments_of(own, to.argmax(1), 3) for own, to in pairs]
    found, bias = afl.head(parts)
    assert torch.allclose(found, clean.T.float(), atol=1e-5)
    assert torch.allclose(clean, torch.linalg.lstsq(x, y).solution, atol=1e-9)
    assert bias.tolist() == [0, 0, 0]


@pytest.mark.parametrize("head", [fedcgs.head, afl.head])
def test_fewer_vectors_than_numbers_have_a_head(head: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """One number is constant, one repeats another: there is no inverse, and all training vectors are right."""
    x = torch.cat([LINE - 0.5, LINE - 0.5, torch.ones(4, 1)], 1)[[0, 3]]
    weight, bias = head([moments_of(x, torch.tensor([0, 1]), 2)])
    assert bool(weight.isfinite().all())
    assert (x @ weight.T + bias).argmax(1).tolist() == [0, 1]


@pytest.mark.parametrize("name", ["fedcgs", "afl"])
def test_any_split_has_the_head_of_the_pooled_data(name: str) -> None:
    data = clouds(size=6)
    shifted = mosaic_fl.from_arrays((data.samples.only + 100).numpy(), data.labels.numpy())  # where float32 is coarse
    splits = [
        [shifted],
        [shifted.subset(shifted.labels == c) for c in range(3)],
        [shifted.subset(range(2)), shifted.subset(range(2, 7)), shifted.subset(range(7, 240))],
    ]
    whole, *others = [logits(run(name, parts), shifted) for parts in splits]
    for other in others:
        assert torch.allclose(other, whole, atol=2e-3)
    exact, bias = HEADS[name]([moments_of(shifted.samples.only.double(), shifted.labels, 3)])
    assert torch.allclose(whole, shifted.samples.only @ exact.T + bias, atol=2e-3)


def test_only_statistics_go_up_and_only_the_head_comes_down() -> None:
    parts = [clouds(40), clouds(80, seed=1)]
    outcome = run("fedcgs", parts)
    numbers = 4 * 2 * (3 * 4 + 10) + 8 * 3  # means and half of the scatter, each in two parts, and counts
    assert all(numbers < size < numbers + 1100 for size in outcome.bytes_up)
    assert outcome.model is not None
    assert outcome.model.architecture == "linear"
    assert outcome.bytes_down == [len(outcome.model.to_bytes())] * 2


@pytest.mark.parametrize("name", PEERS)
def test_a_client_of_a_single_vector_is_told(name: str) -> None:
    with pytest.warns(Note, match=r"client 1 has no part in the model: 1 training sample, fewer than"):
        run(name, [clouds(40), clouds(4, seed=1).subset([0])], generator__width=2, distill__steps=2)


def test_fedpft_is_right_on_clouds_and_the_same_again() -> None:
    data = clouds()
    parts = [data.subset(data.labels == c) for c in range(3)]
    test = clouds(seed=1)
    quick = {"generator__width": 2, "distill__steps": 400, "distill__lr": 0.1, "distill__ema": 0.9}
    first = run("fedpft", parts, **quick)
    again = run("fedpft", parts, **quick)
    other = run("fedpft", parts, **quick, run__seed=1)
    assert float((logits(first, test).argmax(1) == test.labels).float().mean()) > 0.9
    assert torch.equal(logits(first, test), logits(again, test))
    assert not torch.equal(logits(first, test), logits(other, test))


def test_fedpft_draws_as_many_vectors_as_each_client_has_of_each_class() -> None:
    data = clouds(90)
    parts = [data.subset([*range(6)]), data.subset([*range(6, 90)])]
    values = {**METHODS["fedpft"].defaults, "run.workers": 1, "data.validation": 0.0, "generator.width": 2}
    sites = [Site(k, part, "discriminant") for k, part in enumerate(parts)]
    with LocalFederation(sites, Config().with_values(values), CPU, Journal()) as federation:
        sent = federation.contribute()
    everything = draw(sent, 0, 1000, 0)["labels"]
    assert torch.bincount(everything).tolist() == [30, 30, 30]
    assert torch.bincount(draw(sent, 45, 1000, 0)["labels"]).tolist() == [15, 15, 15]  # 1 and 14 of each class
    with pytest.warns(Note, match="clients have 90 vectors, and 30 are drawn"):
        few = draw(sent, 0, 30, 0)["labels"]
    assert torch.bincount(few).tolist() == [11, 11, 11]  # 2/3 and 28/3, each rounded up


@pytest.mark.parametrize("name", PEERS)
def test_images_and_rows_are_refused_with_the_way_out(name: str) -> None:
    images = mosaic_fl.from_arrays(torch.zeros(40, 80, 80).byte().numpy(), (torch.arange(40) % 2).numpy())
    table = mosaic_fl.from_table({"a": [value * 0.37 for value in range(60)]}, ["no", "yes"] * 30)
    for data in (images, table):
        config = Config().with_values({**METHODS[name].defaults, "run.method": name, "partition.clients": 2})
        with pytest.raises(UsageError, match=r"vectors of a public encoder, .*: say --encoder auto, or name one"):
            prepare(config, Splits("data", data, data))


@pytest.mark.parametrize("name", PEERS)
def test_clients_that_would_send_something_else_are_refused(name: str) -> None:
    config = Config().with_values({"run.method": name, "generator.family": "moments"})
    with pytest.raises(UsageError, match="not generator moments: leave generator.family out"):
        METHODS[name].check(config, clouds(6).schema, ["discriminant"], "linear")


def test_a_table_says_public_encoder_behind_every_name() -> None:
    grid = Grid(["mosaic", "afl", "centralised"], [2], [0.1], ["equal"], preset="encoder", values={"data.encoder": ""})
    results = {cell: CellResult("done", accuracy=0.9, models_served=1) for cell in grid.cells()}
    rows = {row.method: row.caveat for row in blocks(grid, results)[0].rows}
    assert all("public encoder" in caveat for caveat in rows.values())
    without = {cell: result for cell, result in results.items() if cell.method != "afl"}
    assert "public" not in {row.method: row.caveat for row in blocks(grid, without)[0].rows}["mosaic"]


def test_a_method_that_uses_no_client_model_has_its_own_in_a_comparison() -> None:
    grid = Grid(["fedcgs", "mosaic"], [2], [0.1], ["equal", "mixed"])
    models = {
        (cell.method, cell.setting.architectures): grid.config(cell, ["mlp:8", "mlp:16"], "mlp:8").models.clients
        for cell in grid.cells()
    }
    assert {models["fedcgs", kind] for kind in ("equal", "mixed")} == {("discriminant",)}
    assert models["mosaic", "equal"] == ("mlp:8",)
    assert models["mosaic", "mixed"] == ("mlp:8", "mlp:16")


@pytest.mark.parametrize("student", ["quadratic", "mixture"])
def test_clients_of_a_quadratic_student_send_no_quadratic_form(student: str) -> None:
    """It follows from class moments, and has 10 matrices of 128×128 numbers; averaging needs the student itself."""
    grid = Grid(("mosaic", "fedavg"), architectures=("equal",), preset="encoder", values={"data.encoder": "gabor"})
    models = {cell.method: grid.config(cell, ["cnn:16"], student).models for cell in grid.cells()}
    assert (models["mosaic"].clients, models["mosaic"].student) == (("discriminant",), student)
    assert models["fedavg"].clients == (student,)
    (cell, *_) = grid.cells()
    assert grid.config(cell, ["cnn:16"], "ridge").models.clients == ("ridge",)


def test_the_command_compares_them_with_mosaic(tmp_path: Path) -> None:
    words = ["--methods", "mosaic,fedcgs,fedpft,afl", "--encoder", "gabor:16", "--preset", "encoder", "--seeds", "0"]
    more = ["--architectures", "equal", "--alpha", "0.05", "--set", "fedpft:generator.width=2", "--workers", "1"]
    printed = mosaic("compare", *words, *more, "--set", "distill.steps=200", "--out", "c", cwd=tmp_path)
    content = json.loads((tmp_path / "c" / "table.json").read_text())
    cells = {cell["method"]: cell for cell in content["cells"]}
    assert content["encoder"]["name"] == "gabor:16"
    assert list(cells) == ["mosaic", "fedcgs", "fedpft", "afl"]
    assert min(cell["accuracy"] for cell in cells.values()) > 0.6
    text = (tmp_path / "c" / "table.md").read_text()
    assert all(f"| {name} (public encoder" in text for name in cells)
    for place in (printed, text):
        assert "Public encoder: gabor:16 (trained on nothing: fixed filters" in place


@pytest.mark.parametrize("name", PEERS)
def test_a_run_says_its_encoder_and_its_bytes_were_foreseen(tmp_path: Path, name: str) -> None:
    few = {"run.workers": 1, "partition.clients": 2, "distill.steps": 20, "generator.width": 2}
    values = {**METHODS[name].defaults, **few, "run.method": name, "data.encoder": "gabor:16"}
    prepared = prepare(Config().with_values(values))
    plan = plan_run(prepared)
    result = run_setup(prepared, tmp_path / "run")
    assert (result["student"], result["encoder"]["name"]) == ("linear", "gabor:16")
    assert plan.up == pytest.approx(sum(result["bytes_up"]), rel=0.05)
    assert plan.down == pytest.approx(sum(result["bytes_down"]), rel=0.05)
    assert plan.steps == (20 if name == "fedpft" else 0)
