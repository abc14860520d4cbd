"""Samples of a class that its other holders do not know as such, beside ones that they do: what a faint backdoor draws.

Where they are a part of what a client draws of a class, the class counts, and each sample of it only if most of the
other holders call it so (`server/sieve`). An honest client loses few samples by that (docs/notes/hostile.md).
"""

from mosaic_fl.server.trust.agreement import VOICE, Agreement

CONTRADICTED = 0.1  # of the samples of a class, from which on each of them is looked at
HOLDERS = 2  # others with a voice in the class
CLAIMED = 5  # samples of a class: fewer bring little into a pool


def mixed(agreement: Agreement) -> set[tuple[int, int]]:
    """The pairs (place of a client, class) of whose samples most of the class's holders contradict a part.

    The client's own model must be sure of these: so are models with a backdoor, and not those of weak generators. Of
    samples of several fields there are none: in a pool each field comes from another client, so none is sifted.
    """
    survey = agreement.survey
    if survey.samples is not None and len(survey.samples.kinds) > 1:
        return set()
    voices = (agreement.trust * agreement.say >= VOICE) & agreement.has_expert
    right = (survey.readings == survey.labels[:, None, None]).any(2)
    cells = set[tuple[int, int]]()
    for k, label in ((survey.counts >= CLAIMED) & (survey.drawn > 0)).nonzero().tolist():
        holders = voices[:, label].clone()
        holders[k] = False
        if int(holders.sum()) < HOLDERS:
            continue
        drawn = (survey.sources == k) & (survey.labels == label)
        agree = right[drawn][:, holders].double().mean(1)
        sure = (survey.readings[drawn, k] == label).all(1)  # one that is blurred is hardly so by each reading
        if float(((agree < 0.5) & sure).double().mean()) >= CONTRADICTED:
            cells.add((k, label))
    return cells
