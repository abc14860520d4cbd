"""`linear`, one linear layer on a flattened sample: what closed-form classifiers are when they travel."""

import math

from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import family


@family("linear")
class Linear(Classifier):
    """Logits W·x + b; the features are the sample itself."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.body = nn.Flatten()
        self.head = nn.Linear(math.prod(schema.shape), schema.num_classes)

    def features(self, inputs: Tensor) -> Tensor:
        flat: Tensor = self.body(inputs)
        return flat
