"""Settings with which the server's work would fail, found before any client trains."""

from collections.abc import Sequence

from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_teacher
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.feature_moments import decodes
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.capability import Capability
from mosaic_fl.experts.naming import kind_of, require
from mosaic_fl.experts.reading import joins_fields
from mosaic_fl.generators.base import fields_drawn
from mosaic_fl.models.registry import check, is_foreign
from mosaic_fl.registries import GENERATORS, NO_FAMILY
from mosaic_fl.server.boosting import check_boosted, is_boosted
from mosaic_fl.server.class_moments import check_closed_form
from mosaic_fl.server.recipes import with_moments_prior
from mosaic_fl.server.students import is_network
from mosaic_fl.server.teachers import GATE
from mosaic_fl.server.transfer import has_prior, prior_source


def check_distillation(config: Config, schema: Schema, architectures: Sequence[str]) -> None:
    """Raise UsageError where `distill` could not use contributions of these architectures with these settings."""
    settings = config.distill
    kinds = sorted(set(architectures))
    source = prior_source(settings, schema)
    if schema.joins:
        check_joining(config, schema, kinds)
    else:
        schema.kind.check_prior(source)
    if len(kinds) > 1 and config.experts.kind == "class_average":
        raise UsageError(
            f"experts.kind = class_average averages weights, so all clients need one architecture and width, not "
            f"{', '.join(kinds)}: give them one (--models, models.ratios), or say experts.kind = clients"
        )
    family = config.generator.family
    if family not in NO_FAMILY and GENERATORS[family].learns_from_expert:
        require(kinds, {Capability.GRADIENTS}, f"generator {family}")
    if config.experts.kind == "class_average":
        require(kinds, {Capability.WEIGHTS}, "experts.kind = class_average")
    headless = len(kinds) > 1 or is_foreign(kinds[0]) or Capability.FEATURES not in kind_of(kinds[0]).capabilities
    if headless and not schema.is_space and config.meta.kind != "none" and config.meta.source == "prototypes":
        raise UsageError(
            f"meta.source = prototypes needs one built-in architecture at all clients, not {', '.join(kinds)}: "
            "use meta.source = synthetic"
        )
    check_teacher(config)
    if settings.fresh and source != "none":
        raise UsageError("distill.fresh draws from generators alone: set distill.prior = none, or fresh = false")


def check_joining(config: Config, schema: Schema, architectures: Sequence[str]) -> None:
    """Raise UsageError for settings that there are not for samples of several fields."""
    fields = f"samples have the fields {', '.join(schema.fields)}"
    if config.distill.prior not in ("auto", "none"):
        raise UsageError(f"distill.prior = {config.distill.prior} is of one field, and {fields}: set it to none")
    if GATE in (config.distill.teacher, *config.distill.candidates):
        raise UsageError(
            f"distill.teacher is gate, which knows samples by one client, and {fields}: name another one, as meta"
        )
    if config.experts.kind == "class_average":
        raise UsageError(f"experts.kind = class_average is for one field, and {fields}: set experts.kind = clients")
    if config.meta.kind != "none" and config.meta.source == "prototypes":
        raise UsageError(f"meta.source = prototypes is for one field, and {fields}: set meta.source = synthetic")
    if any(map(is_black_box, architectures)):
        raise UsageError(f"a black box answers for samples of one field, and {fields}: let its site send a model")
    averaged = [name for name in architectures if not joins_fields(name)]
    if config.rounds.warm_up and averaged:
        raise UsageError(
            f"rounds.warm_up averages networks that join fields, and model {averaged[0]!r} reads its client's alone: "
            "name fusion for all clients, as fusion:64, or set it to 0"
        )


def check_student(config: Config, schema: Schema, student: str) -> None:
    """Raise UsageError, before any work, where no global model of this name can be trained on samples of the schema."""
    if is_network(student):
        check(student, schema)
        return
    if config.rounds.fine_tune:
        raise UsageError(
            f"student {student} has no weights for rounds.fine_tune = {config.rounds.fine_tune} to average: "
            "set it to 0, or name a network"
        )
    if is_boosted(student):
        check_boosted(student, schema, config.distill)
    else:
        check_closed_form(student, schema, config.generator)


def check_transfer(config: Config, schema: Schema) -> None:
    """Raise UsageError where clients with these settings would leave nothing to distil on."""
    if config.generator.family not in NO_FAMILY:
        for name in fields_drawn(config.generator.family, schema) if schema.joins else schema.fields:
            GENERATORS[config.generator.family].check(config.generator, 0, schema.part([name]), None)
    if config.generator.family == "none" and not has_samples(config, schema):
        raise UsageError(
            "generator.family is none and there are no prior samples: add --prior photos (of tables: uniform), "
            "a generator, or --moments with an encoder that decodes, as strokes"
        )


def has_samples(config: Config, schema: Schema) -> bool:
    """Whether there is something to distil on where no client has a generator: prior samples, or decoded ones."""
    if config.moments.encoder:
        config = with_moments_prior(config, schema)
    return has_prior(config.distill, schema) or decodes(config, schema)
