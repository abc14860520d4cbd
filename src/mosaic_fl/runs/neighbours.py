"""What a contribution's generator draws, beside the nearest real pictures of its site: for the site alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.case import flat
from mosaic_fl.privacy.audit.drawing import plan

MOST_DRAWN = 2000
SECONDS = 10.0
EACH = 9  # pairs of a class, of either kind
AT_ONCE = 2**24  # distances that exist at once


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Pairs of a picture that was drawn and the nearest real one, uint8 (classes, EACH, channels, height, width) each.

    Of the `closest` pairs of a class the nearest comes first; the others are `usual`, the first that were drawn. Where
    a class has fewer, the last is repeated. `present` is bool (classes,); `drawn` is how many there were.
    """

    closest: tuple[Tensor, Tensor]
    usual: tuple[Tensor, Tensor]
    present: Tensor
    drawn: int


def neighbours(contribution: Contribution, data: Dataset) -> Neighbours:
    """Of the real `data` of its site; raises UsageError where there is no generator, or no pictures to show."""
    schema = contribution.schema
    if [kind.name for kind in schema.fields.values()] != ["image"]:
        raise UsageError(f"the contribution is of {schema.summary}, and pictures can be shown of images alone")
    generator = contribution.build_generator()
    if generator is None:
        raise UsageError("the contribution has no generator, so there is nothing that it draws")
    draws = plan(contribution, SECONDS, MOST_DRAWN, Stream(0, "inspect", contribution.client))
    samples = list(draws.parts(generator, schema))
    fields = contribution.fields
    rows = torch.cat([flat(part, fields) for part in samples])
    pictures = torch.cat([part.only for part in samples])
    real = flat(data.samples, fields)
    places, distances = _nearest(rows, draws.labels if generator.conditional else None, real, data.labels)
    shown = data.labels[places]  # of a generator without classes: that of the real one
    blocks = {"closest": (list[Tensor](), list[Tensor]()), "usual": (list[Tensor](), list[Tensor]())}
    present = list[bool]()
    for label in range(schema.num_classes):
        own = shown.eq(label).nonzero()[:, 0]
        present.append(len(own) > 0)
        orders = {"closest": own[distances[own].argsort(stable=True)], "usual": own}
        for name, order in orders.items():
            few = order[:EACH] if len(own) else torch.zeros(1, dtype=torch.int64)
            few = torch.cat([few, few[-1:].expand(EACH - len(few))])
            blocks[name][0].append(pictures[few])
            blocks[name][1].append(data.images[places[few]])
    pairs = {name: (torch.stack(left), torch.stack(right)) for name, (left, right) in blocks.items()}
    return Neighbours(pairs["closest"], pairs["usual"], torch.tensor(present), len(rows))


def _nearest(rows: Tensor, labels: Tensor | None, real: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """(places, distances) of the nearest `real` samples to `rows`, of the same class where that is known and there."""
    places = torch.zeros(len(rows), dtype=torch.int64)
    distances = torch.zeros(len(rows))
    for label in [0] if labels is None else labels.unique().tolist():
        mine = torch.arange(len(rows)) if labels is None else labels.eq(label).nonzero()[:, 0]
        theirs = torch.arange(len(real)) if labels is None else classes.eq(label).nonzero()[:, 0]
        if not len(theirs):
            theirs = torch.arange(len(real))
        for few in mine.split(max(1, AT_ONCE // len(theirs))):
            distances[few], near = torch.cdist(rows[few], real[theirs]).min(1)
            places[few] = theirs[near]
    return places, distances
