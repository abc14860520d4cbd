"""Settings with which the server's work would fail, found before any client trains."""

from collections.abc import Sequence

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models.registry import is_foreign
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.transfer import has_prior


def check_distillation(config: Config, schema: Schema, architectures: Sequence[str]) -> None:
    """Raise UsageError where `distill` could not use contributions of these architectures with these settings."""
    settings, kinds = config.distill, sorted(set(architectures))
    source = schema.kind.prior_source(settings.prior)
    schema.kind.check_prior(source)
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
    if config.meta.kind == "none" and "meta" in (settings.teacher, *settings.candidates):
        raise UsageError("distill.teacher is meta, but meta.kind is none: set one of them otherwise")
    if asks_meta(config) and config.generator.family == "none":
        raise UsageError("distill.teacher is meta, which learns from generators, but generator.family is none")
    if settings.fresh and source != "none":
        raise UsageError("distill.fresh draws from generators alone: set distill.prior = none, or fresh = false")


def check_one_exchange(config: Config) -> None:
    """Raise UsageError for settings that ask clients again, where there is nothing of them but their contributions."""
    asked = {
        "distill.choose = true": config.distill.choose,
        f"rounds.warm_up = {config.rounds.warm_up}": config.rounds.warm_up,
        f"rounds.fine_tune = {config.rounds.fine_tune}": config.rounds.fine_tune,
    }
    if again := [setting for setting, on in asked.items() if on]:
        raise UsageError(
            f"{', '.join(again)}: that asks clients again, and files have none: set it to false or 0, or let clients "
            "work together, with mosaic deploy or mosaic run"
        )


def asks_meta(config: Config) -> bool:
    """Whether a teacher that may teach is a meta model that learns from samples of the clients' generators."""
    asked = "meta" in (config.distill.teacher, *config.distill.candidates)
    return asked and config.meta.kind != "none" and config.meta.source == "synthetic"


def check_transfer(config: Config, schema: Schema) -> None:
    """Raise UsageError where clients with these settings would leave nothing to distil on."""
    if config.generator.family not in ("auto", "none"):
        GENERATORS[config.generator.family].check(config.generator, 0, schema, None)
    if config.generator.family == "none" and not has_prior(config.distill, schema):
        raise UsageError("generator.family is none and there are no prior images: add --prior photos, or a generator")
