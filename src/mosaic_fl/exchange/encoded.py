"""A global model of vectors as one of images or rows: the public encoder and the classifier in one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.bundle import encoder_in
from mosaic_fl.encoders.encoded import encoded_kind, raw_schema
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.encoding import encode_samples
from mosaic_fl.encoders.naming import encoder_of
from mosaic_fl.exchange.assessment import Assessor
from mosaic_fl.experts.kind import Expert

if TYPE_CHECKING:
    from mosaic_fl.exchange.global_model import GlobalModel


@dataclass(frozen=True)
class EncodedModel:
    """The classifier of a global model behind its encoder; `schema` is that of the samples before they are encoded."""

    model: "GlobalModel"
    encoder: Encoder
    schema: Schema

    def expert(self) -> Expert:
        """The classifier for inference, which encodes what it is given."""
        return EncodedExpert(self.model.expert(), self.encoder, self.model.schema)

    def assessor(self) -> Assessor:
        """The model for inference, which encodes what it is given, with what its file says of the trust in it."""
        return Assessor(self.model.expert(), self.model.assurance, self.encoder, self.model.schema)


@dataclass(frozen=True)
class EncodedExpert:
    """An expert on vectors of `schema`, which is asked with the samples before they are encoded."""

    inner: Expert
    encoder: Encoder
    schema: Schema

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, C) on the CPU; raises UsageError where a vector is not finite."""
        return self.inner.log_probabilities(encode_samples(samples, self.encoder, self.schema, device), device)


def encoded(model: "GlobalModel", own: str = "") -> EncodedModel | None:
    """The model behind the encoder of its vectors; None for a model of other samples, or of vectors of no encoder.

    `own` is the encoder that this machine's user names; without one it is that in the model's file, where one is, else
    the one that is built in. Raises UsageError where it must be named, or differs.
    """
    of = encoded_kind(model.schema)
    if of is None:
        return None
    kind = model.schema.kind
    assert isinstance(kind, Vector)
    encoder = encoder_in(kind, model.bundle) if model.bundle and not own else encoder_of(kind, own)
    return EncodedModel(model, encoder, raw_schema(model.schema, of))
