"""The loss threshold (Yeom, Giacomelli, Fredrikson & Jha 2018): a model fits what it has learnt from."""

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.reading import answers_of
from mosaic_fl.privacy.audit.case import Case, Pair


def loss(case: Case) -> Pair | str:
    """Minus the expert's cross-entropy with the label; samples that it cannot read are left out."""
    if case.contribution.is_black_box:
        return "the model stays at its site"
    return readable(case, margins(case.expert, case.everyone))


def margins(expert: Expert, data: Dataset) -> Tensor:
    """log p_y/(1 − p_y) of the labels y, float64 (n,): a loss on the whole line. NaN for a sample that is not read."""
    answers = answers_of(expert, data.samples).double()
    answers = answers.log_softmax(1)
    own = torch.nn.functional.one_hot(data.labels, answers.shape[1]).bool()
    return answers[own] - answers.masked_fill(own, -torch.inf).logsumexp(1)


def readable(case: Case, scores: Tensor) -> Pair:
    """Everyone's scores as a pair, without those that are NaN."""
    members, strangers = case.parted(scores)
    return members[~members.isnan()], strangers[~strangers.isnan()]
