"""How a client's rows become a `Marginals`, and the family."""

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table.kind import MAX_COLUMNS
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.cart import disclosure
from mosaic_fl.generators.cart.trees import LEAST
from mosaic_fl.generators.class_groups import class_groups
from mosaic_fl.generators.family import Family
from mosaic_fl.generators.marginals import bins
from mosaic_fl.generators.marginals.cells import count, pool
from mosaic_fl.generators.marginals.generator import MOST_GROUPS, OWN_ROWS, Marginals
from mosaic_fl.generators.marginals.structure import NONE, learn
from mosaic_fl.generators.rows import table_of
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Monitor

BINS = 37  # of a number, at most: 12 with as many rows as each other, and those that frequent values and gaps cut


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """As many latents as columns, and `BINS` for the width."""
    return GeneratorSpec("marginals", len(table_of("marginals", schema).columns), BINS)


def train(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> Marginals:
    """The tables of `data`, on the CPU in eval mode; nothing is drawn at random."""
    model = Marginals(spec(config, data.schema), data.schema)
    columns = model.table.columns
    values = disclosure.told_rows(data.samples.only, columns)
    labels = data.labels if len(data) >= LEAST else torch.zeros(len(values), dtype=torch.int64)
    counts = torch.bincount(labels, minlength=len(model.group))
    model.group = class_groups(counts, OWN_ROWS, MOST_GROUPS, LEAST)
    group = model.group[labels]
    groups = int(model.group.max()) + 1
    parts = [bins.of_column(own, column, BINS) for own, column in zip(values.T, columns, strict=True)]
    sizes = [part.count for part in parts]
    codes = torch.stack([part.codes for part in parts], 1)
    structure = learn(codes, sizes, group, max(groups, len(values)))
    model.order = structure.order
    model.parents = structure.parents
    model.bins = torch.tensor(sizes)
    tables = list[tuple[Tensor, Tensor]]()
    for place, own in enumerate(structure.parents.tolist()):
        reads = [(codes[:, p], sizes[p], parts[p].natural) if p != NONE else (group * 0, 1, True) for p in own]
        shape = (groups, *(size for _, size, _ in reads), sizes[place])
        counted = count(group, [code for code, _, _ in reads], codes[:, place], shape)
        told = pool(counted, [natural for _, _, natural in reads], LEAST)
        tables.append((told.cell.flatten(), told.share))
        monitor.progress(place + 1, len(columns))
    model.cells = torch.tensor([len(share) for _, share in tables])
    numbers = torch.cat([cell for cell, _ in tables])
    model.cell = torch.stack([numbers & 255, numbers >> 8], 1).to(torch.uint8)
    model.share = torch.cat([share.flatten() for _, share in tables])
    model.values = torch.cat([part.values.flatten() for part in parts])
    return model.eval()


FAMILY = Family(
    conditional=True,
    kinds=frozenset({"table"}),
    build=Marginals,
    train=train,
    max_latent=MAX_COLUMNS,
    spec=spec,
    has_steps=False,
    rival_from=0,
)
