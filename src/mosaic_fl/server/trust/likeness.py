"""What a client's classes look like to the others: a site that numbers its classes otherwise is told which is which."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mosaic_fl.server.trust.agreement import Agreement

LIKE = 0.6  # share of a class's samples that show another one, from which on it is said
MOST = 4  # pairs that are written out
MANY = 64  # classes beyond which nothing is looked for


def lookalikes(agreement: Agreement, k: int) -> dict[int, int]:
    """The classes of the client at place k that look like another one, and which, by what experts and samples say.

    A class y gets the word of its holders: the mean over them of the share of the client's samples of class c that they
    call y; or of the share of their samples of y that the client's expert calls c, where it has no generator.
    """
    survey = agreement.survey
    classes = survey.counts.shape[1]
    if classes > MANY:
        return {}
    looks = _samples(agreement, k) if bool(agreement.has_generator[k].any()) else _answers(agreement, k)
    held = (survey.counts[k] > 0).nonzero().flatten().tolist()
    return {c: int(looks[c].argmax()) for c in held if float(looks[c].max()) >= LIKE and int(looks[c].argmax()) != c}


def words(likeness: dict[int, int], names: Sequence[str]) -> str:
    """As "its class 'a' looks like the others' 'j', 'b' like 'i'"; empty where nothing looks like another class."""
    pairs = list(likeness.items())
    if not pairs:
        return ""
    (own, theirs), *others = pairs
    more = "".join(f", {names[c]!r} like {names[y]!r}" for c, y in others[: MOST - 1])
    rest = f" and {len(pairs) - MOST} more" if len(pairs) > MOST else ""
    return f"its class {names[own]!r} looks like the others' {names[theirs]!r}{more}{rest}"


def _samples(agreement: Agreement, k: int) -> Tensor:
    """Shares (C, C) of the client's samples of class c that the holders of y call y."""
    survey = agreement.survey
    classes = survey.counts.shape[1]
    own = survey.sources == k
    votes = torch.zeros(classes, classes, dtype=torch.float64)
    voices = agreement.trust * agreement.say * agreement.has_expert
    told = survey.readings[own, :, 0].T  # by expert and sample
    read = told >= 0
    read[k] = False
    witness, sample = read.nonzero(as_tuple=True)
    called = told[witness, sample]
    votes.index_put_((survey.labels[own][sample], called), voices[witness, called], accumulate=True)
    others = voices.sum(0) - voices[k]
    return votes / survey.drawn[k].double().clamp(min=1)[:, None] / others.clamp(min=1e-9)


def _answers(agreement: Agreement, k: int) -> Tensor:
    """Shares (C, C) of the others' samples of class y that the client's expert calls c, by c and y."""
    survey = agreement.survey
    classes = survey.counts.shape[1]
    told = survey.readings[:, k, 0]
    voices = agreement.trust * agreement.say
    rows = (told >= 0) & (survey.sources != k)
    weight = voices[survey.sources[rows], survey.labels[rows]]
    votes = torch.zeros(classes, classes, dtype=torch.float64)
    votes.index_put_((told[rows], survey.labels[rows]), weight, accumulate=True)
    total = torch.zeros(classes, dtype=torch.float64).index_add(0, survey.labels[rows], weight)
    return votes / total.clamp(min=1e-9)
