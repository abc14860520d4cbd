"""Students that are no networks trained by steps: gradient-boosted trees, and closed forms of class moments."""

from collections.abc import Sequence

from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.boosted import HEAD
from mosaic_fl.experts.closed_form import (
    MIXTURE,
    QUADRATIC,
    closed_form_state,
    components_of_data,
    is_closed_form,
    moments_of_data,
    network_of,
)
from mosaic_fl.models import default_student
from mosaic_fl.numerics.components import MOST
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.server.boosting import NAME, boost_pooled, is_boosted
from mosaic_fl.server.class_moments import tells


def suited_student(contributions: Sequence[Contribution]) -> str:
    """The global model's architecture where nobody names one: `quadratic` of noisy class moments and nothing else."""
    schema = contributions[0].schema
    if all(tells(c) and c.privacy is not None and not c.privacy.parts for c in contributions):
        return QUADRATIC
    return default_student(schema)


def is_network(student: str) -> bool:
    """Whether the student of this name is a network, which is trained by steps."""
    return not (is_boosted(student) or is_closed_form(student))


def global_name(student: str) -> str:
    """The architecture of a student's global model: its own name, or that of what a student without steps becomes."""
    if is_boosted(student):
        return f"{HEAD}{student.removeprefix(NAME)}"
    return network_of(student) if is_closed_form(student) else student


def pooled_state(student: str, data: Dataset, config: Config) -> State:
    """The state of such a student that learns from real samples and their labels: the reference on pooled data."""
    if is_closed_form(student):
        moments = moments_of_data(data, own=student == QUADRATIC)
        stream = Stream(config.run.seed, "centralised")
        components = components_of_data(data, moments, MOST, stream) if student == MIXTURE else None
        return closed_form_state(student, data.schema, moments, components)
    return boost_pooled(student, data, config)
