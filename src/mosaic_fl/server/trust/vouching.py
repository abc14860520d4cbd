"""Classes whose samples only their own client's model vouches for: what a backdoor looks like from outside.

A poisoned generator draws, under the label of the backdoor's class, what its own model says is that class, and what the
models of all other holders call something else. Its model is right on everybody's clean samples, so it agrees as honest
ones do. Without those samples a student does not learn the backdoor, whoever else teaches it (docs/notes/hostile.md).
"""

from collections.abc import Set

import torch

from mosaic_fl.server.trust.agreement import Agreement

BELOW = 0.3  # under the usual agreement: honest clients' classes lie within 0.15 of it
SURE = 0.8  # of its own samples a model must call as they were drawn
CLAIMED = 10  # samples of a class from which this is looked for
HOLDERS = 2  # others who must hold the class, so that its loss costs little


def unsupported(agreement: Agreement, usual: float, spared: Set[tuple[int, int]]) -> tuple[int, int] | None:
    """The (place of a client, class) whose samples its own expert alone calls so, the least supported; None: none is.

    `usual` is the median agreement beyond chance; pairs in `spared` are left out.
    """
    survey = agreement.survey
    clients = torch.arange(len(survey.counts))
    own = survey.hits[clients, clients].nan_to_num()
    support = agreement.samples_by_class.nan_to_num(nan=torch.inf)
    able = (own >= SURE) & (survey.counts >= CLAIMED) & (agreement.witnesses >= HOLDERS)
    support = torch.where(able & (support < usual - BELOW), support, torch.inf)
    for k, label in spared:
        support[k, label] = torch.inf
    if not bool(support.isfinite().any()):
        return None
    k, label = divmod(int(support.argmin()), support.shape[1])
    return k, label
