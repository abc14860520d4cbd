"""The base of generators that draw rows of a table at rest: what is theirs whatever they know of the columns."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator, GeneratorSpec

AT_ONCE = 20_000  # rows


class RowGenerator(Generator):
    """z float32 (n, latent) standard normal, labels int64 (n,) -> rows in the form of a network, float32 (n, width).

    A subclass gives `rows`, which are at rest, and the way through a network's form is for those who need it alone.
    """

    conditional = True

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """Raises UsageError where the schema is not one of a table."""
        super().__init__()
        self.spec = spec
        self.table = table_of(spec.family, schema)

    def rows(self, z: Tensor, labels: Tensor) -> Tensor:
        """Rows at rest, float32 (n, D), on the CPU; `z` (n, latent) standard normal, `labels` int64 (n,)."""
        raise NotImplementedError

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.table.to_network(self.rows(z, labels)).to(z.device)

    def samples(self, kinds: Mapping[str, Kind], labels: Tensor, rng: torch.Generator) -> Samples:
        """As `Generator.samples`, without the way through a network's form, which rounds."""
        parts = [
            self.rows(torch.randn(len(part), self.spec.latent, generator=rng), part) for part in labels.split(AT_ONCE)
        ]
        return Samples(kinds, {next(iter(kinds)): torch.cat(parts)})


def table_of(family: str, schema: Schema) -> Table:
    """The table of a schema; raises UsageError where its samples are something else."""
    kind = schema.kind
    if not isinstance(kind, Table):
        raise UsageError(f"generator {family} draws tables, not {kind.summary}")
    return kind
