"""Forecasts know no family of generators by name, and fail in one line."""

from dataclasses import replace

import pytest
import torch

from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import MosaicError
from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.measure import Request, measure
from mosaic_fl.forecast.plans import plan_contribution
from mosaic_fl.forecast.probes import PROBES
from mosaic_fl.forecast.server import Contributor, transfer
from mosaic_fl.forecast.work import Unit
from mosaic_fl.registries import GENERATORS
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
FEW = {"train.max_steps": 1, "generator.steps": 1, "generator.width": 4, "generator.latent": 7}


@pytest.mark.parametrize("family", ["cvae", "dcgan", "cdcgan", "flow"])
def test_a_family_says_what_would_be_trained(digits: Dataset, family: str) -> None:
    config, site = Config().with_values({**FEW, "generator.family": family}), Site(0, digits, "mlp:8")
    made = contribute(site, config, CPU, lambda stage: Recorder())
    assert GENERATORS[family].spec(config.generator, digits.schema) == made.generator_spec
    units = {unit for unit in plan_contribution(site, config, CPU).units if unit.kind == "density"}
    assert units == ({Unit("density", "cvae")} if family == "cvae" else set())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_measurement_that_fails_in_whatever_way_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """In a process of its own (one thread) and in this one; the thread count here stays."""

    def fail(*_: object) -> float:
        raise RuntimeError("shapes\n  do not fit")

    monkeypatch.setitem(PROBES, "forward", fail)
    config = Config().with_values({"run.threads": threads})
    bench = Bench(config, image_schema((1, 8, 8), ("a", "b")), CPU, ["mlp:8"])
    with pytest.raises(MosaicError, match="^RuntimeError: shapes do not fit$"):
        measure({Unit("forward", "mlp:8"): Request("server", 0.1, 8)}, 1, bench)
    assert torch.get_num_threads() == 1


def test_what_cannot_be_asked_for_a_class_is_drawn_more_often(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its client's expert says what it shows, whatever the family is called."""
    monkeypatch.setitem(GENERATORS._entries, "blind", replace(GENERATORS["dcgan"]))
    config, schema = Config().with_values({"distill.pool": 60}), digits.schema
    counts = dict[str, dict[Unit, float]]()
    for family in ("cvae", "dcgan", "blind"):
        images = transfer(config, schema, [Contributor("mlp:8", family, 10)])
        counts[family] = {replace(job.unit, name=job.unit.name.replace(family, "")): job.count for job in images.jobs}
    assert counts["cvae"] == {Unit("sample"): 60}
    assert counts["dcgan"] == counts["blind"] == {Unit("forward", "mlp:8"): 180, Unit("sample"): 180}
    weak = config.with_values({"distill.pool": 0})
    assert transfer(weak, schema, [Contributor("mlp:8", "blind", 10)]).generated == 16_000
    assert transfer(weak, schema, [Contributor("mlp:8", "cvae", 10)]).generated == 40_000
