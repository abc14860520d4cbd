"""How rows are taught: drawn as the data lie, judged by log-loss, with recipes of their own."""

import math
from typing import Any

import pytest
import torch

from mosaic_fl import api
from mosaic_fl.client.contribute import Site, split
from mosaic_fl.config import Config, DistillConfig
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.flower import answer_codec
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import TEMPERATURES
from mosaic_fl.methods.averaging import probability_of_truth
from mosaic_fl.models import build
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.choices import Choices
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.recipes import Recipe
from mosaic_fl.server.row_recipes import row_candidates, row_recipe, row_teacher
from mosaic_fl.server.transfer import drawing
from mosaic_fl.storage.journal import Journal
from table_cases import SCHEMA, patients

CPU = torch.device("cpu")
APART = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
ALIKE = torch.tensor([[0.5, 0.5], [0.5, 0.5]])


def test_the_gate_teaches_where_classes_lie_apart() -> None:
    assert row_teacher(APART, gate=True) == "gate"
    assert row_teacher(ALIKE, gate=True) == "mean_probabilities"
    assert row_teacher(APART, gate=False) == "mean_probabilities"


def test_labels_count_beside_the_gate_alone_unless_a_teacher_is_named() -> None:
    assert row_recipe(DistillConfig(), "gate") == Recipe("gate", 0.5)
    assert row_recipe(DistillConfig(), "mean_probabilities") == Recipe("mean_probabilities", 0.0)
    assert row_recipe(DistillConfig(teacher="meta", kl=0.9, label=0.1), "gate") == Recipe("meta", 0.1)


def test_recipes_of_rows() -> None:
    names = [r.name for r in row_candidates(Recipe("gate", 0.5), ["gate", "meta"])]
    assert names == ["gate-50", "gate-0", "meta-0", "gate-100"]
    named = [r.name for r in row_candidates(Recipe("meta", 0.5), ["meta"])]
    assert named == ["meta-50", "meta-0", "meta-100"]


def choices(judged: bool = True, **settings: Any) -> Choices:
    return Choices(DistillConfig(**settings), SCHEMA, None, APART, gate=True, judged=judged)


def test_clients_are_asked_about_rows_wherever_they_can_be() -> None:
    assert choices().asked
    assert not choices(judged=False).asked
    assert not choices(choose=False).asked
    assert choices().needs_meta
    assert not choices(judged=False).needs_meta  # nobody could prefer it
    assert not choices(candidates=("gate",)).needs_meta
    assert choices(judged=False, teacher="meta").needs_meta
    everyone = {"gate", "mean_probabilities", "class_balanced", "class_weighted", "meta"}
    assert set(choices().tried("gate", meta=True)) == everyone
    assert set(choices().tried("gate", meta=False)) == everyone - {"meta"}
    assert choices(teacher="meta").tried("gate", meta=True) == ["meta"]


def test_rows_are_drawn_as_the_data_lie_and_images_evenly() -> None:
    quick = {"train.max_steps": 5, "train.min_steps": 5}
    sampler = Sampler([api.contribute(patients(60), model="mlp:4:1", client=0, settings=quick)], CPU)
    images = image_schema((1, 8, 8), ("a", "b"))
    assert drawing(sampler, DistillConfig(), SCHEMA) == sampler.draw_by_counts
    assert drawing(sampler, DistillConfig(), images) == sampler.draw
    assert drawing(sampler, DistillConfig(balanced=True), SCHEMA) == sampler.draw
    assert drawing(sampler, DistillConfig(balanced="counts"), images) == sampler.draw_by_counts
    assert drawing(sampler, DistillConfig(balanced=False), SCHEMA) == sampler.draw_as_they_come


def test_the_probability_of_the_truth_by_hand() -> None:
    # Two samples of log-loss ln 2 and ln 8: the geometric mean of ½ and ⅛ is ¼.
    tables = [torch.tensor([[1, round(1000 * math.log(2))], [0, 0]]), torch.tensor([[0, 0], [1, 2079]])]
    assert probability_of_truth(tables) == pytest.approx(0.25, abs=1e-3)
    assert probability_of_truth([]) is None
    assert probability_of_truth([torch.zeros(2, 2, dtype=torch.int64)]) is None


def test_only_sums_of_losses_leave_a_client() -> None:
    config = Config().with_values({"run.workers": 1})
    sites = (Site(0, patients(100), "mlp:8"), Site(1, patients(60, seed=1), "mlp:8"))
    model = build("mlp:8", SCHEMA).eval()
    with LocalFederation(sites, config, CPU, Journal()) as clients:
        tables = clients.evaluate("mlp:8", copy_state(model), losses=True)
    assert [tuple(table.shape) for table in tables] == [(1, 1 + len(TEMPERATURES))] * 2
    held = [split(site, config)[1] for site in sites]
    assert [int(table[0, 0]) for table in tables] == [len(part) for part in held]
    expected = [
        float(torch.nn.functional.cross_entropy(model.log_probabilities(part.samples), part.labels, reduction="sum"))
        for part in held
    ]
    assert [int(table[:, 1].sum()) / 1000 for table in tables] == pytest.approx(expected, abs=0.01)
    body = answer_codec.encode_result(tables[0])
    assert torch.equal(answer_codec.decode_counts(body, 1, 1 + len(TEMPERATURES)), tables[0])
    with pytest.raises(UsageError, match="3 by 3"):
        answer_codec.decode_counts(body, 3, 3)


def test_a_run_on_rows_chooses_among_its_recipes() -> None:
    settings = {
        "partition.clients": 3, "partition.alpha": 0.3, "run.workers": 1, "distill.pool": 300, "distill.steps": 60,
        "models.clients": ["mlp:8:1"], "models.student": "mlp:8:1", "meta.steps": 5, "meta.samples": 100,
        "train.max_steps": 40, "train.min_steps": 40, "distill.gate_samples": 300, "distill.terms": 1,
    }  # fmt: skip
    result = api.run("mosaic", patients(400), patients(100, seed=4), settings=settings).result
    scores = result["choice"]["validation"]
    assert {"mean_probabilities-0", "gate-0", "gate-50", "meta-0"} <= set(scores)
    assert all(0 < score < 1 for score in scores.values())
    assert result["generators"][0].startswith("cart")
    assert result["transfer_samples"] == {"generators": 300, "prior": 0}  # photographs are no rows
