"""Gradient-boosted trees as the global model: what they learn, how their JSON is read, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mosaic_fl import api
from mosaic_fl.config import Config, DistillConfig
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts import boosted
from mosaic_fl.methods import METHODS
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.server.boosting import boost, boost_pooled, targets
from mosaic_fl.server.checks import check_student
from mosaic_fl.server.student import Lesson
from mosaic_fl.server.students import global_name
from mosaic_fl.training.monitor import Recorder
from table_cases import SCHEMA, patients, rows

pytest.importorskip("xgboost")
TWO = Schema(SCHEMA.fields, ("ill", "well"))
FEW = Config().with_values({"distill.holdout": 0.1})


def two(count: int, seed: int = 0) -> Any:
    data = patients(count, seed)
    return rows(data.samples.only, data.labels, TWO)


def test_what_is_learnt_lies_between_teacher_and_label() -> None:
    data = two(3)
    teacher = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]).log()
    lesson = Lesson(data.samples, torch.tensor([0, 1, -1]), teacher, torch.tensor([0.5, 1.0, 1.0]))
    expected = torch.tensor([[0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])  # ½·0.8 + ½·1; the label; no label: the teacher
    assert torch.allclose(targets(lesson, DistillConfig()), expected, atol=1e-6)


@pytest.mark.parametrize("schema", [TWO, SCHEMA])
def test_trees_learn_the_probabilities_of_the_teacher(schema: Schema) -> None:
    """The teacher says ¾ for the class, of all rows alike: labels alone would be learnt as certain."""
    data = rows(patients(600).samples.only, patients(600).labels, schema)
    chance = torch.full((600, schema.num_classes), 0.25 / (schema.num_classes - 1))
    chance[torch.arange(600), data.labels] = 0.75
    lesson = Lesson(data.samples, data.labels, chance.log(), torch.zeros(600))
    state, figures = boost("xgboost:60", schema, lesson, FEW.distill, Stream(0, "s"), Recorder())
    model = GlobalModel(global_name("xgboost:60"), schema, state)
    assert figures["holdout_accuracy"] == figures["holdout_agreement"] == 1.0
    mine = model.predict_proba(data.samples)[torch.arange(600), data.labels]
    assert mine.tolist() == pytest.approx([0.75] * 600, abs=0.05)


@pytest.mark.parametrize(("lightest", "sees"), [(0.0, True), (0.01, False)])
def test_a_leaf_holds_a_share_of_the_rows(lightest: float, sees: bool) -> None:
    """20 of 2,000 rows, of second derivatives ¼ each: 5 in all, where 1 % of the rows asks for 20 at least."""
    data = two(2000)
    values = data.samples.only.clone()
    values[:, 1:] = 0
    values[:, 0] = (torch.arange(2000) < 20).float() * 50
    labels = (values[:, 0] > 0).long()
    lesson = Lesson(rows(values, labels, TWO).samples, labels, torch.zeros(2000, 2), torch.ones(2000))
    config = DistillConfig(holdout=0.0)
    state, _ = boost("xgboost:20", TWO, lesson, config, Stream(0, "s"), Recorder(), lightest)
    chance = GlobalModel(global_name("xgboost:20"), TWO, state).predict_proba(lesson.samples)[:, 1]
    assert bool(chance[0] > chance[-1] + 0.5) == sees


@pytest.mark.parametrize("schema", [TWO, SCHEMA], ids=["two", "three"])
def test_trees_stop_where_the_hold_out_has_the_least_cross_entropy(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels of a third of the rows are noise, so that many trees overfit."""
    import xgboost

    boosters = list[Any]()
    train = xgboost.train
    monkeypatch.setattr(xgboost, "train", lambda *words, **more: boosters.append(train(*words, **more)) or boosters[-1])
    rng = torch.Generator().manual_seed(0)
    labels = torch.where(
        torch.rand(600, generator=rng) < 0.3,
        torch.randint(0, schema.num_classes, (600,), generator=rng),
        patients(600).labels,
    )
    data = rows(patients(600).samples.only, labels, schema)
    lesson = Lesson(data.samples, data.labels, torch.zeros(600, schema.num_classes), torch.ones(600))
    state, _ = boost("xgboost:80", schema, lesson, FEW.distill, Stream(0, "s"), Recorder())
    _, holdout = lesson.divided(FEW.distill.holdout, Stream(0, "s").torch())
    matrix = xgboost.DMatrix(holdout.samples.inputs().numpy())  # type: ignore[union-attr]
    losses = []
    for trees in range(1, boosters[0].num_boosted_rounds() + 1):
        margins = torch.from_numpy(boosters[0].predict(matrix, output_margin=True, iteration_range=(0, trees)))
        logits = torch.stack([torch.zeros_like(margins), margins], 1) if margins.ndim == 1 else margins
        losses.append(float(torch.nn.functional.cross_entropy(logits, holdout.labels)))
    best = losses.index(min(losses)) + 1
    assert 1 < best < 80
    made = boosted.load("boosted_trees", schema, state, "test")
    assert len(made.roots) == best * (1 if schema.num_classes == 2 else schema.num_classes)


@pytest.fixture(scope="module", params=[TWO, SCHEMA], ids=["two", "three"])
def state(request: pytest.FixtureRequest) -> tuple[Schema, State]:
    schema = request.param
    data = patients(300)
    labels = data.labels.clone()
    labels[:20] = schema.num_classes - 1
    return schema, boost_pooled("xgboost:20", rows(data.samples.only, labels, schema), FEW)


def test_it_says_what_xgboost_says_of_the_same_json(state: tuple[Schema, State]) -> None:
    import xgboost

    schema, trees = state
    data = patients(200, seed=5)
    booster = xgboost.Booster()
    booster.load_model(bytearray(trees["json"].numpy().tobytes()))
    margins = booster.predict(xgboost.DMatrix(data.samples.inputs().numpy()), output_margin=True)
    own = boosted.load("boosted_trees", schema, trees, "test").log_probabilities(data.samples).numpy()
    assert np.abs((own[:, 1] if schema.num_classes == 2 else own) - margins).max() < 1e-5


def test_a_global_model_of_trees_is_a_file_as_any_other(state: tuple[Schema, State], tmp_path: Path) -> None:
    schema, trees = state
    model = GlobalModel("boosted_trees:20", schema, trees)
    model.save(tmp_path / "m")
    again = GlobalModel.load(tmp_path / "m")
    data = patients(50, seed=9)
    assert torch.equal(model.logits(data.samples), again.logits(data.samples))
    assert "bytes)" in repr(again)
    with pytest.raises(UsageError, match="no network"):
        again.module()


def change(path: str, value: Any) -> Callable[[Any], None]:
    """Sets what lies at `path`, of keys and numbers, in the JSON."""

    def apply(model: Any) -> None:
        *way, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
        for part in way:
            model = model[part]
        model[last] = value(model[last]) if callable(value) else value

    return apply


BOOSTER = "learner/gradient_booster"
TREE = f"{BOOSTER}/model/trees/0"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (change(f"{TREE}/left_children/0", 0), "do not fit together"),  # a circle
        (change(f"{TREE}/left_children/0", 10**6), "do not fit together"),
        (change(f"{TREE}/right_children/0", -1), "do not fit together"),
        (change(f"{TREE}/right_children/0", 1), "do not fit together"),  # both children are one
        (change(f"{TREE}/left_children", lambda t: t[:-1]), "do not fit together"),
        (change(f"{TREE}/left_children", []), "do not fit together"),
        (change(f"{TREE}/left_children/0", 1.5), "whole numbers"),
        (change(f"{TREE}/left_children/0", 2**70), "no boosted trees"),
        (change(f"{TREE}/split_indices/0", 10**6), "no feature"),
        (change(f"{TREE}/split_indices/0", -1), "no feature"),
        (change(f"{TREE}/split_conditions/0", float("nan")), "no number"),
        (change(f"{TREE}/split_conditions/0", "x"), "no boosted trees"),
        (change(f"{TREE}/split_conditions", [[1.0]]), "do not fit together"),
        (change(f"{TREE}/split_type/0", 1), "by categories"),
        (change(f"{BOOSTER}/name", "gblinear"), "not a list of trees"),
        (change(f"{BOOSTER}/model/trees", []), "not a list of trees"),
        (change(f"{BOOSTER}/model/tree_info/0", 9), "adds to no class"),
        (change(f"{BOOSTER}/model/tree_info", []), "not a list of trees"),
        (change("learner/learner_model_param/num_feature", "3"), "of 3 features, where rows have 8"),
        (change("learner/learner_model_param/num_class", "7"), "of 7 classes"),
        (change("learner/learner_model_param/base_score", "[2E-1]"), "base score"),
        (change("learner/learner_model_param/base_score", "[" * 200_000), "nested too deeply"),
        (change("learner/learner_model_param/base_score", "[[5E-1]]"), "not one number"),
        (change("learner/learner_model_param/base_score", "[]"), "not one number"),
        (change("learner/learner_model_param/base_score", '{"0": 1}'), "not one number"),
        (change("learner/learner_model_param/base_score", "true"), "not one number"),
        (change("learner/learner_model_param/base_score", 0.5), "no boosted trees"),
        (change("learner", []), "no boosted trees"),
        (lambda model: model.clear(), "no boosted trees"),
    ],
)
def test_hostile_json_is_refused(
    state: tuple[Schema, State], edit: Callable[[Any], None], words: str, tmp_path: Path
) -> None:
    schema, trees = state
    model = json.loads(trees["json"].numpy().tobytes())
    edit(model)
    text = json.dumps(model).encode()
    bad = GlobalModel("boosted_trees", schema, {"json": torch.frombuffer(bytearray(text), dtype=torch.uint8)})
    with pytest.raises(UsageError, match=words):
        GlobalModel.from_bytes(bad.to_bytes())


def test_a_tree_that_is_too_deep_is_refused() -> None:
    depth = 40
    left = [child for level in range(depth) for child in (2 * level + 1, -1)] + [-1]
    left = [2 * (node // 2) + 1 if node % 2 == 0 and node < 2 * depth else -1 for node in range(2 * depth + 1)]
    right = [child + 1 if child > 0 else -1 for child in left]
    numbers = [0] * len(left)
    tree = {"left_children": left, "right_children": right, "split_indices": numbers, "split_conditions": numbers}
    with pytest.raises(ValueError, match="of depth 40"):
        boosted._tree(tree, 1)


@pytest.mark.parametrize(
    "state", [{}, {"json": torch.zeros(3)}, {"json": torch.zeros(0, dtype=torch.uint8)}, {"model": torch.zeros(1)}]
)
def test_what_is_no_state_of_trees_is_refused(state: State) -> None:
    with pytest.raises(UsageError, match="boosted trees"):
        boosted.load("boosted_trees", TWO, state, "test")


@pytest.mark.parametrize(
    ("changes", "schema", "words"),
    [
        ({"models.student": "xgboost:0"}, TWO, "1..2000"),
        ({"distill.jsd": 1.0}, TWO, "learns from distill.kl and distill.label alone"),
        ({"rounds.fine_tune": 2}, TWO, "rounds.fine_tune = 2"),
        ({}, image_schema((1, 8, 8), ("a", "b")), "name a network"),
    ],
)
def test_a_student_that_cannot_learn_is_refused_before_any_work(
    changes: dict[str, Any], schema: Schema, words: str
) -> None:
    config = Config().with_values({"models.student": "xgboost", **changes})
    with pytest.raises(UsageError, match=words):
        check_student(config, schema, config.models.student)


def test_a_method_that_trains_a_network_refuses_it() -> None:
    with pytest.raises(UsageError, match="trains a network"):
        METHODS["fedavg"].check(Config(), TWO, ["mlp:8"], "xgboost")
    METHODS["mean_logits"].check(Config(), TWO, ["mlp:8"], "xgboost")


def test_no_client_trains_the_servers_trees() -> None:
    with pytest.raises(UsageError, match="name xgboost"):
        api.contribute(two(60), model="boosted_trees", client=0)


def test_two_sites_of_one_class_each_distil_into_trees() -> None:
    quick = {"train.max_steps": 40, "train.min_steps": 40, "distill.pool": 800, "meta.steps": 5, "meta.samples": 200}
    # Large enough that trees, which tell of no value that fewer than ten rows have, keep most of what is there.
    sites = [two(600, seed).subset(torch.arange(label, 600, 2)) for seed, label in ((1, 0), (2, 1))]
    parts = [api.contribute(site, model="mlp:8:1", client=k, settings=quick) for k, site in enumerate(sites)]
    model = api.distill(parts, student="xgboost:30", settings={**quick, "distill.teacher": "gate"})
    assert model.architecture == "boosted_trees:30"
    assert model.evaluate(two(200, seed=3)).accuracy > 0.94
