"""The frame of one-shot methods whose server needs only the clients' models: DENSE and Co-Boosting."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import by_client
from mosaic_fl.server.agreement import compatible
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor

PARTS = 20  # of the server's epochs: a process that is killed loses a twentieth of them
LARGEST = 2**30  # bytes of images and of their logits that are written at the end of a part

Distil = Callable[
    [Sequence[Contribution], Config, torch.device, range, Stage, Monitor], tuple[dict[str, Tensor], dict[str, Any]]
]
"""(contributions, configuration, device, epochs, stage before, monitor) -> tensors and JSON values of the new stage.

After the last epoch the tensors are the global model's weights, and the JSON value "architecture" names its network.
"""


def one_shot(
    name: str, distil: Distil, federation: Federation, config: Config, device: torch.device, journal: Journal
) -> Outcome:
    """One model up from each client that answers, `distil` in the stage `name`, one global model down to all.

    Other parts of a contribution are neither used nor counted.
    """
    contributions = [c.without_generator() for c in compatible(federation.contribute())]
    parts = parts_of(config.synthesis, federation.schema, len(contributions))

    def compute(previous: Stage, part: int, monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return distil(contributions, config, device, parts[part], previous, monitor)

    stage = journal.parts(name, len(parts), compute)
    model = GlobalModel(stage.info["architecture"], federation.schema, stage.tensors)
    clients = len(federation.architectures)
    bytes_up = by_client({c.client: len(c.to_bytes(figures=True)) for c in contributions}, clients)
    return Outcome(model, bytes_up, [len(model.to_bytes())] * clients)


def parts_of(settings: SynthesisConfig, schema: Schema, clients: int) -> list[range]:
    """All epochs in at most `PARTS` parts, or in one where the pool would be too large to write.

    An image takes one byte a value, and at most four bytes a class for the logits of each client's model.
    """
    epochs = settings.epochs
    image = math.prod(schema.shape) + 4 * clients * schema.num_classes
    count = min(PARTS, epochs) if epochs * settings.batch_size * image <= LARGEST else 1
    ends = [epochs * part // count for part in range(count + 1)]
    return [range(first, end) for first, end in pairwise(ends)]
