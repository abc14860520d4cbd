"""How often networks are built: a server builds each expert and each generator once."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
import torch

import mosaic_fl
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators import base
from mosaic_fl.models import registry
from mosaic_fl.server.distill import distill
from mosaic_fl.storage.journal import Journal

BUILDERS = {registry.build.__code__: "model", base.build.__code__: "generator"}
QUICK = {
    "train.max_steps": 5, "train.min_steps": 5, "generator.steps": 3, "generator.latent": 4, "generator.width": 4,
}  # fmt: skip
FEW = {
    "models.student": "mlp:8", "distill.steps": 5, "distill.pool": 60, "distill.batch_size": 16,
    "distill.prior": "none", "meta.steps": 5, "meta.samples": 60,
}  # fmt: skip


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each builder is called within the block, whoever calls it."""
    calls = Counter[str]()

    def see(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in BUILDERS:
            calls[BUILDERS[frame.f_code]] += 1

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        yield calls
    finally:
        sys.setprofile(before)


@pytest.fixture(scope="module", params=["cvae", "dcgan"])
def three(request: pytest.FixtureRequest, digits: Dataset) -> list[Contribution]:
    """Contributions with generators that can be asked for a class, or cannot: then their experts say what they show."""
    settings = {**QUICK, "generator.family": request.param}
    shares = [digits.subset(range(200 * k, 200 * k + 150)) for k in range(3)]
    return [mosaic_fl.contribute(share, model="cnn:4", client=k, settings=settings) for k, share in enumerate(shares)]


@pytest.mark.parametrize(
    "more", [{}, {"distill.fresh": True}, {"meta.kind": "none", "distill.teacher": "class_evened"}]
)
def test_a_distillation_builds_each_network_once(three: list[Contribution], more: dict[str, object]) -> None:
    config = Config().with_values({**FEW, "distill.terms": 1, **more})
    with counted() as calls:
        distill(three, config, torch.device("cpu"), Journal())
    spec = three[0].generator_spec
    stands = spec is not None and spec.conditional and not more.get("distill.fresh")
    students = 2 + stands  # as it learns, as it is asked how sure it is, and as it is held against its teachers
    assert calls == {"model": 3 + students, "generator": 3}


def test_who_reads_a_contribution_builds_its_networks_once_to_try_them(three: list[Contribution]) -> None:
    files = [made.to_bytes() for made in three]
    Contribution.from_bytes(files[0])  # what networks of this form cost is counted once a process
    with counted() as calls:
        for content in files:
            Contribution.from_bytes(content)
    assert calls == {"model": 3, "generator": 3}
