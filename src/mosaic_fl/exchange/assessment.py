"""Predictions with what may be said of the trust in them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.encoding import encode_samples
from mosaic_fl.exchange.assurance import Assurance
from mosaic_fl.experts.kind import Expert


@dataclass(frozen=True, eq=False, repr=False)
class Assessment:
    """The predictions for n samples of C classes; each tensor is on the CPU.

    `probabilities` float64 (n, C) are those that the model itself gives. `calibrated` float64 (n, C) are nearer to how
    often such predictions are right; None where the model's file has no temperature. `strangeness` float64 (n,) is
    above 1 for samples unlike anything the sites know; None where the file does not say.
    """

    probabilities: Tensor
    calibrated: Tensor | None = None
    strangeness: Tensor | None = None

    def __repr__(self) -> str:
        strange = "" if self.strangeness is None else f", {int((self.strangeness > 1).sum()):,} of them strange"
        return f"Assessment({len(self.probabilities):,} samples{strange})"

    @property
    def classes(self) -> Tensor:
        """The most probable class of each sample, int64 (n,)."""
        return self.probabilities.argmax(1)

    @property
    def confidence(self) -> Tensor:
        """The probability of that class, calibrated where it can be, float64 (n,)."""
        return (self.probabilities if self.calibrated is None else self.calibrated).amax(1)


@dataclass(frozen=True)
class Assessor:
    """A model for inference. With an `encoder` it takes samples before they are encoded to vectors of `vectors`."""

    expert: Expert
    assurance: Assurance | None
    encoder: Encoder | None = None
    vectors: Schema | None = None

    def __call__(self, samples: Samples, device: torch.device | str = "cpu") -> Assessment:
        """The predictions for samples; raises UsageError where a vector is not finite."""
        if self.encoder is not None and self.vectors is not None:
            samples = encode_samples(samples, self.encoder, self.vectors, device)
        outputs = self.expert.log_probabilities(samples, device)
        probabilities = outputs.double().softmax(1)
        if self.assurance is None:
            return Assessment(probabilities)
        strangeness = self.assurance.strangeness(self.expert, samples, device)
        return Assessment(probabilities, self.assurance.calibrated(outputs), strangeness)
