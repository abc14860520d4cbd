"""What noisy sums count beside others: their inverse variance, in units of the median's."""

import pytest
import torch

from mosaic_fl.numerics.noise_weights import shares, weighted
from mosaic_fl.numerics.noisy_sums import NoisySums


def part(
    count: float = 4, square: float = 16, noise: tuple[float, float, float] = (0, 0, 0), classes: int = 1
) -> NoisySums:
    """`count` vectors of one number in class 0, whose squares add up to `square`; `noise` are variances."""
    counts = torch.zeros(classes, dtype=torch.float64)
    counts[0] = count
    sums = torch.ones(classes, 1, dtype=torch.float64)
    squares = torch.tensor([[square]], dtype=torch.float64)
    return NoisySums(counts, sums, squares, torch.tensor(noise, dtype=torch.float64))


@pytest.mark.parametrize(
    ("noise", "share"),
    [
        ((0, 16, 0), 1 / 2),  # N·t = 4·4 = 16, beside 16 + 16
        ((4, 0, 0), 1 / 2),  # 4·t = 16 on the sum
        ((3, 36, 0), 1 / 4),  # 16 + 36 + 3·4 = 64
        ((0, 0, 192), 1 / 4),  # N·t² = 64, beside 64 + 192
        ((0, 16, 192), 1 / 4),  # the worse of the two
    ],
)
def test_a_weight_is_the_inverse_variance_by_hand(noise: tuple[float, float, float], share: float) -> None:
    assert shares([part(), part(), part(noise=noise)]) == pytest.approx([1, 1, share])


def test_noise_on_each_of_two_classes_adds_up() -> None:
    """16 of vectors, and 2·(16 + 4·4) by noise: 80."""
    noisy = part(noise=(4, 16, 0), classes=2)
    assert shares([part(classes=2), part(classes=2), noisy])[2] == pytest.approx(16 / 80)


def test_all_numbers_of_a_part_have_its_weight_and_their_noise_shrinks_with_them() -> None:
    noisy = weighted([part(), part(), part(noise=(0, 16, 0))])[2]
    assert float(noisy.counts[0]) == pytest.approx(2)
    assert float(noisy.sums[0, 0]) == pytest.approx(0.5)
    assert float(noisy.squares[0, 0]) == pytest.approx(8)
    assert noisy.variances.tolist() == pytest.approx([0, 4, 0])


def test_where_all_are_as_noisy_nothing_changes() -> None:
    parts = [part(count, square, (4, 16, 192)) for count, square in ((4, 16), (900, 7), (-3, -16), (0, 0))]
    assert all(one is other for one, other in zip(weighted(parts), parts, strict=True))
    assert shares([part(noise=(4, 16, 192))]) == [1]


def test_neither_less_noise_than_usual_nor_a_claim_of_many_vectors_buys_a_weight() -> None:
    noisy = [part(noise=(4, 16, 192)) for _ in range(3)]
    assert shares([part(), *noisy]) == [1, 1, 1, 1]
    plain = [part(), part(), part()]
    few = shares([*plain, part(noise=(4, 16, 192))])
    assert shares([*plain, part(count=1e9, square=4e9, noise=(4, 16, 192))]) == few


def test_sums_whose_noise_leaves_no_square_above_0_have_a_weight_still() -> None:
    parts = [part(square=-5), part(square=-5), part(square=-5, noise=(1, 1, 1))]
    assert shares(parts)[:2] == [1, 1]
    assert 0 <= shares(parts)[2] < 1e-6
