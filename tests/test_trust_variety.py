"""A generator that draws the same sample again and again is left out; one of a class that never varies is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import mosaic_fl
from mosaic_fl.domains.samples import Samples
from mosaic_fl.server.trust.survey import Survey
from mosaic_fl.server.trust.variety import collapsed
from trust_cases import told


def survey(deviations: list[float], count: int = 20) -> Survey:
    """Clients with `count` samples of each of two classes; of class 1 each one's numbers vary by its deviation."""
    seen = told([(count, count)] * len(deviations), [lambda y: y] * len(deviations))
    values = torch.randn(len(seen.labels), 4, generator=torch.Generator().manual_seed(0))
    varying = torch.where(seen.labels == 1, torch.tensor(deviations)[seen.sources], 1.0)
    return replace(seen, samples=samples_of(values * varying[:, None]))


def samples_of(values: Tensor) -> Samples:
    data = mosaic_fl.from_arrays(values.numpy(), np.zeros(len(values), dtype=int), classes=["a", "b"])
    (name,) = data.samples.kinds
    return replace(data.samples, values={name: values})


@pytest.mark.parametrize(
    ("deviations", "places"),
    [
        ([1.0, 1.0, 1.0, 0.0], {3}),
        ([1.0, 1.0, 1.0, 0.15], {3}),  # a variance of 0.0225 is below a twentieth
        ([1.0, 1.0, 1.0, 0.35], set()),  # one of 0.1225 is above
        ([1.0, 1.0, 0.0, 0.0], {2, 3}),  # colluders are no measure for each other where as many others hold the class
        ([0.0, 0.0, 0.0, 0.0], set()),  # the class itself never varies
        ([1.0, 1.0, 10.0], set()),  # a liar that draws noise takes nobody's generator,
        ([1.0, 1.0, 1.0, 10.0, 10.0], set()),  # nor do two of five
        ([1.0, 0.0, 0.0], set()),  # one of three against two: nobody knows who is right
        ([1.0, 0.0], set()),  # one against one: nobody knows who is right
    ],
)
def test_who_draws_the_same_again_and_again(deviations: list[float], places: set[int]) -> None:
    assert collapsed(survey(deviations)) == places


def test_who_is_doubted_in_a_class_is_no_measure_of_it() -> None:
    seen = survey([1.0, 1.0, 0.0, 0.0, 0.0])
    assert collapsed(seen) == set()
    assert collapsed(seen, {(3, 1), (4, 1)}) == {2, 3, 4}
    assert collapsed(seen, {(3, 0), (4, 0)}) == set()


def test_few_samples_prove_nothing() -> None:
    """A generator may draw the one sample that it has."""
    assert collapsed(survey([1.0, 1.0, 1.0, 0.0], count=9)) == set()
    assert collapsed(replace(survey([1.0, 1.0, 1.0, 0.0]), samples=None)) == set()
