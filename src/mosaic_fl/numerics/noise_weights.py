"""How much noisy sums count beside others: as their noise deserves, so that nobody gains by claiming more of it."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median, median_low

from mosaic_fl.numerics.noisy_sums import NoisySums


def weighted(parts: Sequence[NoisySums]) -> list[NoisySums]:
    """The `parts`, each with what its noise leaves it of all its numbers; without a change where all are as noisy."""
    return [part if share == 1 else _scaled(part, share) for part, share in zip(parts, shares(parts), strict=True)]


def shares(parts: Sequence[NoisySums]) -> list[float]:
    """Of each of the `parts` the weight of its sums, 0..1; below 1 where it is noisier than the median part.

    Weights are inverse variances, as those of a mean of least variance. A sum varies by its N vectors of mean squared
    length t and by its noise: of all classes together by N·t + Σ_c (v_sum·d + v_count·t), where noise on the count
    moves a mean, too; squares, as a matrix, by N·t² + v_square·d·(d + 1)/2. The worse of the two decides. N and t are
    medians, so no claim of many vectors buys a weight; nor does one of less noise than the median's.
    """
    if len(parts) < 2:
        return [1.0] * len(parts)
    totals = [max(float(part.counts.clamp(min=0).sum()), 1.0) for part in parts]
    traces = [float(part.squares.diagonal(dim1=-2, dim2=-1).sum()) for part in parts]
    length = max(median(trace / total for trace, total in zip(traces, totals, strict=True)), 1e-12)
    usual = median(totals)
    on_sums = [usual * length + _of_sums(part, length) for part in parts]
    on_squares = [usual * length**2 + _of_squares(part) for part in parts]
    return [min(*pair) for pair in zip(_inverse(on_sums), _inverse(on_squares), strict=True)]


def _inverse(variances: Sequence[float]) -> list[float]:
    """Inverse variances in units of the median's, of two in the middle of the larger; 1 at most."""
    usual = median_low(variances)
    return [min(1.0, usual / variance) for variance in variances]


def _of_sums(part: NoisySums, length: float) -> float:
    """The variance by noise of the sums of all classes."""
    on_count, on_sum, _ = part.class_variances
    return float((on_sum * part.sums.shape[1] + on_count * length).sum())


def _of_squares(part: NoisySums) -> float:
    """The variance by noise of the squares; a number off the diagonal stands for two, of half the variance each."""
    size = part.sums.shape[1]
    on_square = part.class_variances[2]
    return float(on_square.sum() if part.is_by_class else on_square[0]) * size * (size + 1) / 2


def _scaled(part: NoisySums, share: float) -> NoisySums:
    return replace(
        part,
        counts=part.counts * share,
        sums=part.sums * share,
        squares=part.squares * share,
        variances=part.variances * share**2,
    )
