"""The loss of a client's local training: cross-entropy, with the terms that several methods add to it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.samples import Inputs
from mosaic_fl.generators.latent import Latent
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.loading import load_into
from mosaic_fl.numerics.randomness import Stream


class LatentTerm:
    """weight · E[CE(head(G(ε, y)), y)], y ~ p̂, ε ~ N(0, I): the term of FedGen in a client's loss (its equation 5).

    The features of G are constants here: only the model's head learns from them. G itself learns at the server.
    """

    def __init__(self, latent: Latent, model: Classifier, stream: Stream) -> None:
        """`model` on its device, with a `head`; all draws come from `stream`."""
        self.latent = latent
        self.model = model
        self.rng = stream.torch()
        self.device = next(model.parameters()).device
        with torch.random.fork_rng(devices=[]):
            self.generator = load_into(latent.network, latent.state, "latent generator").to(self.device)

    def __call__(self, n: int) -> Tensor:
        """The term for `n` new features."""
        labels = torch.multinomial(self.latent.labels, n, replacement=True, generator=self.rng).to(self.device)
        noise = torch.randn(n, self.latent.noise, generator=self.rng).to(self.device)
        with torch.no_grad():
            features = self.generator(noise, labels)
        return self.latent.weight * F.cross_entropy(self.model.head(features), labels)


class Objective:
    """CE(scaled logits, label) + proximal/2 · ‖θ − θ₀‖² + the latent term, if any.

    The logits of the classes without a sample at the client are multiplied by `config.absent`: 1 is plain
    cross-entropy, 0.5 the restricted softmax of FedRS (Li & Zhan 2021, equation 5), 0 the masked cross-entropy of
    HeteroFL (Diao et al. 2021, section 3). θ₀ are the weights at the start: the proximal term of FedProx (Li et al.
    2020, equation 2) keeps the model near them. Batch-norm statistics are no weights.
    """

    def __init__(
        self, model: Classifier, class_counts: Tensor, config: TrainConfig, latent: LatentTerm | None = None
    ) -> None:
        """`model` at the start of training, on its device; `class_counts` (C,) of the client's training samples."""
        self.latent = latent
        device = next(model.parameters()).device
        self.proximal = config.proximal
        self.model = model
        absent = (class_counts == 0).to(device)
        self.scale = torch.where(absent, config.absent, 1.0) if config.absent != 1 and bool(absent.any()) else None
        self.start = [p.detach().clone() for p in model.parameters()] if self.proximal else []

    def supervised(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The cross-entropy alone, of logits (n, C) and labels int64 (n,)."""
        return F.cross_entropy(logits if self.scale is None else logits * self.scale.to(logits.device), labels)

    def __call__(self, inputs: Inputs, labels: Tensor) -> Tensor:
        """The whole loss for a network's inputs and labels int64 (n,)."""
        loss = self.supervised(self.model(inputs), labels)
        if self.start:
            pairs = zip(self.model.parameters(), self.start, strict=True)
            loss = loss + self.proximal / 2 * torch.stack([(p - start).square().sum() for p, start in pairs]).sum()
        return loss if self.latent is None else loss + self.latent(len(labels))
