"""Settings with which the server's work would fail, found before any client trains."""

from collections.abc import Sequence

from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_teacher
from mosaic_fl.data.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.flow import flow_spec
from mosaic_fl.models.registry import is_foreign
from mosaic_fl.server.prior import check_prior
from mosaic_fl.server.transfer import has_prior, prior_kind


def check_distillation(config: Config, schema: Schema, architectures: Sequence[str]) -> None:
    """Raise UsageError where `distill` could not use contributions of these architectures with these settings."""
    settings, kinds = config.distill, sorted(set(architectures))
    check_prior(prior_kind(settings, schema))
    if len(kinds) > 1 and config.experts.kind == "class_average":
        raise UsageError(
            f"experts.kind = class_average averages weights, so all clients need one architecture and width, not "
            f"{', '.join(kinds)}: give them one (--models, models.ratios), or say experts.kind = clients"
        )
    headless = len(kinds) > 1 or is_foreign(kinds[0])
    if headless and config.meta.kind != "none" and config.meta.source == "prototypes":
        raise UsageError(
            f"meta.source = prototypes needs one built-in architecture at all clients, not {', '.join(kinds)}: "
            "use meta.source = synthetic"
        )
    check_teacher(config)
    if settings.fresh and prior_kind(settings, schema) != "none":
        raise UsageError("distill.fresh draws from generators alone: set distill.prior = none, or fresh = false")


def check_transfer(config: Config, schema: Schema) -> None:
    """Raise UsageError where clients with these settings would leave nothing to distil on."""
    if config.generator.family == "flow":
        flow_spec(schema, config.generator.width)
    if config.generator.family == "none" and not has_prior(config.distill, schema):
        raise UsageError("generator.family is none and there are no prior images: add --prior photos, or a generator")
