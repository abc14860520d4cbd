"""FENS (Allouah, Dhasade, Guerraoui, Gupta, Kermarrec, Pinot, Pires, Sharma 2024, NeurIPS, arXiv 2405.01420).

1. One shot: every client trains its own model π_k and sends it. The server sends all models to every client.
2. An aggregator f_λ, a small network on the concatenated outputs of all models, is trained by rounds of FedAvg. It
   minimises Σ_k Σ_(x, y) ℓ(f_λ(π_1(x), …, π_K(x)), y) over data that the clients did not train on.

It serves all K models and the aggregator. It learns from real held-back data, so it is not data-free. Its rounds train
only the aggregator, so we count it as one-shot. The held-back data is our validation split, by which a client's own
training also stops. So no split is left for a federated validation accuracy.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.config import Config
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.methods.averaging import participants, traffic
from mosaic_fl.methods.merging import merged
from mosaic_fl.methods.outcome import Ensemble, Outcome
from mosaic_fl.methods.sending import by_client, upload_size
from mosaic_fl.models.fusion import Aggregator, load_aggregator
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor


def fens(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One contribution a client, then `config.rounds.warm_up` rounds, at least one, of the aggregator.

    The aggregator has `config.meta.width` hidden units and trains with the rates and batches of `config.meta`,
    `config.rounds.steps` steps a round (0: one pass). All clients may train it, even those without a model here; a
    client without held-back data abstains. Raises MosaicError where no client ever trained it.
    """
    contributions = federation.contribute()
    mixture = MixtureOfExperts.of(contributions)
    seed = config.run.seed
    experts, classes = mixture.weights.shape
    clients = range(len(federation.architectures))
    rounds = range(max(1, config.rounds.warm_up))
    with Stream(seed, "fusion-init").ambient():
        state: State = copy_state(Aggregator(experts, classes, config.meta.width))

    def train_round(previous: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        cohort = participants(clients, config.rounds.participation, seed, round)
        settings = {"steps": config.rounds.steps}
        answers = federation.fit_fusion(contributions, previous.tensors, cohort, settings, round)
        answers = [f for f in answers if f.samples]
        if not answers:
            return previous.tensors, {"participants": []}
        total = sum(f.samples for f in answers)
        means = {key: sum(f.samples / total * f.validation[key] for f in answers) for key in ("loss", "accuracy")}
        monitor.log(round, **{f"fitted_{key}": value for key, value in means.items()})
        return merged(answers, previous.tensors, config.rounds), {"participants": [f.client for f in answers]}

    state = journal.rounds(rounds, Stage(state), train_round).tensors
    aggregator_size = len(container.pack("aggregator", {}, state))
    aggregator_bytes = traffic(dict.fromkeys(clients, aggregator_size), rounds, journal)
    if not any(aggregator_bytes):
        raise MosaicError(
            "no client that answered held samples back to train on: raise data.validation "
            f"(now {config.data.validation})"
        )
    sizes = by_client({c.client: upload_size(c, expert=True, counts=False) for c in contributions}, len(clients))
    # All others' models go to each client that sent a model or trained the aggregator, and so does the last aggregator.
    model_bytes = [
        sum(sizes) - size if size or trained else 0 for size, trained in zip(sizes, aggregator_bytes, strict=True)
    ]
    result_bytes = [aggregator_size if size else 0 for size in model_bytes]
    return Outcome(
        model=None,
        bytes_up=[size + more for size, more in zip(sizes, aggregator_bytes, strict=True)],
        bytes_down=[sum(sizes) for sizes in zip(model_bytes, aggregator_bytes, result_bytes, strict=True)],
        ensemble=Ensemble(mixture, AggregatorFusion(load_aggregator(state, experts, classes))),
    )


class AggregatorFusion:
    """The aggregator as a function of outputs, without gradients."""

    def __init__(self, aggregator: nn.Module) -> None:
        self.aggregator = aggregator

    @torch.no_grad()
    def __call__(self, outputs: Tensor) -> Tensor:
        """Logits (n, C) for expert logits (n, K, C), on the CPU."""
        logits: Tensor = self.aggregator(outputs)
        return logits
