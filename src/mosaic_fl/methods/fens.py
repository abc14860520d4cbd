"""FENS (Allouah, Dhasade, Guerraoui, Gupta, Kermarrec, Pinot, Pires, Sharma 2024, NeurIPS, arXiv 2405.01420).

1. One shot: every client trains its own model π_k and sends it; the server sends all of them to everyone.
2. An aggregator f_λ, a small network on the concatenated outputs of all models, is trained by rounds of FedAvg to
   minimise Σ_k Σ_(x, y) ℓ(f_λ(π_1(x), …, π_K(x)), y) over data that the clients held back from their own training.

It serves all K models and the aggregator, and it learns from real held-back data, which nothing data-free does. Its
rounds move the aggregator alone, so by our count it is one-shot. The held-back data is our validation split, which a
client's own training also stops by; so no untouched split is left to report a federated validation accuracy on.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.config import Config
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.methods.averaging import participants, traffic, weighted_average
from mosaic_fl.methods.outcome import Ensemble, Outcome
from mosaic_fl.methods.sending import of_each, sent_size
from mosaic_fl.models.fusion import Aggregator, load_aggregator
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor


def fens(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One contribution a client, then `config.rounds.warm_up` rounds, at least one, of the aggregator.

    The aggregator has `config.meta.width` hidden units and is trained with the rates and batches of `config.meta`,
    `config.rounds.steps` steps a round (0: one pass). All clients are asked to, also those whose models never came; one
    that held nothing back abstains. Raises MosaicError where nobody ever trained it.
    """
    contributions = federation.contribute()
    mixture = MixtureOfExperts.of(contributions)
    seed = config.run.seed
    experts, classes = mixture.weights.shape
    clients = range(len(federation.architectures))
    rounds = range(max(1, config.rounds.warm_up))
    with Stream(seed, "fusion-init").ambient():
        state: State = copy_state(Aggregator(experts, classes, config.meta.width))

    def one_round(before: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        asked = participants(clients, config.rounds.participation, seed, round)
        settings = {"steps": config.rounds.steps}
        answers = [f for f in federation.fit_fusion(contributions, before.tensors, asked, settings, round) if f.samples]
        if not answers:
            return before.tensors, {"participants": []}
        total = sum(f.samples for f in answers)
        means = {key: sum(f.samples / total * f.validation[key] for f in answers) for key in ("loss", "accuracy")}
        monitor.log(round, **{f"fitted_{key}": value for key, value in means.items()})
        return weighted_average(answers), {"participants": [f.client for f in answers]}

    state = journal.rounds(rounds, Stage(state), one_round).tensors
    aggregator = len(container.pack("aggregator", {}, state))
    sent = traffic(dict.fromkeys(clients, aggregator), rounds, journal)
    if not any(sent):
        raise MosaicError(
            "no client that answered held samples back to train on: raise data.validation "
            f"(now {config.data.validation})"
        )
    sizes = of_each({c.client: sent_size(c, expert=True, counts=False) for c in contributions}, len(clients))
    # All others' models: to who sent one, and to who fitted the aggregator without.
    models = [sum(sizes) - own if own or fitted else 0 for own, fitted in zip(sizes, sent, strict=True)]
    last = [aggregator if held else 0 for held in models]
    return Outcome(
        model=None,
        bytes_up=[size + more for size, more in zip(sizes, sent, strict=True)],
        bytes_down=[sum(each) for each in zip(models, sent, last, strict=True)],
        ensemble=Ensemble(mixture, Fused(load_aggregator(state, experts, classes))),
    )


class Fused:
    """The aggregator as a function of outputs, without gradients."""

    def __init__(self, aggregator: nn.Module) -> None:
        self.aggregator = aggregator

    @torch.no_grad()
    def __call__(self, outputs: Tensor) -> Tensor:
        """Logits (n, C) for expert logits (n, K, C), on the CPU."""
        logits: Tensor = self.aggregator(outputs)
        return logits
