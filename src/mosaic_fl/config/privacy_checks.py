"""What a run under differential privacy may not do: everything that would leave a site without noise."""

from collections.abc import Collection, Sequence

from mosaic_fl.config import Config
from mosaic_fl.config.model_names import CLOSED_FORMS, JOINING, NO_MODEL, is_network
from mosaic_fl.config.privacy import PrivacyConfig
from mosaic_fl.errors import RefusalError, UsageError, excerpt

PRIVATE_GENERATORS = ("auto", "moments", "cvae", "none")
"""The settings of `generator.family` whose generators learn from noisy sums, or by noisy steps."""


def check_private(config: Config, models: Sequence[str] = ()) -> None:
    """Raise UsageError, with ε above 0, for the first setting by which something without noise would leave.

    `models` are the clients' architectures, where they are not those of the configuration.
    """
    privacy = config.privacy
    if not privacy.epsilon:
        return
    head = f"privacy.epsilon = {privacy.epsilon:g} covers networks and class moments"
    names = (*models, *config.models.clients)
    beside = bool(config.moments.encoder)
    formed = (NO_MODEL,) if beside else (*CLOSED_FORMS, NO_MODEL)
    foreign = next((name for name in names if not (name in formed or _learns_privately(name))), None)
    closed = None if beside else next((name for name in names if name in formed), None)
    family = config.generator.family
    way = f"{NO_MODEL}, beside --moments, or a network" if beside else "a network, or discriminant or ridge of vectors"
    reasons = {
        f"method {config.run.method} sends more: take mosaic": config.run.method != "mosaic",
        f"generator {family} has no noise: say --generator none beside --moments": beside and family != "none",
        f"generator {family} has no noise: say --generator cvae (images), moments (vectors) or none": family
        not in PRIVATE_GENERATORS,
        f"model {excerpt(foreign)} has no noise: say {way}": foreign is not None,
        f"model {closed} follows from class moments, not from generator {family}: say --generator moments": (
            closed is not None and family not in ("auto", "moments")
        ),
        f"components of classes are chosen from data without noise: set generator.components = 1, "
        f"not {config.generator.components}": config.generator.components > 1,
        "prototypes have no noise: set prototypes.per_class = 0": config.prototypes.per_class > 0,
        "rounds of averaging send weights without noise: set rounds.warm_up and rounds.fine_tune to 0": bool(
            config.rounds.warm_up or config.rounds.fine_tune
        ),
        "distill.choose sends exact scores of clients: set it to false": config.distill.choose is True,
        "experts.kind = class_average sends weights without noise: set it to clients": config.experts.kind != "clients",
        "private steps have no proximal term: set train.proximal = 0": config.train.proximal > 0,
    }
    if (reason := next((text for text, wrong in reasons.items() if wrong), None)) is not None:
        raise UsageError(f"{head}, and {reason}")


def _learns_privately(name: str) -> bool:
    return is_network(name) and name.split(":")[0] != JOINING


def require_epsilon(settings: Collection[str], privacy: PrivacyConfig) -> None:
    """Raise UsageError where the user sets some of `settings` of privacy and no ε: all would leave without noise."""
    if settings and not privacy.epsilon:
        raise UsageError(f"{', '.join(sorted(settings))} without an epsilon above 0 adds no noise: set epsilon, too")


def require_positive(epsilon: object) -> None:
    """Raise UsageError for an ε of 0 or less that a user asks for: there is no noise that strong."""
    try:
        is_positive = not isinstance(epsilon, int | float | str) or float(epsilon) > 0
    except ValueError:
        return  # the check of all settings tells it
    if not is_positive:
        raise UsageError(
            f"--epsilon {epsilon}: ε is above 0, and 0 would take endless noise; leave it out, or say inf, for a run "
            "without privacy"
        )


def of_site(wish: PrivacyConfig, own: PrivacyConfig) -> PrivacyConfig:
    """The privacy of a deployed site with `own` settings in its file, where a server has those of `wish`.

    The site's own stand as they are, shares included: so no server gets a second release of the same data by other
    settings. Raises RefusalError where the server wants privacy and the site has none, or wants a smaller ε or δ.
    """
    if wish.epsilon and not own.epsilon:
        raise RefusalError("the server asks for differential privacy: set epsilon and delta in this site's own file")
    if wish.epsilon and (wish.epsilon < own.epsilon or wish.delta < own.delta):
        raise RefusalError(
            f"the server asks for ε = {wish.epsilon:g}, δ = {wish.delta:g}, and this site's file says "
            f"{own.epsilon:g}, {own.delta:g}: lower epsilon or delta there"
        )
    return own
