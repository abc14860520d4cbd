"""Splits over clients: who gets what, by each split's own law."""

import numpy as np
import pytest
import torch

from mosaic_fl.config import PartitionConfig, validate
from mosaic_fl.data.arrays import from_arrays
from mosaic_fl.data.partition import class_table, partition, partition_indices
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError

SPLITS = [
    "niid_bench",
    "dirichlet_per_class",
    "equal_size_prior",
    "iid",
    "pathological",
    "quantity_skew",
    "feature_skew",
]
MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def table(labels: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """(clients, classes) counts."""
    return np.stack([np.bincount(labels[part], minlength=labels.max() + 1) for part in parts])


def settings(split: str, clients: int = 5, **others: float) -> PartitionConfig:
    return PartitionConfig.model_validate({"split": split, "clients": clients, **others})


def grey(labels: list[int]) -> Dataset:
    return from_arrays(np.full((len(labels), 4, 4), 128, np.uint8), labels)


@pytest.mark.parametrize("split", SPLITS)
def test_every_sample_goes_to_exactly_one_client(digits: Dataset, split: str) -> None:
    parts = partition_indices(digits.labels.numpy(), 10, settings(split), seed=3)
    assert len(parts) == 5
    assert all(part.dtype == np.int64 and len(part) for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1797))


@pytest.mark.parametrize("split", SPLITS)
def test_the_seed_decides(digits: Dataset, split: str) -> None:
    first, again, other = (partition(digits, settings(split), seed) for seed in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
    assert any(a.labels.tolist() != b.labels.tolist() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_one_client_has_everything(digits: Dataset, split: str) -> None:
    config = settings(split, clients=1, classes_per_client=10, noise=0)
    assert class_table(partition(digits, config, 0)).tolist() == [digits.class_counts().tolist()]


def test_class_table_counts() -> None:
    data = grey([0, 1, 1, 2])
    assert class_table([data.subset([0, 1]), data.subset([2, 3])]).tolist() == [[1, 1, 0], [0, 1, 1]]


class TestNiidBench:
    @pytest.mark.parametrize("seed", range(20))
    def test_a_full_client_gets_none_of_the_later_classes(self, digits: Dataset, seed: int) -> None:
        labels = digits.labels.numpy()
        counts = table(labels, partition_indices(labels, 10, settings("niid_bench", alpha=0.02), seed))
        before = np.cumsum(counts, axis=1) - counts  # what a client held when a class was shared out
        assert not counts[before >= 1797 / 5].any()
        assert counts.sum(axis=1).min() >= 10

    @pytest.mark.parametrize("alpha", [0.01, 0.05])
    def test_mnist_at_small_alpha_succeeds(self, alpha: float) -> None:
        labels = np.repeat(np.arange(10), MNIST_COUNTS)
        config = settings("niid_bench", clients=10, alpha=alpha)
        for seed in range(5):
            counts = table(labels, partition_indices(labels, 10, config, seed))
            assert counts.sum(axis=0).tolist() == MNIST_COUNTS
            assert counts.sum(axis=1).min() >= 10

    def test_no_stray_samples(self) -> None:
        # At α = 1e-9 a class goes to one client whole; cutting at truncated shares would leave strays.
        labels = np.repeat(np.arange(10), 30)
        config = settings("dirichlet_per_class", clients=2, alpha=1e-9)
        for seed in range(10):
            assert set(table(labels, partition_indices(labels, 10, config, seed)).flatten().tolist()) == {
                0,
                30,
            }

    def test_a_large_alpha_is_even(self) -> None:
        labels = np.repeat(np.arange(4), 100)
        counts = table(labels, partition_indices(labels, 4, settings("niid_bench", clients=4, alpha=1e9), 0))
        assert (counts == 25).all()

    @pytest.mark.parametrize("split", ["niid_bench", "dirichlet_per_class", "quantity_skew"])
    def test_it_gives_up_and_says_what_to_change(self, split: str) -> None:
        labels = np.repeat(np.arange(2), 100)  # two classes, at α → 0, cannot serve nine clients
        with pytest.raises(UsageError, match=rf"{split} at alpha 1e-06 .* 9 clients .* in 7 draws: raise") as caught:
            partition_indices(labels, 2, settings(split, clients=9, alpha=1e-6, retries=7), 0)
        assert ("min_samples" in str(caught.value)) == (split != "dirichlet_per_class")


class TestEqualSizePrior:
    @pytest.mark.parametrize("alpha", [1e-9, 0.01, 1.0])
    def test_sizes_differ_by_one_at_most(self, digits: Dataset, alpha: float) -> None:
        config = settings("equal_size_prior", alpha=alpha)
        sizes = [len(part) for part in partition_indices(digits.labels.numpy(), 10, config, 0)]
        assert sizes == [360, 360, 359, 359, 359]  # 1797 = 5 · 359 + 2

    def test_a_sure_prior_fills_a_client_with_its_class(self) -> None:
        # Two clients of 50 samples, two classes of 500: at α → 0 each wants one class, and gets no other.
        labels = np.repeat(np.arange(2), 500)
        config = settings("equal_size_prior", clients=20, alpha=1e-9)
        counts = table(labels, partition_indices(labels, 2, config, 0))
        assert np.count_nonzero(counts.all(axis=1)) <= 10  # only clients of the class that ran out mix
        assert (counts.sum(axis=1) == 50).all()


class TestPathological:
    @pytest.mark.parametrize("seed", range(5))
    def test_each_client_has_its_number_of_classes_and_none_is_left_out(self, seed: int) -> None:
        labels = np.repeat(np.arange(10), 12)
        counts = table(labels, partition_indices(labels, 10, settings("pathological", clients=6), seed))
        assert (np.count_nonzero(counts, axis=1) == 2).all()
        # 12 places for 10 classes: two classes have two holders with half each.
        assert sorted(counts[counts > 0].tolist()) == [6] * 4 + [12] * 8

    def test_too_few_places_leave_classes_out(self) -> None:
        labels = np.repeat(np.arange(10), 12)
        counts = table(labels, partition_indices(labels, 10, settings("pathological", clients=3), 0))
        assert counts.sum() == 3 * 2 * 12

    def test_errors(self) -> None:
        labels = np.array([0, 0, 0, 1, 1, 1])
        with pytest.raises(UsageError, match="classes_per_client is 3, but there are 2 classes"):
            partition_indices(labels, 2, settings("pathological", clients=2, classes_per_client=3), 0)
        with pytest.raises(UsageError, match="class 0 has 3 samples for the 4 clients that should hold it"):
            partition_indices(labels, 2, settings("pathological", clients=4), 0)


class TestOthers:
    def test_iid_sizes_differ_by_one_at_most(self, digits: Dataset) -> None:
        parts = partition_indices(digits.labels.numpy(), 10, settings("iid"), 0)
        assert [len(part) for part in parts] == [360, 360, 359, 359, 359]

    def test_quantity_skew_keeps_the_floor_and_the_class_mix(self) -> None:
        labels = np.tile(np.arange(2), 5000)
        parts = partition_indices(labels, 2, settings("quantity_skew", alpha=0.5, min_samples=20), 0)
        sizes = [len(part) for part in parts]
        assert min(sizes) >= 20
        assert max(sizes) > 2 * min(sizes)
        largest = parts[int(np.argmax(sizes))]
        # A fair coin thrown 2,000 times or more: 0.45 is more than four standard deviations away.
        assert abs(labels[largest].mean() - 0.5) < 0.05

    def test_feature_skew_noise_grows_with_the_client(self) -> None:
        shards = partition(grey([0, 1] * 2000), settings("feature_skew", clients=4, noise=0.2), 0)
        # 0.2 · (k + 1) / 4; grey 128 is far enough from black and white that next to nothing is clipped.
        deviations = [shard.samples.inputs().std().item() for shard in shards]
        assert deviations == pytest.approx([0.05, 0.10, 0.15, 0.20], rel=0.03)
        assert all(shard.images.dtype == torch.uint8 for shard in shards)

    def test_feature_skew_noise_is_each_clients_own(self) -> None:
        first, second = partition(grey([0, 1] * 8), settings("feature_skew", clients=2, noise=0.4), 0)
        # The second client's noise is twice as strong: were it the same, it would be twice the first's.
        strength = [shard.samples.inputs().flatten() for shard in (first, second)]
        assert abs(torch.corrcoef(torch.stack(strength))[0, 1]) < 0.5

    def test_no_noise_leaves_the_pixels(self, digits: Dataset) -> None:
        skewed, plain = (partition(digits, settings(split, noise=0), 0) for split in ("feature_skew", "iid"))
        assert all(torch.equal(a.images, b.images) for a, b in zip(skewed, plain, strict=True))


class TestErrors:
    @pytest.mark.parametrize("split", SPLITS)
    def test_more_clients_than_samples(self, split: str) -> None:
        with pytest.raises(UsageError, match=r"5 clients cannot share 4 samples: partition\.clients must be at most 4"):
            partition(grey([0, 1, 0, 1]), settings(split), 0)

    @pytest.mark.parametrize("split", ["niid_bench", "quantity_skew"])
    def test_more_samples_asked_than_there_are(self, split: str) -> None:
        with pytest.raises(UsageError, match="5 clients with at least 10 samples each need 50, there are 49"):
            partition(grey([0] + [1] * 48), settings(split), 0)

    @pytest.mark.parametrize("alpha", [0, -1, float("nan")])
    def test_alpha_must_be_positive(self, alpha: float) -> None:
        with pytest.raises(UsageError, match=r"partition\.alpha is"):
            validate({"partition": {"alpha": alpha}})
