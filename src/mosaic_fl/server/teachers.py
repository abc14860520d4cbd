"""Teachers: ways to turn the experts' outputs into one prediction."""

from dataclasses import dataclass

from torch import Tensor, nn

from mosaic_fl.server.experts import MixtureOfExperts, class_balanced, class_weighted, mean_logits, mean_probabilities
from mosaic_fl.server.meta_training import meta_log_probabilities

TEACHERS = ("meta", "class_balanced", "class_weighted", "mean_probabilities", "mean_logits")


@dataclass(frozen=True)
class Teachers:
    """All teachers over one mixture of experts; `meta` is None where the configuration has no meta model."""

    mixture: MixtureOfExperts
    meta: nn.Module | None

    @property
    def best(self) -> str:
        """The teacher that serves where nothing is measured: the meta model, or the class-weighted ensemble."""
        return "class_weighted" if self.meta is None else "meta"

    def log_probabilities(self, teacher: str, outputs: Tensor) -> Tensor:
        """Log-probabilities (n, C) of one of `TEACHERS` for expert logits (n, K, C)."""
        if teacher == "meta" and self.meta is not None:
            return meta_log_probabilities(self.meta, outputs)
        if teacher == "class_balanced":
            return class_balanced(outputs, self.mixture.weights, self.mixture.priors)
        if teacher == "mean_logits":
            return mean_logits(outputs)
        if teacher == "mean_probabilities":
            return mean_probabilities(outputs)
        return class_weighted(outputs, self.mixture.weights)
