"""The clients' class moments together: a teacher and a global model in closed form."""

from collections.abc import Sequence

import torch

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.closed_form import MIXTURE, QUADRATIC, check, closed_form_state, network_of
from mosaic_fl.generators.moments import ClassMoments, pool, pool_components
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import build
from mosaic_fl.numerics.components import Components
from mosaic_fl.numerics.moments import Moments
from mosaic_fl.numerics.states import State

FAMILY = "moments"
FAMILIES = (FAMILY, "exact_moments")


def tells(contribution: Contribution) -> bool:
    """Whether the client's generator is its class moments."""
    return contribution.generator_spec is not None and contribution.generator_spec.family in FAMILIES


def pooled(contributions: Sequence[Contribution]) -> Moments:
    """The moments of all clients that tell them together; raises UsageError where nobody does."""
    return pool(_tellers(contributions))


def parts_of(contributions: Sequence[Contribution]) -> list[Moments]:
    """The moments of each client that tells them; raises UsageError where nobody does."""
    return [generator.moments for generator in _tellers(contributions)]


def _tellers(contributions: Sequence[Contribution]) -> list[ClassMoments]:
    generators = [contribution.build_generator() for contribution in contributions if tells(contribution)]
    tellers = [generator for generator in generators if isinstance(generator, ClassMoments)]
    if not tellers:
        raise UsageError("no client sent class moments: let them contribute with --generator moments")
    return tellers


def closed_form(student: str, contributions: Sequence[Contribution]) -> State:
    """The state of the global model that `student` names."""
    tellers = _tellers(contributions)
    components = pool_components(tellers) if student == MIXTURE else None
    return closed_form_state(student, contributions[0].schema, pool(tellers), components)


def moments_teacher(contributions: Sequence[Contribution]) -> Classifier:
    """The discriminant of all clients' moments, as a teacher."""
    tellers = _tellers(contributions)
    return discriminant_of(contributions[0].schema, pool(tellers), pool_components(tellers))


def discriminant_of(schema: Schema, moments: Moments, components: Components | None = None) -> Classifier:
    """The discriminant of moments of samples of a schema: quadratic where these tell covariances of classes, and that
    of mixtures where there are `components`.
    """
    name = "discriminant" if moments.own is None else QUADRATIC
    name = name if components is None else MIXTURE
    with torch.random.fork_rng(devices=[]):
        network = build(network_of(name), schema)
    network.load_state_dict(dict(closed_form_state(name, schema, moments, components)))
    return network.eval()


def check_closed_form(student: str, schema: Schema, config: GeneratorConfig) -> None:
    """Raise UsageError where no such global model follows from what clients with these settings send."""
    check(student, schema)
    if schema.joins or schema.kind.name != "vector" or config.family not in ("auto", *FAMILIES):
        raise UsageError(
            f"student {student} follows from class moments of vectors: say --encoder, as gabor, and --generator "
            f"{FAMILY}, or name a network, as mlp:64"
        )
