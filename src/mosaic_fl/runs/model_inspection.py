"""What a global model's file holds: a value."""

import hashlib
from dataclasses import dataclass
from typing import Any

from mosaic_fl.encoders.statement import encoder_figures
from mosaic_fl.exchange.global_model import GlobalModel


@dataclass(frozen=True)
class ModelInspection:
    """A file of `size` bytes with a global `model`."""

    file: str
    size: int
    digest: str
    model: GlobalModel

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `encoder` is there for a model of an encoder's vectors, and `bundled` in it are its bytes."""
        model = self.model
        return {
            "file": self.file,
            "bytes": self.size,
            "sha256": self.digest,
            "model": model.architecture,
            "schema": model.schema.summary,
            "classes": list(model.schema.classes),
            **encoder_figures(model.schema, model.bundle),
            **({} if model.assurance is None else {"assurance": model.assurance.to_json()}),
        }


def inspect_model(data: bytes, source: str) -> ModelInspection:
    """The inspection of a global model's bytes, read as everywhere; raises UsageError for anything else."""
    return ModelInspection(source, len(data), hashlib.sha256(data).hexdigest(), GlobalModel.from_bytes(data, source))


def trust_words(values: dict[str, Any]) -> str:
    """What a model's file says of the trust in its predictions, by its inspection's JSON values."""
    words = values.get("assurance")
    if words is None:
        return "the file does not say how far its predictions may be trusted"
    strange = "the file does not say what is strange"
    if words["threshold"] is not None:
        strange = f"a sample is strange above {words['threshold']:.3g}: {words['reference']}"
    return f"logits are divided by {words['temperature']:.3g}; {strange}"


def bundle_words(values: dict[str, Any]) -> str:
    """Whether a model, by its inspection's JSON values, has its encoder in its file."""
    encoder = values.get("encoder")
    if encoder is None:
        return "takes samples as they are, without a public encoder"
    if "bundled" in encoder:
        return f"holds its encoder {encoder['name']}, {encoder['bundled']:,} of {values['bytes']:,} bytes"
    return f"names its encoder {encoder['name']}, which it does not hold (--bundle)"
