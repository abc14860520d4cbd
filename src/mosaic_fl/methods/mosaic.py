"""Mosaic (arXiv 2505.19699), with the lessons of our feasibility study.

0. Optionally, rounds of averaging inside each group of equal architectures give all its clients a common start.
1. Every client trains its own classifier and a generator of synthetic samples; only those leave it.
2. The server gates the experts by what each knows and learns to fuse their outputs.
3. It distils the fused teacher into one model on synthetic samples alone.
4. Optionally, rounds of averaging fine-tune that model.
"""

import torch

from mosaic_fl.config import Config
from mosaic_fl.federation import Federation
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal
from mosaic_fl.methods.averaging import averaging_rounds, traffic, validation_accuracy
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import build
from mosaic_fl.optimisation import copy_state
from mosaic_fl.randomness import Stream
from mosaic_fl.server.distill import distill


def mosaic(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One contribution a client, one global model; weights are averaged only in the rounds before and after, if any."""
    before, seed = range(config.rounds.warm_up), config.run.seed
    after = range(len(before), len(before) + config.rounds.fine_tune)
    groups = dict(enumerate(federation.architectures))
    with Stream(seed, "fedavg-init").ambient():
        states = {name: copy_state(build(name, federation.schema)) for name in sorted(set(groups.values()))}
    if before:
        states = averaging_rounds(federation, groups, states, before, config.rounds, seed, journal)
    contributions = federation.contribute({k: states[name] for k, name in groups.items()} if before else None)

    def judge(model: GlobalModel) -> float:
        return validation_accuracy(federation.evaluate(model.architecture, model.state))

    distilled = distill(contributions, config, device, journal, states if before else {}, judge)

    model = distilled.model
    everyone = dict.fromkeys(groups, model.architecture)
    tuned = {model.architecture: model.state}
    if after:
        lr = {"lr": config.rounds.fine_tune_lr}
        tuned = averaging_rounds(federation, everyone, tuned, after, config.rounds, seed, journal, lr)
    around = [
        a + b
        for a, b in zip(
            traffic(groups, states, before, journal, federation),
            traffic(everyone, tuned, after, journal, federation),
            strict=True,
        )
    ]
    return Outcome(
        model=GlobalModel(model.architecture, model.schema, tuned[model.architecture]),
        bytes_up=[len(c.to_bytes()) + more for c, more in zip(contributions, around, strict=True)],
        bytes_down=[len(model.to_bytes()) * (1 + distilled.candidates) + more for more in around],
        distilled=distilled,
    )
