"""Settings of a client's work: its classifier, generator and prototypes."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from mosaic_fl.config.names import EncoderName, GeneratorName
from mosaic_fl.config.section import Reader, ReadSection
from mosaic_fl.numerics.devices import Precision

BARE: Mapping[str, Any] = {"generator.family": "none", "prototypes.per_class": 0, "moments.encoder": ""}
"""Settings with which a client sends its classifier alone. The rest of their sections has no effect then."""


class TrainConfig(ReadSection):
    """Training of a classifier: at the client, and of the pooled-data ceiling."""

    readers = frozenset({Reader.TRAINING, Reader.SERVER})

    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="adamw or sgd")
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="weight decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine (with warm-up) or constant")
    batch_size: int = Field(64, ge=2, description="samples a step")
    precision: Precision = Field("auto", description="auto: bfloat16 products on CUDA; float32")
    epochs: float = Field(30, gt=0, description="passes over the client's training samples")
    min_steps: int = Field(200, ge=1, description="least steps, for small clients")
    max_steps: int = Field(2000, ge=1, description="most steps, for large clients; stronger than min_steps")
    patience: int = Field(10, ge=0, description="checks without a better validation loss before stopping; 0: never")
    augment: Literal["auto", "none", "flip", "shift", "shift_flip"] = Field(
        "auto", description="batches varied by: none, flip, shift, shift_flip; auto: shift_flip for colour images"
    )
    check_every: int = Field(50, ge=1, description="steps between checks on the validation split")
    absent: float = Field(
        1.0, ge=0, le=1, description="factor on the logits of classes a client lacks (FedRS: 0.5; masked: 0)"
    )
    proximal: float = Field(0.0, ge=0, description="weight of the squared distance from the start (FedProx: 0.01)")


class GeneratorConfig(ReadSection):
    """The client's generator of synthetic samples."""

    readers = frozenset({Reader.TRAINING, Reader.SERVER})

    family: GeneratorName = Field(
        "auto",
        description="auto, cvae, dcgan (the paper's, unconditional), cdcgan (conditional), flow (GPU); of tables cart, "
        "marginals, tabular, measured (by validation rows); of vectors moments, exact_moments, mixtures; none",
    )
    min_samples: int = Field(20, ge=2, description="a client with fewer sends no generator")
    steps: int = Field(1500, ge=1, description="training steps")
    epochs: float = Field(0, ge=0, description="passes over the client's samples instead of steps; 0: steps")
    patience: int = Field(
        0,
        ge=0,
        description="cvae, flow: checks (one in 50 steps) without a better validation loss before stopping; 0: never",
    )
    batch_size: int = Field(64, ge=2, description="samples a step")
    precision: Precision = Field("auto", description="cvae, flow: as train.precision")
    lr: float = Field(2e-3, gt=0, description="peak learning rate (dcgan: 2e-4 is the paper's)")
    latent: int = Field(
        16, ge=1, le=1024, description="size of the latent z (dcgan: the paper's is 100; flow has its own)"
    )
    width: int = Field(
        16,
        ge=1,
        le=1024,
        description="base channels (dcgan: 64 is the paper's; tabular: a quarter of a layer's units); mixtures: "
        "Gaussians a class",
    )
    covariance: Literal["spherical", "diagonal", "full"] = Field(
        "diagonal", description="mixtures: of each Gaussian, spherical, diagonal or full"
    )
    components: int = Field(
        1,
        ge=1,
        le=16,
        description="moments, and those of --moments: Gaussians a class at most, one for each 50 of its vectors",
    )
    kl: float = Field(0.5, ge=0, description="cvae, tabular: weight of the KL term")
    perceptual: float = Field(
        0.3, ge=0, description="cvae: weight, a value of a sample, of the distance that the client's network sees"
    )
    adversarial: float = Field(1.0, ge=0, description="dcgan: weight of the adversarial term")
    entropy: float = Field(1.0, ge=0, description="dcgan: weight of the entropy term (confident samples)")
    diversity: float = Field(5.0, ge=0, description="dcgan: weight of the diversity term (all the client's classes)")
    inversion: float = Field(1.0, ge=0, description="dcgan: weight of the inversion term (batch-norm statistics)")
    inversion_below: int = Field(500, ge=0, description="dcgan: inversion only for clients with fewer samples (τ)")

    def steps_for(self, samples: int) -> int:
        """Steps of training for a client of `samples` training samples: `epochs` passes over them, or else `steps`."""
        if not self.epochs:
            return self.steps
        return max(1, round(self.epochs * math.ceil(samples / self.batch_size)))


class PrototypesConfig(ReadSection):
    """k-means centres of penultimate features, per class."""

    readers = frozenset({Reader.TRAINING, Reader.SERVER})

    per_class: int = Field(
        0, ge=0, le=1000, description="centres a class at most, for meta.source = prototypes; 0: send none"
    )
    min_cluster: int = Field(5, ge=1, description="least samples behind a centre: a cluster of one is that sample")


class MomentsConfig(ReadSection):
    """Class moments of pictures in the space of a public encoder, beside the client's model: docs/encoders.md."""

    readers = frozenset({Reader.TRAINING, Reader.SERVER})

    encoder: EncoderName = Field("", description="public encoder in whose space clients tell them; empty: none told")
