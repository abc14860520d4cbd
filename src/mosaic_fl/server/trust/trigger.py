"""A trigger that a client's own samples show: few numbers of one class turn its other classes' samples into it.

A poisoned generator draws the patch of a backdoor with the samples of its class. Those numbers tell the class from the
client's other classes best; laid on its other samples they turn what its own model says. With an honest client so few
numbers do not. Nobody else has a say in that, so no liar can bring it about for another client. What others say decides
only where it is asked: in classes in which a client and another holder contradict each other.
"""

import math
from collections.abc import Sequence, Set
from dataclasses import replace

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.experts.kind import Expert
from mosaic_fl.server.trust.agreement import Agreement
from mosaic_fl.server.trust.survey import Survey, outputs_or_fault

SIDES = 0.5  # of the side of a square of all numbers: so many are laid on others, 4 of 64 and 14 of 784
TURNS = 0.8  # of the other samples that must turn
PLAIN = 0.9  # of them: no honest client's class of 191 is as plain, so a doubted holder's word is enough, too
BELOW = 0.3  # under the usual agreement: two holders contradict each other in a class
CLAIMED = 10  # samples of a class that both must claim
FEWEST = 3  # clients: of two that contradict each other nobody can tell who is right
SURE = 0.8  # of its own samples of the class a model must call as they were drawn
FLOOR = 0.1  # of the deviation of all numbers, added to each one's: numbers that never vary are not infinitely telling


def with_triggers(survey: Survey, experts: Sequence[Expert], device: torch.device) -> Survey:
    """The survey with `turned` of all classes in which holders contradict each other; of samples of one field alone.

    A model that fails at such samples is a fault, as it is at others.
    """
    samples = survey.samples
    if samples is None or len(samples.kinds) > 1:
        return survey
    turned = dict[tuple[int, int], float]()
    faults = dict(survey.faults)
    for k, label in _contested(survey, 1 - BELOW).nonzero().tolist():
        share = _turned(survey, samples, experts[k], k, label, device)
        if isinstance(share, str):
            faults[k] = share
        else:
            turned[k, label] = share
    return replace(survey, turned=turned, faults=faults)


def triggered(
    agreement: Agreement, usual: float, spared: Set[tuple[int, int]], doubted: Tensor
) -> tuple[int, int] | None:
    """The (place of a client, class) whose samples show a trigger, the plainest one; None: none does.

    Only a holder can contradict that still counts in the class. One that is `doubted` (K,) itself, as liars are and who
    is alone against several, can where a trigger is plain. Pairs in `spared` are left out.
    """
    survey = agreement.survey
    shares = {cell: share for cell, share in survey.turned.items() if share >= TURNS and cell not in spared}
    if not shares:
        return None
    chance = 1 / survey.counts.shape[1]
    limit = (usual - BELOW) * (1 - chance) + chance
    counting = agreement.trust > 0
    plain = _contested(survey, limit, counting)
    usually = _contested(survey, limit, counting & ~doubted[:, None])
    open_to = [cell for cell, share in shares.items() if bool((plain if share >= PLAIN else usually)[cell])]
    return max(open_to, key=lambda cell: (shares[cell], cell)) if open_to else None


def _contested(survey: Survey, limit: float, trusted: Tensor | None = None) -> Tensor:
    """Whether a client and another holder contradict each other in a class that both claim, bool (K, C).

    The model of one of them calls less than `limit` of the other's samples of it so. The client's own knows its own.
    Of fewer than `FEWEST` clients nobody is judged, so nothing is contested.
    """
    if len(survey.counts) < FEWEST:
        return torch.zeros_like(survey.counts, dtype=torch.bool)
    clients = torch.arange(len(survey.counts))
    claimed = survey.counts >= CLAIMED
    able = claimed if trusted is None else claimed & trusted
    agree = torch.fmin(survey.hits, survey.hits.transpose(0, 1)).nan_to_num(nan=1.0)  # (K, J, C)
    contradicts = (agree < limit) & able[None]
    contradicts[clients, clients] = False
    own = survey.hits[clients, clients].nan_to_num()
    return contradicts.any(1) & claimed & (own >= SURE)


def _turned(survey: Survey, samples: Samples, expert: Expert, k: int, label: int, device: torch.device) -> float | str:
    """The share of a client's samples of other classes that its model calls `label` with the numbers of that class.

    Or what is wrong with its outputs.
    """
    own = survey.sources == k
    of_class = samples[own & (survey.labels == label)]
    others = samples[own & (survey.labels != label)]
    if not len(others):
        return 0.0
    (name,) = samples.kinds
    shown = of_class.values[name].flatten(1)
    painted = others.values[name].flatten(1).clone()
    telling = _telling(shown.float(), painted.float()).argsort(descending=True)[: _few(shown.shape[1])]
    painted[:, telling] = shown[torch.arange(len(painted)) % len(shown)][:, telling]
    turned = replace(others, values={name: painted.view_as(others.values[name])})
    outputs = outputs_or_fault(expert, turned, device)
    return outputs if isinstance(outputs, str) else float((outputs.argmax(1) == label).double().mean())


def _few(numbers: int) -> int:
    """How many of a sample's numbers are few: a patch grows with a picture's side."""
    return max(1, round(SIDES * math.sqrt(numbers)))


def _telling(shown: Tensor, others: Tensor) -> Tensor:
    """How well each number (d,) tells samples (n, d) from others (m, d): the gap of means by both deviations."""
    floor = FLOOR * float(torch.cat([shown, others]).std())
    return (shown.mean(0) - others.mean(0)).abs() / (shown.std(0, False) + others.std(0, False) + floor + 1e-12)
