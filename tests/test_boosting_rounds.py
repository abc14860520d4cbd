"""Federated boosting by histograms: the sums are those of all rows, and the trees those of XGBoost on all rows."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mosaic_fl.client.boosting import Margins, gradient_sums, gradients
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import BoostingConfig, Config
from mosaic_fl.domains.dataset import Dataset, pool
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import UNITS
from mosaic_fl.experts import boosted, ensemble
from mosaic_fl.experts.bins import bins_of
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.numerics.states import State
from mosaic_fl.server.histograms import GrowingTrees, best_splits
from mosaic_fl.storage.journal import Journal
from table_cases import SCHEMA, patients, rows

CPU = torch.device("cpu")
TWO = Schema(SCHEMA.fields, ("ill", "well"))


def noisy(count: int, seed: int, schema: Schema = SCHEMA, share: float = 0.3) -> Dataset:
    """Patients, of whom a share has a class by chance."""
    rng = torch.Generator().manual_seed(seed)
    data = patients(count, seed)
    chance = torch.randint(0, schema.num_classes, (count,), generator=rng)
    labels = torch.where(torch.rand(count, generator=rng) < share, chance, data.labels)
    return rows(data.samples.only, labels, schema)


def run(name: str, parts: list[Dataset], rounds: int = 5, workers: int = 1, **more: Any) -> Outcome:
    """The method's outcome on clients with these rows, none of which is held back."""
    values = {"run.method": name, "rounds.warm_up": rounds, "run.workers": workers, "data.validation": 0.0}
    config = Config().with_values(values | {key.replace("_", ".", 1): value for key, value in more.items()})
    sites = [Site(k, part, "mlp:8") for k, part in enumerate(parts)]
    journal = Journal()
    with LocalFederation(sites, config, CPU, journal) as federation:
        return METHODS[name].run(federation, config, CPU, journal)


def text(outcome: Outcome) -> bytes:
    assert outcome.model is not None
    return outcome.model.state["json"].numpy().tobytes()


def test_numbers_are_cut_half_way_between_points_of_their_grid() -> None:
    """The age has a bin a value, but for 3, which lies between knots; the dose's two intervals have two parts each."""
    columns = (
        Column("age", "whole", low=0, high=4, knots=(0, 1, 2, 4)),
        Column("dose", "numeric", low=0, high=9, knots=(0, 3, 9)),
        Column("smoker", "boolean", missing=True),
        Column("ward", "category", categories=("a", "b"), missing=True),
    )
    schema = Schema({"table": Table(columns)}, ("ill", "well"))
    bins = bins_of(schema, 4)
    assert bins.starts.diff().tolist() == [4, 5, 3, 2, 2, 2, 2]
    values = torch.tensor([[0.0, 0, 0, 0], [1, 3, 1, 1], [4, 9, np.nan, np.nan], [2, 1.6, 1, 1]])
    codes = bins.codes(schema.kind.to_network(values)) - bins.starts[:-1]
    assert codes.tolist() == [
        [0, 0, 0, 0, 1, 0, 0],
        [1, 2, 2, 0, 0, 1, 0],
        [3, 4, 1, 1, 0, 0, 1],
        [2, 1, 2, 0, 0, 1, 0],
    ]


@pytest.mark.parametrize("schema", [TWO, SCHEMA], ids=["two", "three"])
def test_sums_of_any_split_are_those_of_all_rows(schema: Schema) -> None:
    data = noisy(90, 0, schema)
    trees = boosted_trees([data], schema)
    growing = GrowingTrees(schema.num_classes, bins_of(schema, 16), BoostingConfig())
    growing.split(sums(data, trees, growing) / UNITS)
    whole = sums(data, trees, growing)
    for parts in ([30, 30, 30], [1, 88, 1], [45, 45]):
        pieces = [data.subset(index) for index in torch.arange(90).split(parts)]
        assert torch.equal(sum((sums(piece, trees, growing) for piece in pieces), torch.zeros_like(whole)), whole)
    each_value_once = whole[:, : bins_of(schema, 16).starts[1]].sum((0, 1))
    margins = Margins(data)
    margins.advance(trees)
    outputs = [1] if schema.num_classes == 2 else range(3)
    first, second = gradients(margins.values, data.labels)
    expected = [float(part[:, outputs].sum()) for part in (first, second)]
    assert (each_value_once / UNITS).tolist() == pytest.approx(expected, abs=1e-4)


def boosted_trees(parts: list[Dataset], schema: Schema, rounds: int = 3) -> boosted.BoostedTrees:
    outcome = run("federated_xgboost", parts, rounds)
    assert outcome.model is not None
    return boosted.load("boosted_trees", schema, outcome.model.state, "test")


def sums(data: Dataset, trees: boosted.BoostedTrees, growing: GrowingTrees) -> Tensor:
    margins = Margins(data)
    margins.advance(trees)
    return gradient_sums(margins, growing.trees, growing.nodes, 16)


def test_a_split_has_the_gain_of_the_paper() -> None:
    """Two bins of one feature: G = (−3, 5), H = (2, 4); λ = 1: 9/3 + 25/5 − 4/7."""
    schema = Schema({"table": Table((Column("smoker", "boolean"),))}, ("ill", "well"))
    bins = bins_of(schema, 8)
    splits = best_splits(torch.tensor([[[-3.0, 2.0], [5.0, 4.0]]]), bins, BoostingConfig())
    assert splits.gain.tolist() == pytest.approx([3 + 5 - 4 / 7])
    growing = GrowingTrees(2, bins, BoostingConfig())
    growing.split(torch.tensor([[[-3.0, 2.0], [5.0, 4.0]]]))
    assert growing.trees.value.tolist() == pytest.approx([0.0, 0.1 * 3 / 3, -0.1 * 5 / 5])  # −η·G / (H + λ)
    assert growing.nodes.tolist() == [1, 2]
    alone = GrowingTrees(2, bins, BoostingConfig(least_weight=3))
    alone.split(torch.tensor([[[-3.0, 2.0], [5.0, 4.0]]]))
    assert alone.trees.value.tolist() == pytest.approx([-0.1 * 2 / 7])  # the left side weighs 2: no split
    assert not len(alone.nodes)


@pytest.mark.parametrize("schema", [TWO, SCHEMA], ids=["two", "three"])
def test_it_is_xgboost_on_all_rows(schema: Schema) -> None:
    """Every value has a bin of its own, here and in XGBoost, so both have the same choice of splits."""
    xgboost = pytest.importorskip("xgboost")
    ages = torch.arange(600) % 7
    rng = torch.Generator().manual_seed(1)
    codes = torch.randint(0, 3, (600,), generator=rng)
    values = torch.stack([ages * 10.0, torch.zeros(600), (ages * 3 + codes) % 2 * 1.0, codes * 1.0], 1)
    noise = torch.randint(0, schema.num_classes, (600,), generator=rng)
    labels = torch.where(torch.rand(600, generator=rng) < 0.3, noise, (ages + codes) % schema.num_classes)
    data = rows(values, labels, schema)
    outcome = run("federated_xgboost", [data.subset(i) for i in torch.arange(600).split([100, 200, 300])], 8)
    words = {"eta": 0.1, "max_depth": 6, "tree_method": "hist", "base_score": 0.5, "max_bin": 256, "nthread": 1}
    words |= {"objective": "binary:logistic"} if schema.num_classes == 2 else {"objective": "multi:softprob"}
    words |= {} if schema.num_classes == 2 else {"num_class": 3}
    inputs = data.samples.inputs().numpy()  # type: ignore[union-attr]
    theirs = xgboost.train(words, xgboost.DMatrix(inputs, label=labels.numpy()), 8).predict(xgboost.DMatrix(inputs))
    assert outcome.model is not None
    ours = outcome.model.predict_proba(data.samples).numpy()
    assert np.abs((ours[:, 1] if schema.num_classes == 2 else ours) - theirs).max() < 1e-4


@pytest.mark.parametrize("name", ["federated_xgboost", "federated_bagging"])
@pytest.mark.parametrize("schema", [TWO, SCHEMA], ids=["two", "three"])
def test_xgboost_reads_the_model(schema: Schema, name: str) -> None:
    xgboost = pytest.importorskip("xgboost")
    data = noisy(120, 3, schema)
    model = run(name, [data.subset(range(60)), data.subset(range(60, 120))], 3).model
    assert model is not None
    booster = xgboost.Booster()
    booster.load_model(bytearray(model.state["json"].numpy().tobytes()))
    inputs = data.samples.inputs().numpy()  # type: ignore[union-attr]
    theirs = booster.predict(xgboost.DMatrix(inputs))
    ours = model.predict_proba(data.samples).numpy()
    assert np.abs((ours[:, 1] if schema.num_classes == 2 else ours) - theirs).max() < 1e-5


def test_histograms_do_not_see_who_has_which_row() -> None:
    data = noisy(120, 4)
    texts = [
        text(run("federated_xgboost", [data.subset(i) for i in torch.arange(120).split(n)])) for n in (120, 40, 17)
    ]
    assert texts[0] == texts[1] == texts[2]
    shuffled = data.subset(torch.randperm(120, generator=torch.Generator().manual_seed(0)))
    assert text(run("federated_xgboost", [shuffled])) == texts[0]


@pytest.mark.parametrize("name", ["federated_xgboost", "federated_bagging"])
def test_the_workers_change_nothing_and_of_bagging_the_seed_does(name: str) -> None:
    parts = [noisy(40, 5), noisy(60, 6)]
    alone = text(run(name, parts))
    assert text(run(name, parts, workers=2)) == alone
    assert (text(run(name, parts, run_seed=1)) == alone) is (name == "federated_xgboost")


def test_bagging_weighs_a_client_by_its_rows() -> None:
    """Of one tree each without sampling: the first client's leaf counts a quarter, the second's three quarters."""
    pytest.importorskip("xgboost")
    parts = [noisy(40, 7, TWO), noisy(120, 8, TWO)]
    more = {"boosting_rows": 1.0, "boosting_columns": 1.0, "boosting_l2": 0.0}
    both = run("federated_bagging", parts, 1, **more).model
    own = [run("federated_bagging", [part], 1, **more).model for part in parts]
    data = noisy(30, 9, TWO).samples
    assert both is not None
    ours, first, second = (model.logits(data)[:, 1] for model in (both, *own) if model is not None)
    assert torch.allclose(ours, 0.25 * first + 0.75 * second, atol=1e-6)


def test_each_round_of_bagging_takes_other_rows_and_columns() -> None:
    model = run("federated_bagging", [noisy(200, 10)], 6, boosting_rate=1e-6).model  # the margins stay as they are
    assert model is not None
    trees = boosted.load("boosted_trees", SCHEMA, model.state, "test")
    one, other = (ensemble.between(trees, 3 * round, 3 * round + 3) for round in (0, 1))
    assert not torch.equal(one.feature, other.feature)


@pytest.mark.parametrize("name", ["federated_xgboost", "federated_bagging"])
def test_the_rounds_end_where_the_validation_rows_have_the_least_loss(name: str) -> None:
    """Labels by chance: no tree is better than none, and one at least serves."""
    data = [noisy(80, seed, TWO, share=1.0) for seed in (11, 12)]
    few = run(name, data, 30, data_validation=0.3, boosting_patience=3, boosting_rate=0.5).model
    every = run(name, data, 6, data_validation=0.3, boosting_patience=0).model
    assert few is not None
    assert every is not None
    assert int(few.architecture.split(":")[1]) < 10
    assert every.architecture == "boosted_trees:6"


def test_clients_of_one_class_each_learn_together() -> None:
    data = patients(200, 13)
    parts = [data.subset((data.labels == c).nonzero().flatten()) for c in (0, 1)]
    for name in ("federated_xgboost", "federated_bagging"):
        model = run(name, parts, 10).model
        assert model is not None
        share = model.evaluate(patients(100, 14)).accuracy
        assert share > (0.97 if name == "federated_xgboost" else 0.4)


def test_images_are_refused_before_work(digits: Dataset) -> None:
    for name in ("federated_xgboost", "federated_bagging"):
        with pytest.raises(UsageError, match="trees on rows of a table"):
            METHODS[name].check(Config().with_values({"run.method": name}), digits.schema, ["mlp:8"], "mlp:8")
        METHODS[name].check(Config(), TWO, ["mlp:8", "cnn:4"], "xgboost")


def hostile(state: State, **changes: Any) -> State:
    return state | {name: torch.tensor(value) for name, value in changes.items()}


LEAF = {"value": [0.5], "roots": [0], "outputs": [1], "feature": [0], "left": [0], "right": [0]}
STUMP = {"value": [0.5, 1.0, 2.0], "roots": [0], "outputs": [1], "feature": [0, 0, 0]}
STUMP |= {"left": [1, 1, 2], "right": [2, 1, 2]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"left": [0, 1, 2]}, "do not fit together"),
        ({"left": [3, 1, 2]}, "do not fit together"),
        ({"left": [2, 1, 2]}, "do not fit together"),
        ({"right": [2, 0, 2]}, "do not fit together"),
        ({"left": [-1, 1, 2]}, "do not fit together"),
        ({"roots": [1]}, "do not follow each other"),
        ({"roots": [0, 0], "outputs": [1, 1]}, "do not follow each other"),
        ({"roots": [0, 9], "outputs": [1, 1]}, "do not follow each other"),
        ({"roots": [], "outputs": []}, "are no trees"),
        ({"outputs": [0]}, "adds to no class"),
        ({"outputs": [2]}, "adds to no class"),
        ({"feature": [99, 0, 0]}, "no feature"),
        ({"feature": [0, 0]}, "are no trees"),
        ({"value": [0.5, float("inf"), 2.0]}, "are no trees"),
        ({"value": [1, 2, 3]}, "are no trees"),
        ({"more": [1]}, "are no trees"),
    ],
)
def test_hostile_trees_are_refused(changes: dict[str, Any], words: str) -> None:
    good = hostile({}, **STUMP)
    assert ensemble.of_state(good, TWO, "test").depth == 1
    with pytest.raises(UsageError, match=words):
        ensemble.of_state(hostile(good, **changes), TWO, "test")


def test_a_chain_of_nodes_is_not_followed_for_ever() -> None:
    depth = 40
    left = torch.tensor([2 * (n // 2) + 1 if n % 2 == 0 and n < 2 * depth else n for n in range(2 * depth + 1)])
    right = torch.where(left == torch.arange(len(left)), left, left + 1)
    zeros = torch.zeros(len(left), dtype=torch.int64)
    chain = {"value": zeros.float(), "roots": zeros[:1], "outputs": zeros[:1] + 1, "feature": zeros}
    with pytest.raises(UsageError, match="deeper than 32"):
        ensemble.of_state({**chain, "left": left, "right": right}, TWO, "test")


@pytest.mark.parametrize("nodes", [[0, 0], [-1], [1], [], [[0]], [0.0]])
def test_sums_of_nodes_that_are_no_leaves_are_refused(nodes: list[Any]) -> None:
    margins = Margins(patients(10))
    growing = ensemble.of_state(hostile({}, **LEAF), TWO, "test")
    with pytest.raises(UsageError, match="request: the nodes"):
        gradient_sums(margins, growing, torch.tensor(nodes), 16)


def test_pieces_of_ensembles_say_what_the_whole_says() -> None:
    data = noisy(60, 15)
    trees = boosted_trees([data], SCHEMA, 4)
    parts = [ensemble.between(trees, first, first + 3) for first in range(0, 12, 3)]
    again = ensemble.joined(parts)
    margins = Margins(pool([data]))
    for count in range(1, 5):
        margins.advance(ensemble.joined(parts[:count]))
    assert torch.equal(again.leaves(margins.inputs), trees.leaves(margins.inputs))
    fresh = Margins(data)
    fresh.advance(trees)
    assert torch.equal(margins.values, fresh.values)
    margins.advance(parts[1])  # another ensemble: nothing of the old one stays
    fresh = Margins(data)
    fresh.advance(parts[1])
    assert torch.equal(margins.values, fresh.values)
