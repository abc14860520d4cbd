"""A class whose samples only its own client's model knows: surveys made by hand."""

from dataclasses import replace

import torch

from mosaic_fl.server.trust.judgement import judge
from mosaic_fl.server.trust.survey import Survey
from mosaic_fl.server.trust.vouching import unsupported
from trust_cases import told


def survey(liars: tuple[int, ...], counts: tuple[int, int, int, int] = (20, 20, 20, 20), own: bool = True) -> Survey:
    """Five clients; what the liars draw as class 0 all but liars call class 2, and with `own` liars call it 0."""
    honest = told([counts] * 5, [lambda y: y] * 5)
    readings = honest.readings.clone()
    backdoor = torch.isin(honest.sources, torch.tensor(liars)) & (honest.labels == 0)
    for k in range(5):
        if not (k in liars and own):
            readings[backdoor, k] = 2
    return replace(honest, readings=readings)


def cells(seen: Survey) -> set[tuple[int, int]]:
    return judge(seen, torch.ones(seen.counts.shape, dtype=torch.float64)).cells


def test_a_backdoor_is_seen_in_the_samples_of_its_class() -> None:
    """Its model agrees with all clean samples, three of its classes are as good as anybody's."""
    found = judge(survey((4,)), torch.ones(5, 4, dtype=torch.float64))
    assert found.cells == found.unvouched == {(4, 0)}
    assert not found.expelled
    assert bool((found.factors == 1).all())


def test_two_who_vouch_for_each_other() -> None:
    """Of four others three contradict each of them."""
    assert cells(survey((3, 4))) == {(3, 0), (4, 0)}


def test_honest_clients_have_no_such_class() -> None:
    assert cells(survey(())) == set()


def test_a_weak_generator_is_no_backdoor() -> None:
    """Its own model does not know its samples, either."""
    assert judge(survey((4,), own=False), torch.ones(5, 4, dtype=torch.float64)).unvouched == set()


def test_few_samples_and_few_holders_prove_nothing() -> None:
    assert cells(survey((4,), counts=(9, 20, 20, 20))) == set()
    seen = survey((4,))
    counts = seen.counts.clone()
    counts[:3, 0] = 0  # one other holder is left
    agreement = judge(replace(seen, counts=counts), torch.ones(5, 4, dtype=torch.float64)).agreement
    assert unsupported(agreement, 1.0, set()) is None
