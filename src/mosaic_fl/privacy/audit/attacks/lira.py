"""LiRA, offline (Carlini, Chien, Nasr, Song, Terzis & Tramèr 2022): how much better than models that never saw it."""

import torch

from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.experts.reading import rows_for
from mosaic_fl.experts.training import steps_for
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.attacks.loss import margins, readable
from mosaic_fl.privacy.audit.case import Case, Pair
from mosaic_fl.training.monitor import Recorder

MOST_PAIRS = 8  # of shadow models
MOST_STEPS = 100
SHARE = 0.5  # of the seconds
PASSES = 1.5  # of the estimated work that a step of training takes: the estimate is for a slow core


def lira(case: Case) -> Pair | str:
    """The margin of the expert, less the mean margin of shadow models that were trained without the sample.

    Shadow models learn by the expert's own settings, up to `MOST_STEPS`, in pairs, each of one half of all members and
    strangers. So each sample is left out by as many of them, and members and strangers are calibrated alike. With so
    few of them one variance serves all samples, as the paper advises, and a common one changes no rank.
    """
    contribution = case.contribution
    name = contribution.architecture
    if contribution.is_black_box:
        return "the model stays at its site"
    if kind_of(name) is not NETWORK:
        return f"models of the kind {name.split(':')[0]} are not trained anew here"
    inputs = contribution.inputs
    data = case.everyone
    sizes = case.train
    steps = min(MOST_STEPS, steps_for(max(1, len(data) // 2), sizes))
    batch = min(sizes.batch_size, max(1, len(data) // 2))
    work = kind_of(name).outline(name, inputs).work
    seconds = steps * PASSES * (batch * work.seconds + work.call_seconds)
    pairs = min(MOST_PAIRS, int(SHARE * case.seconds / (2 * seconds)))
    if pairs < 1:
        return f"shadow models take longer than {case.seconds:g} s"
    config = sizes.model_copy(update={"max_steps": steps, "min_steps": steps})
    outside = torch.zeros(len(data), dtype=torch.float64)
    for pair in range(pairs):
        stream = Stream(case.stream.seed, f"{case.stream.stage}/lira", case.stream.client, pair)
        order = torch.randperm(len(data), generator=stream.torch())
        halves = order.tensor_split(2)
        for turn, half in enumerate(halves):
            part = rows_for(name, data.subset(half), inputs)
            if not len(part):
                return "too few samples have the fields that the model needs"
            own = Stream(case.stream.seed, f"{case.stream.stage}/lira/{turn}", case.stream.client, pair)
            with own.ambient():
                shadow = NETWORK.make(name, inputs)
            NETWORK.fit(shadow, part, part.subset([]), config, own, torch.device("cpu"), Recorder())
            others = halves[1 - turn]
            outside[others] += margins(contribution.reading(shadow), data.subset(others))
    return readable(case, margins(case.expert, data) - outside / pairs)
