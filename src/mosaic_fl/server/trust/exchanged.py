"""Classes that changed places: what follows for a client's other classes from one in which several contradict it.

Who gives the samples of one class the name of another draws, under some label, samples that the other's holders know as
theirs. They tell the two apart: what the client draws as that other class they call otherwise.
"""

from mosaic_fl.server.trust.agreement import VOICE, Agreement

LIKE = 0.6  # of the samples of a class that the median holder of another one calls that other class
HOLDERS = 2  # of the other class, who must tell


def exchanged(agreement: Agreement, k: int, label: int) -> set[int]:
    """The classes of the client at place k whose samples show `label`, in which several others contradict it.

    A class is one of them even if nobody else claims it: the word is that of the holders of `label`.
    """
    survey = agreement.survey
    voices = (agreement.trust * agreement.say)[:, label] >= VOICE
    voices &= agreement.has_expert[:, label]
    voices[k] = False
    if int(voices.sum()) < HOLDERS:
        return set()
    own = survey.sources == k
    shown = (survey.readings[own][:, voices] == label).all(2).double()  # by no reading does a holder say otherwise
    classes = [int(c) for c in survey.labels[own].unique() if int(c) != label]
    return {c for c in classes if float(shown[survey.labels[own] == c].mean(0).quantile(0.5)) >= LIKE}
