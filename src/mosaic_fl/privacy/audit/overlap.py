"""Strangers that are members: the same row on both sides would hide what an audit looks for."""

import hashlib
from collections import Counter

import torch

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import to_tensors
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

SLACK = 2.0  # times as many twins as members have among each other are chance


def digests(data: Dataset) -> list[bytes]:
    """The SHA-256 of each sample's values, without its label: two samples that are alike have the same."""
    tensors = [tensor.contiguous().flatten(1) if tensor.ndim > 1 else tensor[:, None] for tensor in
               to_tensors(data.samples, "").values()]  # fmt: skip
    rows = [tensor.view(torch.uint8).numpy() for tensor in tensors]
    return [hashlib.sha256(b"".join(part[i].tobytes() for part in rows)).digest() for i in range(len(data))]


def without_twins(members: Dataset, strangers: Dataset) -> Dataset:
    """The strangers that are not alike with a member, with a note where some are."""
    own = set(digests(members))
    apart = torch.tensor([digest not in own for digest in digests(strangers)], dtype=torch.bool)
    if count := int((~apart).sum()):
        note(f"{count} of {len(strangers)} strangers are alike with a member, and are left out of the audit")
    return strangers.subset(apart) if count else strangers


def require_apart(members: Dataset, strangers: Dataset) -> None:
    """Raise UsageError where strangers are members.

    Rows of few values are alike by chance. So strangers may have at most twice the share of twins among the members
    that members have among each other.
    """
    counts = Counter(digests(members))
    twins = sum(count for count in counts.values() if count > 1) / len(members)
    both = sum(digest in counts for digest in digests(strangers))
    if both > SLACK * twins * len(strangers):
        raise UsageError(
            f"{both} of {len(strangers)} strangers are in the training data: a hold-out has samples of its own"
        )
