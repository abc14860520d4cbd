"""What a received file asks for is built and tried: here where that is cheap, else in a process with limits.

A few bytes can name a network that runs for hours. Its cost is counted first (`trial`), and so is what counting would
cost: thousands of parts, or a long text to parse. Whatever is above a small bound is built, and tried on one sample, in
a process that ends at its limits of memory and time (`numerics.confined`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from mosaic_fl.domains.samples import example_inputs, from_network
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.privacy import check_noise
from mosaic_fl.exchange.trial import Trial
from mosaic_fl.experts.boosted import HEAD as TREES
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.experts.reading import require_reader
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.models.loading import require_fit
from mosaic_fl.models.registry import build
from mosaic_fl.notes import note
from mosaic_fl.numerics.confined import Bounds, LimitError, can_confine, confined
from mosaic_fl.numerics.states import Weights

if TYPE_CHECKING:
    from mosaic_fl.exchange.contribution import Contribution
    from mosaic_fl.exchange.global_model import GlobalModel

# What a process may take that tries a file's networks. A large file takes time and memory to read anyway.
MEMORY = 2**30
MEMORY_A_BYTE = 12
SECONDS = 8.0
BYTES_A_SECOND = 2**24
# What is built and counted in this process, at most.
MAX_PARTS = 32  # fields of samples, or parts of a generator
MAX_NUMBERS = 2**22  # bytes of a state that is checked as a whole, as a covariance, or parsed, as trees


def probe(contribution: "Contribution") -> None:
    """Raise UsageError unless its weights fit their networks and these give finite outputs, within the limits.

    What costs little is tried on a sample of each class, what costs more on one sample in a process of its own. Where
    there is no such process (only Linux has it), a note says so, and outputs are checked where they are used.
    """
    schema = contribution.schema
    spec = contribution.generator_spec
    if schema.joins:
        require_reader(contribution.architecture, contribution.fields)
    if spec is not None and not set(spec.fields) <= set(contribution.fields):
        raise UsageError("its generator draws a field that the client does not have")

    def build_and_try(least: int) -> None:
        _try(contribution, _trial(contribution), least)

    size = _size(contribution.expert, contribution.generator)
    if not _costs_much(contribution):
        trial = _trial(contribution)
        if not trial.skips(size):
            _try(contribution, trial, 0)
            return
    _elsewhere(build_and_try, size, contribution.name)


def probe_model(model: "GlobalModel") -> None:
    """As `probe`, for a global model, of which only costly networks are tried."""
    schema = model.schema
    size = _size(model.state)

    def build_and_try(least: int) -> None:
        expert = model.expert()
        if least:
            expert.log_probabilities(from_network(schema.fields, example_inputs(schema.fields, least, torch.zeros)))

    if kind_of(model.architecture) is not NETWORK:
        if model.architecture != TREES or size <= MAX_NUMBERS:  # a model of another framework has its own process
            build_and_try(0)
            return
    elif len(schema.fields) <= MAX_PARTS and not Trial.of(schema, model.architecture, None).skips(size):
        require_fit(lambda: build(model.architecture, schema), model.state, "global model")
        return
    _elsewhere(build_and_try, size, "global model")


def _elsewhere(build_and_try: Callable[[int], None], size: int, name: str) -> None:
    """Build and try what is costly in a process with limits; where there is none, build it here and say so."""
    if not can_confine():
        note(f"{name} has costly networks, and only Linux has the process with limits in which they are tried")
        build_and_try(0)
        return
    bounds = Bounds(MEMORY + MEMORY_A_BYTE * size, round(SECONDS + size / BYTES_A_SECOND, 1))
    try:
        confined(lambda: build_and_try(1), bounds)
    except LimitError as error:
        raise UsageError(f"building its networks and trying one sample {error}: send smaller ones") from error


def _try(contribution: "Contribution", trial: Trial, least: int) -> None:
    """Build the networks and run the trial; raises UsageError for what does not fit, or is not finite."""
    expert = contribution.build_expert()
    generator = contribution.build_generator()
    moments = contribution.moments
    name = contribution.name
    checked = None if moments is None else moments.check(contribution.schema, contribution.class_counts, name)
    check_noise(contribution.privacy, [part for part in (generator, checked) if part is not None])
    rows = contribution.prototypes.features
    schema = contribution.schema
    if len(rows) and rows.shape[1] != (features := schema.size if schema.is_space else trial.features):
        raise UsageError(f"its prototypes have {rows.shape[1]} features, its expert {features}")
    size = _size(contribution.expert, contribution.generator)
    trial.run(None if contribution.is_black_box else expert, generator, size, least)
    if isinstance(generator, ClassMoments):
        generator.check_counts(contribution.class_counts, contribution.schema.classes)


def _trial(contribution: "Contribution") -> Trial:
    return Trial.of(contribution.schema, contribution.architecture, contribution.generator_spec, contribution.inputs)


def _costs_much(contribution: "Contribution") -> bool:
    """Whether even to count the cost of its networks, or to check its numbers, may take long."""
    schema = contribution.schema
    moments = contribution.moments
    checked: list[Weights] = [] if moments is None else [moments.state]
    if contribution.architecture == TREES:
        checked.append(contribution.expert)
    if schema.of_rows and contribution.generator is not None:
        checked.append(contribution.generator)
    spec = contribution.generator_spec
    parts = max(len(schema.fields), 0 if spec is None else _parts(spec))
    return parts > MAX_PARTS or _size(*checked) > MAX_NUMBERS


def _parts(spec: GeneratorSpec) -> int:
    return 1 + sum(map(_parts, spec.members))


def _size(*states: Weights | None) -> int:
    """The bytes of all weights."""
    return sum(tensor.nbytes for state in states if state for tensor in state.values())
