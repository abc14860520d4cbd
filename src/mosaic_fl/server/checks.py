"""Settings with which the server's work would fail, found before any client trains."""

from collections.abc import Sequence

from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_teacher
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.capability import Capability
from mosaic_fl.experts.naming import kind_of, require
from mosaic_fl.models.registry import check, is_foreign
from mosaic_fl.registries import GENERATORS, NO_FAMILY
from mosaic_fl.server.boosting import check_boosted, is_boosted
from mosaic_fl.server.transfer import has_prior


def check_distillation(config: Config, schema: Schema, architectures: Sequence[str]) -> None:
    """Raise UsageError where `distill` could not use contributions of these architectures with these settings."""
    settings = config.distill
    kinds = sorted(set(architectures))
    source = schema.kind.prior_source(settings.prior)
    schema.kind.check_prior(source)
    if len(kinds) > 1 and config.experts.kind == "class_average":
        raise UsageError(
            f"experts.kind = class_average averages weights, so all clients need one architecture and width, not "
            f"{', '.join(kinds)}: give them one (--models, models.ratios), or say experts.kind = clients"
        )
    family = config.generator.family
    if family not in ("auto", "none") and GENERATORS[family].learns_from_expert:
        require(kinds, {Capability.GRADIENTS}, f"generator {family}")
    if config.experts.kind == "class_average":
        require(kinds, {Capability.WEIGHTS}, "experts.kind = class_average")
    headless = len(kinds) > 1 or is_foreign(kinds[0]) or Capability.FEATURES not in kind_of(kinds[0]).capabilities
    if headless and config.meta.kind != "none" and config.meta.source == "prototypes":
        raise UsageError(
            f"meta.source = prototypes needs one built-in architecture at all clients, not {', '.join(kinds)}: "
            "use meta.source = synthetic"
        )
    check_teacher(config)
    if settings.fresh and source != "none":
        raise UsageError("distill.fresh draws from generators alone: set distill.prior = none, or fresh = false")


def check_student(config: Config, schema: Schema, student: str) -> None:
    """Raise UsageError, before any work, where no global model of this name can be trained on samples of the schema."""
    if not is_boosted(student):
        check(student, schema)
        return
    if config.rounds.fine_tune:
        raise UsageError(
            f"student {student} has no weights for rounds.fine_tune = {config.rounds.fine_tune} to average: "
            "set it to 0, or name a network"
        )
    check_boosted(student, schema, config.distill)


def check_transfer(config: Config, schema: Schema) -> None:
    """Raise UsageError where clients with these settings would leave nothing to distil on."""
    if config.generator.family not in NO_FAMILY:
        GENERATORS[config.generator.family].check(config.generator, 0, schema, None)
    if config.generator.family == "none" and not has_prior(config.distill, schema):
        raise UsageError(
            "generator.family is none and there are no prior samples: add --prior photos (of tables: uniform), "
            "or a generator"
        )
