"""Models that are no networks, in a forecast: what is timed of them, and what cannot be told."""

import time
from collections.abc import Callable, Iterable

from mosaic_fl.config.model_names import ESTIMATOR_FORMS, estimator_numbers
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.closed_form import is_closed_form
from mosaic_fl.experts.kind import no_outline
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.no_model import has_model
from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.work import Unit
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.boosting import boost, is_boosted
from mosaic_fl.server.student import Lesson
from mosaic_fl.training.monitor import Recorder

SECONDS = 5e-6  # the guess for a sample of a fit
FEW_TREES = 2
MORE_TREES = 12
ANSWER = 1e-4  # the guess for a sample that such a model answers


def is_network(name: str) -> bool:
    """Whether the model of that name is a network, whose work is counted by steps. Others are timed by samples."""
    return kind_of(name).outline is not no_outline and not is_closed_form(name)


def not_counted(experts: Iterable[str], student: str = "") -> list[str]:
    """What a forecast does not include, in words."""
    reasons = list[str]()
    names = set(experts)
    foreign = sorted(name for name in names if not is_network(name) and not is_black_box(name) and has_model(name))
    if foreign:
        reasons.append(f"the bytes of clients' models that are no networks ({', '.join(foreign)})")
    if any(map(is_black_box, names)):
        reasons.append("what black boxes take to answer, and the bytes of queries and answers")
    if is_boosted(student):
        reasons.append(f"the bytes of the global model ({student})")
    return reasons


def fit_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """A training sample of an expert that is no network, in a fit to n of them, as a client fits it."""
    data = bench.data(n)

    def fit(name: str) -> None:
        kind = kind_of(name)
        expert = kind.make(name, bench.schema)
        kind.fit(expert, data, data.subset([]), bench.config.train, bench.stream, bench.device, Recorder())

    return _of_all_trees(unit.name, fit) / n


def boost_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """A sample of the pool from which boosted trees learn, in a fit to n of them."""
    data = bench.data(n)
    lesson = Lesson(data.samples, data.labels, bench.outputs(n, 1)[:, 0].log_softmax(1))
    stream = Stream(bench.config.run.seed, "forecast-boosting")
    return (
        _of_all_trees(
            unit.name, lambda name: boost(name, bench.schema, lesson, bench.config.distill, stream, Recorder())
        )
        / n
    )


def _of_all_trees(name: str, fit: Callable[[str], object]) -> float:
    """Seconds of `fit(name)`; where the name says how many trees, two fits with few of them say what each one takes."""
    head = name.split(":")[0]
    numbers = estimator_numbers(name) if head in ESTIMATOR_FORMS else []
    if not numbers or numbers[0] < 2 * MORE_TREES:
        return _seconds(lambda: fit(name))
    fit(f"{head}:1")  # imports
    few = _seconds(lambda: fit(f"{head}:{FEW_TREES}"))
    more = _seconds(lambda: fit(f"{head}:{MORE_TREES}"))
    return few + max(0.0, more - few) * (numbers[0] - FEW_TREES) / (MORE_TREES - FEW_TREES)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
