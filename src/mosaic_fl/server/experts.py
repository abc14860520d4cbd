"""The mixture of experts over the clients' own models, and its fixed gates.

Expert outputs (n, K, C), of n samples, K experts and C classes, are logits throughout: log-probabilities up to a
constant a sample and expert. Where samples have several fields, an expert that cannot read a sample has NaN there, and
each ensemble is one of those that can.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.answers.book import AnswerBook, require_answers
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.reading import FieldReader, answers_of
from mosaic_fl.numerics.devices import images_at_once
from mosaic_fl.numerics.states import weighted_sum
from mosaic_fl.server.on_demand import ExpertOnDemand, built, expert_of

TINY = 1e-12
EVENING_STEPS = 50
MOST_AT_ONCE = 4096  # samples whose outputs are in memory at once
LARGEST_PART = 2**26  # bytes of their outputs, beyond which there are fewer samples
LARGEST_OF_NETWORKS = 2**28  # the same, where each part takes as many networks as there are clients
LEAST = -12.0  # no expert's veto counts for more than this log-probability, e⁻¹² ≈ 6·10⁻⁶


def class_weights(counts: Tensor) -> Tensor:
    """w[k, c] = n_k[c] / Σ_j n_j[c], float32 (K, C), from counts (K, C).

    Each column sums to one, or to zero for a class that nobody holds: no expert of it exists.
    """
    shares = counts.double()
    return (shares / shares.sum(0).clamp(min=1)).float()


def class_priors(counts: Tensor) -> Tensor:
    """π[k, c] = (n_k[c] + 1) / Σ_j (n_k[j] + 1), float32 (K, C), from counts (K, C): what expert k saw how often.

    The one sample more (Laplace) keeps the logarithm finite for classes that a client lacks.
    """
    smoothed = counts.double() + 1
    return (smoothed / smoothed.sum(1, keepdim=True)).float()


def at_once(bytes_each: int, most: int = MOST_AT_ONCE, largest: int | None = None) -> int:
    """How many samples of `bytes_each` bytes to take at once: `most` at most, fewer where these exceed `largest` bytes.

    Without `largest` these are `LARGEST_PART`.

    A multiple of the images that networks take at once on a CPU, so that batches are the same as for all at once.
    """
    few = images_at_once("cpu")
    return max(few, min(most, (largest or LARGEST_PART) // bytes_each) // few * few)


@dataclass(frozen=True)
class MixtureOfExperts:
    """K experts, with `weights` (K, C): which expert knows which class how well, and `priors` (K, C), their bias.

    `of` makes one expert a client, of any architectures; `class_average` one a class, as the paper does. `owners` are
    the numbers of the clients whose the experts are, in their order; empty where no one client owns them.
    """

    experts: tuple[Expert, ...]
    weights: Tensor
    priors: Tensor
    owners: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, contributions: Sequence[Contribution], boxes: Mapping[int, Expert] = MappingProxyType({})
    ) -> "MixtureOfExperts":
        """The experts of the contributions, in their order; `boxes` are those of black boxes, by client.

        Of very many clients a network is built when it is asked (`on_demand`).
        """
        counts = torch.stack([c.class_counts for c in contributions])
        clients = len(contributions)
        experts = tuple(boxes[c.client] if c.client in boxes else expert_of(c, clients) for c in contributions)
        owners = tuple(c.client for c in contributions)
        return cls(experts, class_weights(counts), class_priors(counts), owners)

    def credited(self, contributions: Sequence[Contribution]) -> "MixtureOfExperts":
        """The mixture of those of `owners` that `contributions` are of, weighted by these. Nothing is built again.

        What an expert saw how often, its prior, stays as it was.
        """
        places = [self.owners.index(c.client) for c in contributions]
        weights = class_weights(torch.stack([c.class_counts for c in contributions]))
        experts = tuple(self.experts[k] for k in places)
        return MixtureOfExperts(experts, weights, self.priors[places], tuple(c.client for c in contributions))

    def ready(self) -> "MixtureOfExperts":
        """The mixture with all its experts in memory, to be asked again and again; itself where they are."""
        experts = tuple(map(built, self.experts))
        return self if experts == self.experts else replace(self, experts=experts)

    @classmethod
    def class_average(cls, contributions: Sequence[Contribution]) -> "MixtureOfExperts":
        """The paper's experts: expert c has the weights θ^c = Σ_k w[k, c]·θ_k, and answers for class c alone.

        A class nobody holds has no expert. This works where the clients' weights lie in one basin, after rounds of
        averaging; clients trained apart collapse. Raises UsageError where the clients' architectures differ.
        """
        kinds = sorted({c.architecture for c in contributions})
        if len(kinds) > 1:
            raise UsageError(
                f"experts.kind = class_average averages weights, so all clients need one architecture and width, not "
                f"{', '.join(kinds)}: say experts.kind = clients"
            )
        shares = class_weights(torch.stack([c.class_counts for c in contributions]))
        classes = [c for c in range(shares.shape[1]) if shares[:, c].sum() > 0]
        states = [dict(c.expert) for c in contributions]
        averaged = (replace(contributions[0], expert=weighted_sum(states, shares[:, c].tolist())) for c in classes)
        experts = tuple(average.build_expert() for average in averaged)
        chosen = torch.eye(shares.shape[1])[classes]
        return cls(experts, chosen, torch.full_like(chosen, 1 / shares.shape[1]))

    @property
    def has_black_boxes(self) -> bool:
        """Whether some experts know only what they were asked: nobody may show them other samples."""
        return any(isinstance(expert, AnswerBook) for expert in self.experts)

    def outputs(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """Expert logits (n, K, C) on the CPU.

        Raises UsageError for an expert whose outputs are not finite: one that was too costly to be tried when it came;
        UnansweredError where black boxes have to be asked first.
        """
        require_answers(self.experts, samples)
        outputs = torch.empty(len(samples), *self.weights.shape)  # filled, not stacked: it may be large
        for k, expert in enumerate(self.experts):
            answers = answers_of(expert, samples, device)
            finite = answers.isfinite()
            if isinstance(expert, FieldReader):
                finite |= ~expert.can_read(samples)[:, None]
            if not bool(finite.all()):
                whose = f"the expert of client {self.owners[k]}" if self.owners else f"expert {k}"
                raise UsageError(f"{whose} gives non-finite outputs: leave its contribution out")
            outputs[:, k] = answers
        return outputs

    def fused(
        self, samples: Samples, fuses: Mapping[str, Callable[[Tensor], Tensor]], device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """What each of `fuses` makes of the expert logits (n, K, C), by its name.

        A fuse gives a row a sample that depends on this sample alone. It gets the samples in parts, so the outputs of
        many experts on many classes never exist as a whole. Raises UsageError as `outputs` does.
        """
        rows: dict[str, list[Tensor]] = {name: [] for name in fuses}
        for _, outputs in self.parts(samples, device):
            for name, fuse in fuses.items():
                rows[name].append(fuse(outputs))
        return {name: torch.cat(parts) for name, parts in rows.items()}

    def parts(self, samples: Samples, device: torch.device | str = "cpu") -> Iterator[tuple[Samples, Tensor]]:
        """The samples in parts, each with the expert logits (n, K, C) on it; see `fused`."""
        require_answers(self.experts, samples)  # all of them at once, not a part at a time
        for part in samples.split(self._at_once()):
            yield part, self.outputs(part, device)

    def _at_once(self) -> int:
        """How many samples to ask about at once: as many as memory allows where each part builds all networks again."""
        size = 4 * self.weights.numel()
        anew = any(isinstance(expert, ExpertOnDemand) for expert in self.experts)
        return at_once(size, most=LARGEST_OF_NETWORKS, largest=LARGEST_OF_NETWORKS) if anew else at_once(size)


def readers(outputs: Tensor) -> Tensor | None:
    """Which experts can read which sample, bool (n, K), of expert logits (n, K, C); None where all can read all."""
    unread = outputs[:, :, 0].isnan()
    return ~unread if bool(unread.any()) else None


def _means(values: Tensor) -> Tensor:
    """Means (n, C) over the experts that can read a sample; 1/C for a sample that nobody can read."""
    return values.mean(1) if readers(values) is None else values.nanmean(1).nan_to_num(nan=1 / values.shape[2])


def _shares(weights: Tensor, able: Tensor) -> Tensor:
    """`weights` (K, C) divided among those who are `able` (n, K) to read each sample: (n, K, C).

    The weights of a class sum to what they sum to in `weights`; to 0 for a class that none of these knows.
    """
    shares = weights * able[:, :, None]
    return shares * (weights.sum(0) / shares.sum(1).clamp(min=TINY))[:, None]


def mean_logits(outputs: Tensor) -> Tensor:
    """Log-probabilities (n, C) of the softmax of the experts' mean logits (DENSE's teacher)."""
    return _means(outputs).log_softmax(1)


def mean_probabilities(outputs: Tensor) -> Tensor:
    """Log-probabilities (n, C) of the experts' mean probabilities."""
    return _means(outputs.softmax(2)).clamp(min=TINY).log()


def class_weighted(outputs: Tensor, weights: Tensor) -> Tensor:
    """Log-probabilities (n, C) of p(c) ∝ Σ_k w[k, c] · p_k(c), the class-count-weighted ensemble."""
    return class_weighted_of(outputs, weights, readers(outputs))


def class_weighted_of(outputs: Tensor, weights: Tensor, able: Tensor | None) -> Tensor:
    """`class_weighted` of those that are `able` (n, K) to read each sample; None: all are, and nothing is looked at."""
    knowledge = weights.to(outputs)
    if able is None:
        scores = torch.einsum("nkc,kc->nc", outputs.softmax(2), knowledge) + TINY
    else:
        scores = (outputs.softmax(2).nan_to_num(nan=0.0) * _shares(knowledge, able)).sum(1) + TINY
    return (scores / scores.sum(1, keepdim=True)).log()


def evening(log_probabilities: Tensor) -> Tensor:
    """b (C,) such that softmax(log p + b), averaged over the n rows of `log_probabilities` (n, C), is even.

    Sinkhorn's iteration; b is centred. A class that gets next to nothing anywhere would need an endless b: an iteration
    moves it by at most `-LEAST`.
    """
    bias = log_probabilities.new_zeros(log_probabilities.shape[1])
    for _ in range(EVENING_STEPS):
        mean = (log_probabilities + bias).softmax(1).mean(0)
        bias = bias - mean.log().clamp(min=LEAST)
        bias = bias - bias.mean()
    return bias


def class_balanced(outputs: Tensor, weights: Tensor, priors: Tensor) -> Tensor:
    """Log-probabilities (n, C) of p(c) ∝ Π_k q_k(c)^w[k, c] with q_k = softmax(z_k − log π_k).

    q_k is what expert k would say had it seen all classes alike (logit adjustment: Menon et al., ICLR 2021): a client
    with many cats and few trucks no longer calls a truck a cat. Each class is then judged by the geometric mean of
    those that know it. A class that nobody holds gets (almost) no probability.
    """
    balanced = (outputs - priors.to(outputs).log()).log_softmax(2).clamp(min=LEAST)
    knowledge = weights.to(outputs)
    able = readers(outputs)
    if able is None:
        scores = torch.einsum("nkc,kc->nc", balanced, knowledge)
        return scores.masked_fill(knowledge.sum(0) == 0, math.log(TINY)).log_softmax(1)
    shares = _shares(knowledge, able)
    scores = (balanced.nan_to_num(nan=0.0) * shares).sum(1)
    return scores.masked_fill(shares.sum(1) == 0, math.log(TINY)).log_softmax(1)
