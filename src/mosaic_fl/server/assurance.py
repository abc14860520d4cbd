"""How far a global model's predictions may be trusted, by synthetic samples and clients' validation splits alone.

A temperature calibrates its probabilities (Guo, Pleiss, Sun & Weinberger 2017), and a density of what it sees of the
generators' samples says which samples are strange (Lee, Lee, Lee & Shin 2018). docs/notes/assurance.md has what was
tried. Test data have no part in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples, from_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.assurance import PARTS, Assurance
from mosaic_fl.exchange.federation import MILLINATS, TEMPERATURES
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.condensed import condensed
from mosaic_fl.numerics.density import Density, fit_density
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.classroom import FIELD, Classroom, Product
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor

STAGE = "assurance"
DRAWN = 2000  # synthetic samples that are looked at
PUBLIC = 600  # public samples
LARGEST = 2**24  # values of either: fewer of large samples
STRANGE = 0.05  # of public samples may be below the threshold
FAMILIAR = 0.99  # of synthetic samples are below it where there are no public ones
# Real samples lie farther out than synthetic ones: 1.2 to 1.75 times at the same quantile (docs/notes/assurance.md).
MARGIN = 1.1  # times that, where public samples begin among synthetic ones
ALONE = 1.3  # and where there are none
PSEUDO = 50  # samples of the sites as which the teacher's word on synthetic ones counts
STIFFNESS = 10.0  # nats that log² of the temperature costs: few samples, all of them right, ask for one of nearly 0

Losses = Callable[[GlobalModel], Sequence[Tensor]]
"""A model -> tables of its losses on the clients' validation splits: `Federation.evaluate` with losses."""


def assured(
    classroom: Classroom,
    state: Mapping[str, Tensor],
    teacher: str,
    counts: Mapping[str, int],
    losses: Losses | None,
    journal: Journal,
) -> GlobalModel:
    """The student with the weights `state`, and what its file says of the trust in its predictions.

    `counts` are those of the transfer set: samples of generators, then decoded ones, are its first. `losses` asks
    the clients; None where nobody may be asked.
    """
    model = classroom.model(dict(state))
    stage = journal.stage(STAGE, partial(_fit, classroom, model, teacher, counts, losses))
    density = Density(*(stage.tensors[part] for part in PARTS)) if stage.tensors else None
    info = stage.info
    return replace(
        model, assurance=Assurance(info["temperature"], density, info["threshold"] or 1.0, info["reference"])
    )


def _fit(
    classroom: Classroom, model: GlobalModel, teacher: str, counts: Mapping[str, int], losses: Losses | None, _: Monitor
) -> Product:
    pool = classroom.pool
    schema = classroom.schema
    seed = classroom.config.run.seed
    device = classroom.device
    expert = model.expert()
    samples = from_tensors(schema.fields, pool, FIELD)
    drawn = counts["generators"] + counts.get("decoded", 0)
    few = min(DRAWN, max(1, LARGEST // schema.size))
    chosen = torch.randperm(drawn or len(samples), generator=Stream(seed, STAGE).torch())[:few]
    looked_at = samples[chosen]
    answers = expert.log_probabilities(looked_at, device)
    synthetic = _soft_losses(answers, pool[f"teacher/{teacher}"][chosen])
    heat = temperature(synthetic, [] if losses is None else losses(model))
    # What a fused network sees of several fields told noise from digits with an AUROC of 0.6 (docs/notes/assurance.md).
    if not drawn or schema.joins:
        return {}, Assurance(heat).to_json()
    seen = condensed(expert, looked_at, device)
    density = fit_density(seen, answers.argmax(1))
    public = _public(schema, min(PUBLIC, len(chosen)), Stream(seed, "strange"))
    beyond = None if public is None else density.distance(condensed(expert, public, device))
    threshold, reference = _threshold(density.distance(seen), beyond)
    assurance = Assurance(heat, density, threshold, reference)
    return {part: getattr(density, part) for part in PARTS}, assurance.to_json()


def temperature(synthetic: Tensor, real: Sequence[Tensor]) -> float:
    """The temperature of the least loss: on the clients' validation splits, and as `PSEUDO` samples on synthetic ones.

    It stays near 1 unless they say otherwise: see `STIFFNESS`.

    `synthetic` (T,) are mean losses in nats at each of `TEMPERATURES`; `real` are clients' tables of them.
    """
    off = torch.tensor(TEMPERATURES, dtype=torch.float64).log().square()
    total = PSEUDO * synthetic.double() + STIFFNESS * off
    for table in real:
        total = total + table[:, 1:].sum(0).double() / MILLINATS
    return TEMPERATURES[int(total.argmin())]


def _soft_losses(logits: Tensor, teacher: Tensor) -> Tensor:
    """The mean cross-entropy (T,) of a teacher's log-probabilities (n, C) and logits at each temperature."""
    shares = teacher.double().softmax(1)
    return torch.stack([-(shares * (logits.double() / heat).log_softmax(1)).sum(1).mean() for heat in TEMPERATURES])


def _threshold(familiar: Tensor, public: Tensor | None) -> tuple[float, str]:
    """The distance above which samples are strange, and what that is.

    Real samples lie farther out than synthetic ones, by how much nobody knows. So the threshold is where public samples
    begin, which no site has; but never below a little more than what nearly all synthetic samples reach.
    """
    margin = ALONE if public is None else MARGIN
    inside = margin * float(familiar.quantile(FAMILIAR))
    outside = 0.0 if public is None else float(public.quantile(STRANGE))
    if outside > inside:
        return outside, f"{100 * (1 - STRANGE):.0f} % of public samples are above it"
    return inside or 1.0, f"{margin} times what {100 * FAMILIAR:.0f} % of synthetic samples are below"


def _public(schema: Schema, n: int, stream: Stream) -> Samples | None:
    """Samples of one field without any task data, at most `n`; None where their kind has none."""
    few = max(1, min(n, LARGEST // schema.size))
    name, kind = next(iter(schema.fields.items()))
    draw: Callable[[int, Stream], Tensor] | None = getattr(kind, "strange", None)
    return (
        None
        if draw is None
        else Samples(schema.fields, {name: draw(few, Stream(stream.seed, f"{stream.stage}/{name}"))})
    )
