"""Strangers whose classes are as frequent as the members': else a label alone would tell who is a member.

How often a site has each class is in its class counts, which an audit of samples is not about.
"""

import torch

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.figures import LEAST


def matched(members: Dataset, strangers: Dataset, stream: Stream) -> Dataset:
    """As many of the `strangers` as have the members' shares of classes, drawn by `stream`; all, with a note, if few.

    Of a class with n_c members floor(t·n_c) strangers stay, at the largest t for which each class that has strangers
    has enough. Classes without members lose all.
    """
    ours = members.class_counts().double()
    theirs = strangers.class_counts().double()
    both = (ours > 0) & (theirs > 0)
    if not bool(both.any()):
        return strangers
    times = float((theirs[both] / ours[both]).min())
    quota = torch.where(both, (times * ours + 1e-9).floor(), 0.0).long()
    if int(quota.sum()) < LEAST:
        note(
            f"the {len(strangers)} strangers have other shares of classes than the members, and are too few to match "
            "them: what labels alone tell is in the figures, too"
        )
        return strangers
    order = torch.randperm(len(strangers), generator=stream.torch())
    labels = strangers.labels[order]
    kept = [order[labels == label][: int(quota[label])] for label in range(len(quota))]
    return strangers.subset(torch.cat(kept).sort().values)
