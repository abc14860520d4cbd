"""What a contribution holds, who reads it, and that what nobody reads stays at the site."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

import mosaic_fl
from mosaic_fl.client.contribute import Site
from mosaic_fl.client.prototypes import prototypes
from mosaic_fl.config import Config, PrototypesConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.tasks import ContributeTask, FitTask, Workplace
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contents import CONTENTS, Purpose, present
from mosaic_fl.exchange.contents import GENERATORS as GENERATOR_WORDS
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob
from mosaic_fl.methods.settings import check_mosaic
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.registries import GENERATORS
from mosaic_fl.training.monitor import deaf

CPU = torch.device("cpu")
FEW = {
    "train.max_steps": 10, "train.min_steps": 5, "generator.steps": 5, "generator.latent": 4, "generator.width": 4,
    "meta.steps": 5, "meta.samples": 40, "distill.steps": 5, "distill.pool": 60, "distill.prior_pool": 40,
}  # fmt: skip


@pytest.fixture(scope="module")
def pair(digits: Dataset) -> list[Contribution]:
    halves = [digits.subset(range(100)), digits.subset(range(100, 200))]
    return [mosaic_fl.contribute(half, model="mlp:8", client=k, settings=FEW) for k, half in enumerate(halves)]


def test_every_field_says_who_reads_it_and_what_it_tells() -> None:
    assert [content.name for content in CONTENTS] == [field.name for field in fields(Contribution)]
    assert all(content.what and content.reads and content.tells for content in CONTENTS)
    assert set(GENERATOR_WORDS) == set(GENERATORS)


def test_a_contribution_of_the_default_has_no_prototypes(pair: list[Contribution]) -> None:
    names = {content.name for content in present(pair[0])}
    assert "prototypes" not in names
    assert {"expert", "class_counts", "generator", "validation"} <= names
    received = Contribution.from_bytes(pair[0].to_bytes())
    assert "validation" not in {content.name for content in present(received)}


def test_the_default_s_global_model_is_the_same_without_what_serves_no_model(
    pair: list[Contribution], digits: Dataset
) -> None:
    """Byte for byte: with prototypes, figures and notes, and without all three."""
    config = PrototypesConfig(per_class=3)
    full = [
        replace(one, prototypes=prototypes(one.build_network(), digits.subset(range(100)), config, Stream(0, "p")))
        for one in pair
    ]
    bare = [Contribution.from_bytes(replace(one, generator_note="").to_bytes()) for one in pair]
    assert all(len(one.prototypes.labels) for one in full)
    optional = {content.name for content in CONTENTS if content.purpose is not Purpose.MODEL}
    assert optional == {"prototypes", "validation", "generator_note", "privacy", "moments", "audit"}
    assert mosaic_fl.distill(full, settings=FEW).to_bytes() == mosaic_fl.distill(bare, settings=FEW).to_bytes()


def test_a_file_has_no_validation_figures_and_a_run_s_answer_has_them(pair: list[Contribution]) -> None:
    one = pair[0]
    assert one.validation["samples"] > 0
    assert Contribution.from_bytes(one.to_bytes()).validation == {}
    assert Contribution.from_bytes(one.to_bytes(figures=True)).validation == one.validation


def test_a_round_sends_no_validation_figures(digits: Dataset) -> None:
    """No method reads them; FedAvg weighs by `samples`."""
    site = Site(0, digits.subset(range(200)), "mlp:8")
    place = Workplace({0: site}, Config().with_values(FEW), CPU, deaf)
    state = copy_state(build("mlp:8", digits.schema))
    assert FitTask(FitJob(0, "mlp:8", state), 0)(place).value.validation == {}
    answer = Contribution.from_bytes(ContributeTask(0)(place).value)
    assert answer.validation["samples"] > 0


@pytest.mark.parametrize("more", [{}, {"meta.source": "prototypes", "meta.kind": "none"}])
def test_prototypes_that_nothing_reads_are_refused_at_the_site_and_at_the_server(
    digits: Dataset, more: dict[str, Any]
) -> None:
    settings = FEW | {"prototypes.per_class": 5} | more
    with pytest.raises(UsageError, match=r"per_class is 5, and with meta\.kind = .* nothing reads prototypes"):
        mosaic_fl.contribute(digits.subset(range(60)), model="mlp:8", client=0, settings=settings)
    with pytest.raises(UsageError, match="nothing reads prototypes"):
        check_mosaic(Config().with_values(settings))
