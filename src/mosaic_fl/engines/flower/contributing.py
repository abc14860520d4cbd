"""A client's contribution, release and answers to queries in steps, of which its memory keeps what is finished."""

import time
from dataclasses import replace

from mosaic_fl.client.answering import hold
from mosaic_fl.config import Config
from mosaic_fl.engines.flower.memory import Memory
from mosaic_fl.engines.tasks import AnswerTask, ContributeTask, TaskResult, Workplace
from mosaic_fl.exchange.contribution import Contribution


def contribute(work: ContributeTask, place: Workplace, memory: Memory) -> TaskResult:
    """A contribution in two steps, so that a kill during the second does not lose the classifier of the first."""
    config: Config = place.config
    if config.privacy.epsilon:
        return _release(work, place, memory)
    if config.generator.family == "none" and not config.prototypes.per_class:
        return work(place)
    bare = memory.classifier()
    if bare is None:
        bare = replace(work, bare=True, figures=True)(place)  # it stays here
        memory.keep_classifier(bare)
    trained = Contribution.from_bytes(bare.value, "the stored classifier")
    full = replace(work, trained=trained)(place)
    return TaskResult(full.value, bare.seconds + full.seconds, [*bare.metrics, *full.metrics])


def _release(work: ContributeTask, place: Workplace, memory: Memory) -> TaskResult:
    """The one private contribution of these data, in every run: a second release would cost ε again."""
    content = memory.release()
    if content is not None:
        return TaskResult(content, 0.0)
    result = work(place)
    memory.keep_release(result.value)
    return result


def answer_query(work: AnswerTask, place: Workplace, memory: Memory) -> TaskResult:
    """The answer of a black box. The model that it trains for the first query answers the later ones, too."""
    start = time.perf_counter()
    held = memory.held()
    if held is None:
        (site,) = place.sites.values()
        held = hold(site, place.config, place.device)
        if held is not None:
            memory.keep_held(held)
    result = replace(work, held=held)(place)
    return replace(result, seconds=time.perf_counter() - start)
