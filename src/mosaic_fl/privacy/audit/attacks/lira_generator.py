"""LiRA on the generator (Carlini et al. 2022, offline): how much nearer it draws than generators that never saw it."""

from dataclasses import replace

import torch

from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.trial import generator_work
from mosaic_fl.generators.base import MERGED, PRODUCT, Generator
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.privacy.audit.attacks.nearest import NO_GENERATOR, TINY
from mosaic_fl.privacy.audit.case import Case, Pair, Shadows
from mosaic_fl.registries import GENERATORS
from mosaic_fl.training.monitor import Recorder

MOST_STEPS = 300  # with half of them a shadow calibrates worse than none
SHARE = 0.5  # of the seconds
PASSES = 1.5  # of the estimated work that a step of training takes: the estimate is for a slow core


def lira_generator(case: Case) -> Pair | str:
    """The logarithm of the mean distance to the nearest sample of shadow generators without it, less the generator's.

    Shadows learn by the contribution's own settings, up to `MOST_STEPS`, in pairs, each of one half of all members and
    strangers. So each sample is left out by as many of them, and members and strangers are calibrated alike. A step
    may look at the client's model as the generator did: the attacker has it.
    """
    if case.generator is None:
        return NO_GENERATOR
    if case.shadows is None:
        return "no shadow generators are asked for (audit.shadows)"
    family = case.generator.spec.family
    if family in (MERGED, PRODUCT):
        return f"generators of the kind {family} are not trained anew here"
    steps = min(MOST_STEPS, case.shadows.settings.steps_for(max(1, len(case.everyone) // 2)))
    pairs = _pairs(case, case.shadows, steps)
    if pairs < 1:
        return f"shadow generators take longer than {case.seconds:g} s"
    outside = torch.zeros(len(case.everyone))
    for pair in range(pairs):
        order = torch.randperm(len(case.everyone), generator=_stream(case, "", pair).torch())
        halves = order.tensor_split(2)
        for turn, half in enumerate(halves):
            try:
                shadow = _shadow(case, case.shadows, half, steps, _stream(case, f"/{turn}", pair))
            except MosaicError as error:
                return f"a shadow generator could not be trained: {error}"
            others = halves[1 - turn]
            outside[others] += _distances(_with(case, shadow, pairs))[others]
    return case.parted(outside / pairs - _distances(case))


def _pairs(case: Case, shadows: Shadows, steps: int) -> int:
    """How many of the pairs that are asked for the seconds allow, of so many `steps` each."""
    spec = case.contribution.generator_spec
    assert spec is not None
    if not GENERATORS[spec.family].has_steps:
        return shadows.pairs
    batch = min(shadows.settings.batch_size, max(1, len(case.everyone) // 2))
    work = generator_work(spec, case.contribution.schema)
    each = PASSES * (batch * work.seconds + work.call_seconds)
    return min(shadows.pairs, int(SHARE * case.seconds / (2 * steps * each)))


def _shadow(case: Case, shadows: Shadows, half: torch.Tensor, steps: int, stream: Stream) -> Generator:
    """A generator of the samples at the places `half` alone."""
    assert case.generator is not None
    spec = case.generator.spec
    own = {"family": spec.family, "latent": spec.latent, "width": spec.width}
    settings = shadows.settings.model_copy(update=own | {"steps": steps, "epochs": 0})
    expert = None if case.contribution.is_black_box else case.expert
    network = expert if isinstance(expert, Classifier) else None
    data = case.everyone.subset(half)
    family = GENERATORS[spec.family]
    family.check(settings, len(data), data.schema, network)
    return family.train(data, network, settings, stream, torch.device("cpu"), Recorder("generator", stream.client))


def _with(case: Case, shadow: Generator, pairs: int) -> Case:
    """The same samples beside a shadow. All shadows together draw in the seconds of the generator itself, or so."""
    sent = replace(case.contribution, generator_spec=shadow.spec, generator=copy_state(shadow))
    return replace(case, contribution=sent, seconds=case.seconds / (2 * pairs))


def _distances(case: Case) -> torch.Tensor:
    """Logarithms (m + n,) of the distances of everyone to the nearest synthetic sample."""
    return case.nearest.first.clamp(min=TINY).log()


def _stream(case: Case, part: str, pair: int) -> Stream:
    return Stream(case.stream.seed, f"{case.stream.stage}/lira_generator{part}", case.stream.client, pair)
