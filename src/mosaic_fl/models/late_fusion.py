"""`fusion:WIDTH`, a network for samples of several fields: one encoder a field, whose features are joined.

This is late fusion of features (Baltrušaitis, Ahuja & Morency 2019, arXiv 1705.09406, section 6). Whole fields are left
out at random in training, as in ModDrop (Neverova, Wolf, Taylor & Nebout 2016, arXiv 1501.00102), so that the network
predicts with any subset of them.
"""

import torch
from torch import Tensor, nn

from mosaic_fl.config.model_names import JOINING
from mosaic_fl.domains.samples import PRESENT
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.convolutional import CNN
from mosaic_fl.models.perceptron import MLP
from mosaic_fl.models.registry import family

KEEP = 0.7  # probability that a field of a training sample is seen
IMAGE_AXES = 3  # channels, height, width
WIDTHS_A_CHANNEL = 4
DEPTHS = ((16, 2), (40, 3))  # (pixels of the shorter side, at most; blocks of an encoder)
DEEPEST = 5


@family(JOINING)
class LateFusion(Classifier):
    """Encoders, whose features are joined with a flag for each field, then a layer of `width` units and the head.

    Images have a `cnn` of width / 4 channels, other values an `mlp` of `width` units. A field that a sample lacks gives
    zeros, and so does one that was in no sample of its training (`seen`), of which it knows nothing. Inputs are those
    of `Samples.inputs` for several fields.
    """

    seen: Tensor

    def __init__(self, schema: Schema, width: int = 64) -> None:
        super().__init__()
        if not schema.joins:
            raise UsageError(
                f"model fusion joins several fields, and samples are {schema.summary}: name a network for one, as "
                "cnn:16 or mlp:64"
            )
        self.names = tuple(schema.fields)
        self.register_buffer("seen", torch.zeros(len(self.names), dtype=torch.int64))
        encoders = [_encoder(schema.part([name]), width) for name in self.names]
        self.encoders = nn.ModuleList(encoder for encoder, _ in encoders)
        joint = sum(size for _, size in encoders) + len(self.names)
        self.body = nn.Sequential(nn.Linear(joint, width, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        self.head = nn.Linear(width, schema.num_classes)

    def encoder(self, field: str) -> nn.Module:
        """The encoder of one field, from its values (n, …) to features (n, d)."""
        return self.encoders[self.names.index(field)]

    def features(self, inputs: dict[str, Tensor]) -> Tensor:
        flags = torch.cat([inputs[name + PRESENT] for name in self.names], 1)
        if self.training:
            self.seen.copy_(torch.maximum(self.seen, flags.amax(0).to(self.seen)))
            flags = flags * left_out(flags)
        else:
            flags = flags * (self.seen > 0)
        parts = [
            encoder(inputs[name]) * flags[:, place : place + 1]
            for place, (name, encoder) in enumerate(zip(self.names, self.encoders, strict=True))
        ]
        hidden: Tensor = self.body(torch.cat([*parts, flags], 1))
        return hidden


def left_out(flags: Tensor) -> Tensor:
    """Which fields are seen, float32 (n, F) of 0 and 1, of the fields that `flags` (n, F) say are there.

    Each is seen with probability `KEEP`, from the ambient random generator; a sample of which nothing would be left
    keeps all.
    """
    seen = (torch.rand_like(flags) < KEEP).to(flags)
    return torch.where((seen * flags).sum(1, keepdim=True) > 0, seen, torch.ones_like(seen))


def _encoder(schema: Schema, width: int) -> tuple[Classifier, int]:
    """The encoder of the one field, without a head, and the number of its features."""
    shape = schema.shape
    network: Classifier
    if len(shape) == IMAGE_AXES:
        depth = next((blocks for side, blocks in DEPTHS if min(shape[1:]) <= side), DEEPEST)
        network = CNN(schema, max(1, width // WIDTHS_A_CHANNEL), depth)
    else:
        network = MLP(schema, width)
    head = network.head
    assert isinstance(head, nn.Linear)
    network.head = nn.Identity()
    return network, head.in_features
