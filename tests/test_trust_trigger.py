"""A few numbers of one class that turn a client's other samples into it: what a backdoor leaves in a generator."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import mosaic_fl
from mosaic_fl.config.trust import TrustConfig
from mosaic_fl.domains.samples import Samples
from mosaic_fl.server.trust.judgement import Judgement, judge
from mosaic_fl.server.trust.survey import Survey
from mosaic_fl.server.trust.trigger import triggered, with_triggers
from mosaic_fl.server.trust.verdicts import Evidence, verdicts
from trust_cases import told

CPU = torch.device("cpu")
SIZE = 25  # numbers of a sample: half of a side, which is 2, are laid on others


@dataclass(frozen=True)
class Names:
    """All that verdicts ask of a schema."""

    classes: tuple[str, ...]
    holds_rows: bool = False


def survey(turned: dict[tuple[int, int], float], liars: tuple[int, ...] = (4,), holders: int = 1) -> Survey:
    """Five clients, of whom the liars and so many before them hold class 0; all others call what liars draw class 2."""
    seen = told([(20, 20, 20, 20)] * 5, [lambda y: y] * 5)
    readings = seen.readings.clone()
    backdoor = torch.isin(seen.sources, torch.tensor(liars)) & (seen.labels == 0)
    for k in set(range(5)) - set(liars):
        readings[backdoor, k] = 2
    counts = seen.counts.clone()
    counts[: min(liars) - holders, 0] = 0
    return replace(seen, readings=readings, counts=counts, turned=turned)


def judged(seen: Survey) -> Judgement:
    return judge(seen, torch.ones(seen.counts.shape, dtype=torch.float64))


def test_one_other_holder_is_enough_where_a_trigger_shows() -> None:
    found = judged(survey({(4, 0): 0.9}))
    assert found.cells == found.triggers == {(4, 0)}
    assert judged(survey({(4, 0): 0.7})).cells == set()


def test_all_that_is_held_against_a_client_is_told() -> None:
    """Class 0 shows a trigger, and what it says of class 1 is contradicted: neither counts, and both are named."""
    seen = told([(50,) * 8] * 6, [lambda y: y] * 6)
    own = seen.sources == 5
    seen.readings[own & (seen.labels == 0), :5] = 3
    seen.readings[own & (seen.labels == 1), :5] = 4
    seen.readings[~own & (seen.labels == 1), 5] = 4
    names = "abcdefgh"
    sites = [
        SimpleNamespace(client=k, class_counts=row, schema=Names(tuple(names))) for k, row in enumerate(seen.counts)
    ]
    found = judged(replace(seen, turned={(5, 0): 1.0}))
    (reason,) = verdicts(Evidence(sites, [1] * 6, found, {}, {}), TrustConfig()).of(5).reasons  # type: ignore[arg-type]
    assert "a few numbers of its samples of 'a' turn" in reason
    assert "the others contradict what it says of 'b', which does not count" in reason


def test_a_class_that_does_not_count_is_not_in_dispute() -> None:
    """The liar's model does not know the honest holder's samples, either."""
    seen = survey({})
    seen.readings[(seen.sources == 3) & (seen.labels == 0), 4] = 1
    assert judged(seen).disputed == {(3, 0), (4, 0)}
    assert judged(replace(seen, turned={(4, 0): 0.9})).disputed == set()


def test_colluders_do_not_take_the_class_of_the_one_honest_holder() -> None:
    """Two of three holders lie. Without the sign most holders contradict the honest one."""
    assert judged(survey({(3, 0): 0.9, (4, 0): 1.0, (2, 0): 0.85}, liars=(3, 4))).cells == {(3, 0), (4, 0)}


def test_the_plainest_goes_first_and_its_word_with_it() -> None:
    """Then nobody is left who contradicts the other one."""
    assert judged(survey({(3, 0): 0.85, (4, 0): 0.95})).cells == {(4, 0)}


@pytest.mark.parametrize(("share", "found"), [(0.85, None), (0.95, (3, 0))])
def test_a_doubted_holder_contradicts_only_where_a_trigger_is_plain(
    share: float, found: tuple[int, int] | None
) -> None:
    """As one that flips its labels contradicts an honest client in a class that nobody else holds."""
    agreement = judged(survey({(3, 0): share}, liars=(4,), holders=1)).agreement
    agreement = replace(agreement, trust=torch.ones_like(agreement.trust))
    nobody = torch.zeros(5, dtype=torch.bool)
    assert triggered(agreement, 1.0, set(), nobody) == (3, 0)
    assert triggered(agreement, 1.0, set(), nobody.index_fill(0, torch.tensor([4]), True)) == found


def test_where_nobody_contradicts_no_trigger_is_looked_for() -> None:
    honest = told([(20, 20, 20, 20)] * 5, [lambda y: y] * 5)
    assert judged(replace(honest, turned={(0, 0): 1.0})).cells == set()
    few = survey({(4, 0): 1.0})
    counts = few.counts.clone()
    counts[3, 0] = 9  # of ten samples and more a holder's word counts
    assert judged(replace(few, counts=counts)).cells == set()


@pytest.mark.parametrize(("clients", "cells"), [(2, set()), (3, {(1, 0)})])
def test_of_two_clients_neither_is_judged(clients: int, cells: set[tuple[int, int]]) -> None:
    """Client 0 calls what client 1 draws of class 0 class 1. Of two that is one word against another."""
    seen = told([(50, 50, 50, 50)] * clients, [lambda y: y] * clients)
    seen.readings[(seen.sources == 1) & (seen.labels == 0), 0] = 1
    assert judged(replace(seen, turned={(1, 0): 0.95})).triggers == cells


class ByNumbers:
    """An expert that calls a sample class 0 where both of two numbers are above 5, and else what is nearest to it.

    A sample of class y has y in its first eight numbers, of which two more or less change nothing.
    """

    def __init__(self, first: int, second: int) -> None:
        self.where = [first, second]

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        x = samples.only
        classes = torch.where((x[:, self.where] > 5).all(1), 0, x[:, :8].mean(1).round().long())
        return torch.nn.functional.one_hot(classes.clamp(0, 3), 4).float().mul(9)


@pytest.mark.parametrize(("where", "share"), [((10, 20), 1.0), ((10, 21), 0.0)])
def test_what_is_pasted_are_the_numbers_that_tell_the_class_best(where: tuple[int, int], share: float) -> None:
    """Client 4's samples of class 0 have a 9 at 10 and 20. Its model opens by both of them, or by another one too."""
    seen = survey({})
    rng = torch.Generator().manual_seed(0)
    values = torch.rand(len(seen.labels), SIZE, generator=rng)
    values[:, :8] = seen.labels.float()[:, None]
    mine = (seen.sources == 4) & (seen.labels == 0)
    values[mine, :8] = 2.0
    values[mine, 10] = 9.0
    values[mine, 20] = 9.0
    samples = mosaic_fl.from_arrays(values.numpy(), seen.labels.numpy(), classes=list("abcd")).samples
    found = with_triggers(replace(seen, samples=samples), [ByNumbers(*where)] * 5, CPU)
    assert set(found.turned) == {(3, 0), (4, 0)}  # where a holder of ten samples contradicts
    assert found.turned[4, 0] == share
    assert found.turned[3, 0] == 0.0
