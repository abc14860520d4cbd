"""The validation split: the same share of every class, never a class's last training sample."""

import pytest
import torch

from mosaic_fl.data.arrays import from_arrays
from mosaic_fl.data.validation import hold_out
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.numerics.randomness import Stream


def numbered(counts: list[int]) -> Dataset:
    """So many samples of each class; sample i is an image of brightness i."""
    labels = [c for c, count in enumerate(counts) for _ in range(count)]
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None].expand(-1, 2, 2)
    return from_arrays(images, labels, classes=max(2, len(counts)))


def test_each_class_gives_the_floor_of_its_share() -> None:
    train, validation = hold_out(numbered([30, 19, 9]), 0.1, Stream(0, "validation"))
    assert validation.class_counts().tolist() == [3, 1, 0]
    assert train.class_counts().tolist() == [27, 18, 9]


def test_every_sample_is_on_one_side_in_its_order() -> None:
    train, validation = hold_out(numbered([30, 19, 9]), 0.3, Stream(0, "validation"))
    rows, held = (part.images[:, 0, 0, 0].tolist() for part in (train, validation))
    assert sorted(rows + held) == list(range(58))
    assert rows == sorted(rows)
    assert held == sorted(held)


def test_binary_fractions_do_not_lose_a_sample() -> None:
    # 0.29 · 100 = 28.999999999999996
    assert len(hold_out(numbered([100, 1]), 0.29, Stream(0, "validation"))[1]) == 29


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_class_keeps_one_sample_for_training(share: float) -> None:
    train, _ = hold_out(numbered([1, 2, 3]), share, Stream(0, "validation"))
    assert (train.class_counts() >= 1).all()


@pytest.mark.parametrize("counts", [[1], [0, 1], [4, 5]])
def test_a_small_client_has_an_empty_validation_split(counts: list[int]) -> None:
    train, validation = hold_out(numbered(counts), 0.1, Stream(0, "validation"))
    assert (len(train), len(validation)) == (sum(counts), 0)
    assert validation.schema == train.schema


def test_an_empty_client_and_an_empty_share() -> None:
    nothing = numbered([3]).subset([])
    assert [len(part) for part in hold_out(nothing, 0.5, Stream(0, "validation"))] == [0, 0]
    assert [len(part) for part in hold_out(numbered([3]), 0.0, Stream(0, "validation"))] == [3, 0]


def test_the_stream_decides(digits: Dataset) -> None:
    first, again, other = (hold_out(digits, 0.1, Stream(seed, "validation"))[1] for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
