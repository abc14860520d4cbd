"""The networks of `tabular`: the decoder that is sent, and the encoder that stays."""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.density import ClassMixture, most_components
from mosaic_fl.generators.picking import uniform
from mosaic_fl.generators.rows import table_of
from mosaic_fl.generators.tabular.outputs import MOST_FREQUENT, NOWHERE, Outputs
from mosaic_fl.numerics.states import State

HIDDEN = 4  # units of a hidden layer, for each unit of the specification's width
DENSITY = "density."  # before the names of the density's tensors


class Decoder(Generator):
    """p(x | z, y) and a density of z for each class.

    The specification's latent is that of z and one more value a column, by which its value is drawn from its
    distribution. Samples have the form of a network, with categories that are one-hot.
    """

    conditional = True
    frequent: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """Raises UsageError for a specification that leaves no latents beside those of the columns."""
        super().__init__()
        self.spec = spec
        self.table = table_of(spec.family, schema)
        self.likelihood = Outputs(self.table)
        self.classes = schema.num_classes
        self.latent = spec.latent - len(self.table.columns)
        if self.latent < 1:
            raise UsageError(
                f"a tabular generator of {spec.latent} latents, where one for each of {len(self.table.columns)} "
                "columns and one more are the least"
            )
        hidden = HIDDEN * spec.width
        self.density = ClassMixture(self.classes, self.latent)
        self.register_buffer("frequent", torch.full((len(self.table.encoding.numbers), MOST_FREQUENT), NOWHERE))
        self.body = _layers(self.latent + self.classes, hidden, self.likelihood.width)

    def parameters_of(self, z: Tensor, labels: Tensor) -> Tensor:
        """The distributions' parameters, (n, outputs), for latents `z` (n, latent) of the network."""
        parameters: Tensor = self.body(torch.cat([z, F.one_hot(labels, self.classes).to(z.dtype)], 1))
        return parameters

    def fit_to(self, state: State) -> Self:
        self.density.resize(state.get(f"{DENSITY}share", self.density.share).numel())
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        self.density.resize(1 + sum(map(most_components, counts)))
        return self

    def check(self) -> None:
        self.density.check()

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        place = self.density(z[:, : self.latent], labels)
        return self.likelihood.draw(self.parameters_of(place, labels), uniform(z[:, self.latent :]), self.frequent)


class Encoder(nn.Module):
    """q(z | x, y): the decoder's mirror image; it never leaves the client."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.classes = decoder.classes
        width = decoder.table.encoding.width
        self.body = _layers(width + self.classes, HIDDEN * decoder.spec.width, 2 * decoder.latent)

    def forward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z, each (n, latent)."""
        hidden = torch.cat([inputs, F.one_hot(labels, self.classes).to(inputs.dtype)], 1)
        mean, log_variance = self.body(hidden).chunk(2, 1)
        return mean, log_variance.clamp(-12, 6)


def _layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )
