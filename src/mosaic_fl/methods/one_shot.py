"""What one-shot methods share whose server needs the clients' models alone: DENSE and Co-Boosting."""

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
from mosaic_fl.methods.sending import of_each
from mosaic_fl.server.distill import compatible
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor

PARTS = 20  # of the server's epochs, so that a twentieth is lost where it is killed
LARGEST = 2**30  # bytes of images, and of logits for them, that are written at the end of a part

Distil = Callable[
    [Sequence[Contribution], Config, torch.device, range, Stage, Monitor], tuple[dict[str, Tensor], dict[str, Any]]
]
"""The server's work in these epochs, from what it left after those before.

After the last epoch it leaves the global model's weights, and JSON values of which "architecture" is its name.
"""


def one_shot(
    name: str, distil: Distil, federation: Federation, config: Config, device: torch.device, journal: Journal
) -> Outcome:
    """One model up from each client that answers, `distil` in the stage `name`, one global model down to all.

    What a client may have sent beside its model is neither used nor counted.
    """
    contributions = [c.without_generator() for c in compatible(federation.contribute())]
    parts = parts_of(config.synthesis, federation.schema, len(contributions))

    def compute(before: Stage, part: int, monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return distil(contributions, config, device, parts[part], before, monitor)

    learned = journal.parts(name, len(parts), compute)
    model = GlobalModel(learned.info["architecture"], federation.schema, learned.tensors)
    down = len(model.to_bytes())
    clients = len(federation.architectures)
    return Outcome(model, of_each({c.client: len(c.to_bytes()) for c in contributions}, clients), [down] * clients)


def parts_of(settings: SynthesisConfig, schema: Schema, clients: int) -> list[range]:
    """All epochs in at most `PARTS` parts, or in one where the pool would be too large to write.

    An image is a byte a value, and at most four bytes a class for what each client's model says of it.
    """
    epochs = settings.epochs
    image = math.prod(schema.shape) + 4 * clients * schema.num_classes
    count = min(PARTS, epochs) if epochs * settings.batch_size * image <= LARGEST else 1
    ends = [epochs * part // count for part in range(count + 1)]
    return [range(a, b) for a, b in pairwise(ends)]
