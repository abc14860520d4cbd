"""The front door of the library: the same checks as the command's, before any work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution

FEW = {
    "train.max_steps": 10, "train.min_steps": 5, "generator.steps": 5, "generator.latent": 4, "generator.width": 4,
    "meta.steps": 5, "meta.samples": 40, "distill.steps": 5, "distill.pool": 60,
}  # fmt: skip


@pytest.fixture(scope="module")
def pair(digits: Dataset) -> list[Contribution]:
    halves = [digits.subset(range(100)), digits.subset(range(100, 200))]
    settings = {**FEW, "prototypes.per_class": 3, "meta.source": "prototypes"}
    return [mosaic_fl.contribute(half, model="mlp:8", client=k, settings=settings) for k, half in enumerate(halves)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distill.choose": True}, "distill.choose = true: that asks clients again"),
        ({"rounds.warm_up": 300, "rounds.fine_tune": 10}, "warm_up = 300, rounds.fine_tune = 10: that asks clients"),
        ({"distill.fresh": True, "distill.prior": "photos"}, "distill.fresh draws from generators alone"),
    ],
)
def test_settings_that_contributions_alone_cannot_serve(
    pair: list[Contribution], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        mosaic_fl.distill(pair, settings={**FEW, **settings})


def test_what_clients_did_is_theirs_to_say(pair: list[Contribution]) -> None:
    """They have sent prototypes, whatever the server's settings would have them do."""
    mosaic_fl.distill(pair, settings={**FEW, "meta.source": "prototypes", "prototypes.per_class": 0})


@pytest.mark.parametrize("client", [-1, 2**31 + 1, 1.0, "x", True, None])
def test_a_client_without_a_number(digits: Dataset, client: Any) -> None:
    with pytest.raises(UsageError, match="give each site another whole number"):
        mosaic_fl.contribute(digits.subset(range(20)), model="mlp:4", client=client, settings=FEW)


def test_numpy_s_numbers_and_names_are_as_good(digits: Dataset) -> None:
    few = digits.subset(range(20))
    names = np.array([f"digit {k}" for k in range(10)])
    made = mosaic_fl.contribute(few.images, few.labels, model="mlp:4", client=np.int64(3), classes=names, settings=FEW)  # type: ignore[arg-type]
    again = Contribution.from_bytes(made.to_bytes())
    assert (again.client, again.schema.classes[9]) == (3, "digit 9")


def test_labelled_images_bring_their_own_classes(digits: Dataset) -> None:
    for more in ({"classes": 12}, {"labels": digits.labels}, {"value_range": (0, 1)}):
        with pytest.raises(UsageError, match="a Dataset has labels, classes and values of its own"):
            mosaic_fl.contribute(digits, model="mlp:4", client=0, settings=FEW, **more)  # type: ignore[arg-type]


def test_a_model_takes_numpy_s_images_as_well(pair: list[Contribution], digits: Dataset) -> None:
    model = mosaic_fl.distill(pair, settings=FEW)
    images = digits.images[:9]
    assert torch.equal(model.predict(images.numpy()), model.predict(images))  # type: ignore[arg-type]


def test_without_a_contribution() -> None:
    with pytest.raises(UsageError, match="there is no contribution to distil"):
        mosaic_fl.distill([])


def test_seed_and_device_are_settings_as_others(pair: list[Contribution]) -> None:
    seeded, said, other = (
        mosaic_fl.distill(pair, settings={**FEW, **more}, seed=seed)
        for more, seed in (({"run.seed": 7}, None), ({"run.seed": 3}, 7), ({}, None))
    )
    assert seeded.to_bytes() == said.to_bytes() != other.to_bytes()
    with pytest.raises(UsageError, match="device 'tpu'"):
        mosaic_fl.distill(pair, settings={**FEW, "run.device": "tpu"})


def test_a_file_by_its_name(pair: list[Contribution], tmp_path: Path) -> None:
    (tmp_path / "a.contribution").write_bytes(pair[0].to_bytes())
    loaded = mosaic_fl.Contribution.load(str(tmp_path / "a.contribution"))
    assert torch.equal(loaded.class_counts, pair[0].class_counts)
