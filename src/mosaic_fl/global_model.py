"""The one global model: a value, a file, and predictions."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mosaic_fl import container
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import logits
from mosaic_fl.models.loading import load_into
from mosaic_fl.models.registry import build

KIND = "global model"


@dataclass(frozen=True)
class GlobalModel:
    """A classifier's architecture, schema and weights."""

    architecture: str
    schema: Schema
    state: dict[str, Tensor]

    def module(self) -> Classifier:
        """The classifier in eval mode on the CPU: float32 (n, channels, height, width) in −1..1 -> logits (n, C)."""
        with torch.random.fork_rng(devices=[]):
            return load_into(lambda: build(self.architecture, self.schema), self.state, "global model")

    def logits(self, samples: Samples | Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Logits (n, C) of samples, or of the one field's values: uint8 images (n, channels, height, width)."""
        if not isinstance(samples, Samples):
            samples = Samples(self.schema.fields, {next(iter(self.schema.fields)): torch.as_tensor(samples)})
        return logits(self.module().to(device), samples, device)

    def predict(self, images: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Class numbers int64 (n,) for uint8 images (n, channels, height, width)."""
        return self.logits(images, device).argmax(1)

    def to_bytes(self) -> bytes:
        """The file format: see `container`."""
        return container.pack(KIND, {"architecture": self.architecture, "schema": self.schema.to_json()}, self.state)

    @classmethod
    def load(cls, path: Path | str) -> "GlobalModel":
        """`from_bytes` of a file."""
        return cls.from_bytes(container.read_bytes(Path(path)), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "global model") -> "GlobalModel":
        """The inverse of `to_bytes`, for bytes that may come from anywhere; `source` names them in errors.

        Raises UsageError where they are not a global model, or its weights do not fit.
        """
        manifest, state = container.unpack(data, KIND, source)
        match manifest:
            case {"architecture": str(architecture), "schema": schema}:
                model = cls(architecture, Schema.from_json(schema), state)
                try:
                    model.module()
                except UsageError as error:
                    raise UsageError(f"{source}: {error}") from error
                return model
        raise UsageError(f"{source}: the manifest is not one of a global model")
