from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic_fl.config import Config, DistillConfig
from mosaic_fl.config.toml import from_toml
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, Prototypes
from mosaic_fl.generators import GeneratorSpec
from mosaic_fl.generators import build as build_generator
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server import transfer
from mosaic_fl.server.distill import distill
from mosaic_fl.server.recognition import Recognition
from mosaic_fl.server.transfer import pool_size, strong_generators, transfer_set
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
GREY, COLOUR = image_schema((1, 8, 8), ("a", "b")), image_schema((3, 8, 8), ("a", "b"))
SPEC = GeneratorSpec("cvae", 2, 2)


def untrained(client: int, *, generator: bool = True) -> Contribution:
    """A contribution whose networks have learnt nothing."""
    with Stream(client, "init").ambient():
        expert, drawn = copy_state(build("mlp:4:1", GREY)), copy_state(build_generator(SPEC, GREY))
    none = Prototypes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    made = Contribution(client, GREY, "mlp:4:1", expert, torch.tensor([5, 5]), none, {"samples": 0}, SPEC, drawn)
    return made if generator else replace(made, generator=None, generator_spec=None, generator_note="too few samples")


def test_prior_images_are_for_natural_images_unless_said() -> None:
    assert GREY.kind.prior_source("auto") == "none"
    assert COLOUR.kind.prior_source("auto") == "photos"
    assert GREY.kind.prior_source("procedural") == "procedural"


def test_the_union_says_what_came_from_where() -> None:
    config = DistillConfig(pool=30, prior="procedural", prior_pool=10)
    made = transfer_set([untrained(0), untrained(3)], config, 0, CPU)
    assert made.counts() == {"generators": 30, "prior": 10}
    assert bool((made.labels[:30] >= 0).all())
    assert set(made.sources[:30].tolist()) == {0, 3}
    assert set(made.labels[30:].tolist()) == set(made.sources[30:].tolist()) == {-1}


def test_hybrids_come_first_among_the_prior_images() -> None:
    """Half of the prior images take a sample's layout: their blur is that of one; the others stay as they are."""
    config = DistillConfig(pool=30, prior="procedural", prior_pool=10, cutmix=0.0, hybrid=0.5)
    made = transfer_set([untrained(0)], config, 0, CPU)
    plain = transfer_set([untrained(0)], config.model_copy(update={"hybrid": 0.0}), 0, CPU)
    assert torch.equal(made.samples.only[35:], plain.samples.only[35:])
    assert not torch.equal(made.samples.only[30:35], plain.samples.only[30:35])
    assert made.counts() == plain.counts() == {"generators": 30, "prior": 10}


def test_samples_may_serve_for_mixing_alone() -> None:
    config = DistillConfig(pool=30, prior="procedural", prior_pool=10, plain=False, hybrid=0.5)
    made = transfer_set([untrained(0)], config, 0, CPU)
    assert made.counts() == {"generators": 0, "prior": 10}
    assert len(made.samples.only) == len(made.labels) == 10
    without_prior = transfer_set([untrained(0)], config.model_copy(update={"prior": "none"}), 0, CPU)
    assert len(without_prior.samples) == 30


@pytest.mark.parametrize(("older", "plain"), [(1.0, True), (0.0, False)])
def test_a_whole_share_of_plain_samples_in_an_older_file_is_read(older: float, plain: bool, tmp_path: Path) -> None:
    (tmp_path / "older.toml").write_text(f"[distill]\nplain = {older}\n")
    assert from_toml(tmp_path / "older.toml").distill.plain is plain
    with pytest.raises(UsageError, match=r"distill.plain is 0.5, but it should be true or false"):
        Config().with_values({"distill.plain": 0.5})


def test_prior_images_alone_where_no_client_has_a_generator() -> None:
    silent = [untrained(0, generator=False)]
    made = transfer_set(silent, DistillConfig(prior="photos", prior_pool=12), 0, CPU)
    assert made.counts() == {"generators": 0, "prior": 12}
    assert made.samples.only.shape == (12, 1, 8, 8)
    with pytest.raises(UsageError, match="client 0: too few samples"):
        transfer_set(silent, DistillConfig(prior="none"), 0, CPU)


def test_a_student_without_any_generator_learns_from_the_class_balanced_ensemble() -> None:
    quick = {"distill.prior": "procedural", "distill.prior_pool": 40, "distill.steps": 5, "models.student": "mlp:4"}
    silent = [untrained(k, generator=False) for k in (0, 1)]
    distilled = distill(silent, Config().with_values(quick), CPU, Journal())
    assert distilled.choice["teacher"] == "class_balanced"
    assert distilled.choice["label"] == 0.5
    assert distilled.model.predict(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape == (2,)


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"distill.prior": "none"}, 1.0),  # nobody holds two classes
        ({"distill.prior": "none", "distill.overlap": False}, 0.5),
        ({"distill.kl": 1.0, "distill.label": 0.0}, 0.0),
    ],
)
def test_certain_labels_take_over_where_no_client_holds_two_classes(
    settings: dict[str, Any], label: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    certain = Recognition(torch.ones(2, 2), 1.0)
    monkeypatch.setattr("mosaic_fl.server.distill.recognition", lambda *_: certain)
    quick = {"meta.kind": "none", "distill.pool": 40, "distill.steps": 2, "models.student": "mlp:4"}
    apart = [replace(untrained(k), class_counts=torch.tensor(counts)) for k, counts in enumerate(([5, 0], [0, 5]))]
    distilled = distill(apart, Config().with_values({**quick, **settings}), CPU, Journal())
    assert distilled.choice["label"] == label


def test_generators_serve_alone_without_prior_images_and_where_they_take_a_label() -> None:
    assert strong_generators([untrained(0)], DistillConfig())
    assert strong_generators([untrained(0), untrained(1, generator=False)], DistillConfig())
    deaf = GeneratorSpec("dcgan", 2, 2)
    shown = replace(untrained(0), generator_spec=deaf, generator=copy_state(build_generator(deaf, GREY)))
    assert not strong_generators([untrained(1), shown], DistillConfig())
    assert not strong_generators([untrained(0)], DistillConfig(prior="procedural"))
    assert strong_generators([replace(untrained(0), schema=COLOUR)], DistillConfig(prior="none"))


def test_strong_generators_are_asked_for_more_samples_unless_a_number_is_said() -> None:
    grey, colour = [untrained(0)], [replace(untrained(0), schema=COLOUR)]
    assert pool_size(grey, DistillConfig()) == 40_000
    assert pool_size(grey, DistillConfig(fresh=True)) == 16_000
    assert pool_size(grey, DistillConfig(prior="procedural")) == 16_000
    assert pool_size(colour, DistillConfig()) == 16_000  # colour images have photographs beside them, unless measured
    assert pool_size(colour, DistillConfig(prior="none")) == 40_000
    schemas = [image_schema((1, side, side), ("a", "b")) for side in (224, 1000)]
    x_rays = [replace(grey[0], schema=schema, generator=None) for schema in schemas]
    sizes = [pool_size([x], DistillConfig()) for x in x_rays]
    assert sizes == [21_396, 16_000]  # 2³⁰ / (224² + 4·2), or the least
    many = [replace(grey[0], schema=image_schema((1, 8, 8), tuple(map(str, range(100)))), generator=None)] * 100
    assert pool_size(many, DistillConfig()) == 26_800  # 2³⁰ / (64 + 4·100·100)
    assert [pool_size(some, DistillConfig(pool=7)) for some in (grey, colour)] == [7, 7]


def test_that_many_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "STRONG_POOL", 50)
    monkeypatch.setattr(transfer, "WEAK_POOL", 20)
    drawn = transfer_set([untrained(0), untrained(1)], DistillConfig(), 0, CPU)
    assert drawn.counts() == {"generators": 50, "prior": 0}
    beside = transfer_set([untrained(0)], DistillConfig(prior="procedural", prior_pool=5), 0, CPU)
    assert beside.counts() == {"generators": 20, "prior": 5}


@pytest.mark.parametrize("settings", [{}, {"distill.balanced": False}])
def test_fresh_noise_in_every_step(settings: dict[str, bool]) -> None:
    quick = {"meta.kind": "none", "distill.pool": 40, "distill.steps": 5, "models.student": "mlp:4"}
    pair = [untrained(0), untrained(1)]
    models = [
        distill(pair, Config().with_values({**quick, **settings, "distill.fresh": fresh}), CPU, Journal()).model
        for fresh in (False, True, True)
    ]
    heads = [model.state["head.weight"] for model in models]
    assert torch.equal(heads[1], heads[2])
    assert not torch.equal(heads[0], heads[1])


def test_the_student_begins_where_the_rounds_before_left_it() -> None:
    quick = {"meta.kind": "none", "distill.pool": 40, "distill.steps": 1, "distill.lr": 1e-12, "distill.ema": 0.0}
    config = Config().with_values({**quick, "models.student": "mlp:4:1"})
    start = {"mlp:4:1": untrained(7).expert}
    model = distill([untrained(0)], config, CPU, Journal(), start).model
    assert torch.allclose(model.state["head.weight"], start["mlp:4:1"]["head.weight"], atol=1e-6)
