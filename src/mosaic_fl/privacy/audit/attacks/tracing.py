"""Tracing by means (Homer et al. 2008; Dwork, Smith, Steinke, Ullman & Vadhan 2015): which way a mean leans."""

import torch
from torch import Tensor

from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.privacy.audit.attacks.density import NO_MOMENTS, gaussians, whitened
from mosaic_fl.privacy.audit.case import Case, Pair

LEAST = 2  # strangers of a class: one is left out


def tracing(case: Case) -> Pair | str:
    """(x − r)ᵀ Σ⁻¹ (m_y − r), with the told mean m_y and the mean r of strangers of the class.

    A stranger is left out of its own r, and for each member one stranger is left out, so that both are treated alike.
    Classes with fewer than two strangers, or without moments, are left out. Where a class is told as several
    Gaussians, each is as a class: of the vectors that are nearest to it.
    """
    told = case.told
    if told is None or not isinstance(told.moments, ClassMoments):
        return NO_MOMENTS if told is None else "it tells mixtures, which have no one mean of a class"
    moments, of_members = gaussians(told.members, told.moments)
    _, of_strangers = gaussians(told.strangers, told.moments)
    members = list[Tensor]()
    strangers = list[Tensor]()
    for label in range(len(moments.counts)):
        ours = told.members.samples.only[of_members == label].double()
        others = told.strangers.samples.only[of_strangers == label].double()
        if len(others) < LEAST or not int(moments.counts[label]):
            continue
        left_out = (others.sum(0) - others) / (len(others) - 1)  # row i: the mean without stranger i
        for_members = left_out[torch.arange(len(ours)) % len(others)]
        for vectors, reference, scores in ((ours, for_members, members), (others, left_out, strangers)):
            lean = whitened(moments.means[label] - reference, moments)
            scores.append(((vectors - reference) * lean).sum(1))
    if not strangers:
        return "no class that it tells has two strangers"
    return torch.cat(members), torch.cat(strangers)
