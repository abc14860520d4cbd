"""What a run under differential privacy may not do: everything that would leave a site without noise."""

from collections.abc import Collection, Sequence

from mosaic_fl.config import Config
from mosaic_fl.config.model_names import CLOSED_FORMS, NO_MODEL
from mosaic_fl.config.privacy import PrivacyConfig
from mosaic_fl.errors import UsageError, excerpt


def check_private(config: Config, models: Sequence[str] = ()) -> None:
    """Raise UsageError, with ε above 0, for the first setting by which more than noisy class moments would leave.

    `models` are the clients' architectures, where they are not those of the configuration.
    """
    privacy = config.privacy
    if not privacy.epsilon:
        return
    head = f"privacy.epsilon = {privacy.epsilon:g} covers class moments alone"
    beside = bool(config.moments.encoder)
    allowed = (NO_MODEL,) if beside else (*CLOSED_FORMS, NO_MODEL)
    foreign = next((name for name in (*models, *config.models.clients) if name not in allowed), None)
    way = f"{NO_MODEL}, beside --moments" if beside else "discriminant or ridge (--preset encoder)"
    reasons = {
        f"method {config.run.method} sends more: take mosaic": config.run.method != "mosaic",
        f"generator {config.generator.family} has no noise: say --generator {'none' if beside else 'moments'}": (
            config.generator.family not in (("none",) if beside else ("auto", "moments"))
        ),
        f"model {excerpt(foreign)} has no noise: say {way}": foreign is not None,
        "prototypes have no noise: set prototypes.per_class = 0": config.prototypes.per_class > 0,
        "rounds of averaging send weights without noise: set rounds.warm_up and rounds.fine_tune to 0": bool(
            config.rounds.warm_up or config.rounds.fine_tune
        ),
        "distill.choose sends exact scores of clients: set it to false": config.distill.choose is True,
        "experts.kind = class_average sends weights without noise: set it to clients": config.experts.kind != "clients",
    }
    if (reason := next((text for text, wrong in reasons.items() if wrong), None)) is not None:
        raise UsageError(f"{head}, and {reason}")


def require_epsilon(settings: Collection[str], privacy: PrivacyConfig) -> None:
    """Raise UsageError where the user sets some of `settings` of privacy and no ε: all would leave without noise."""
    if settings and not privacy.epsilon:
        raise UsageError(f"{', '.join(sorted(settings))} without an epsilon above 0 adds no noise: set epsilon, too")


def of_site(wish: PrivacyConfig, own: PrivacyConfig) -> PrivacyConfig:
    """The privacy of a deployed site with `own` settings in its file, where a server has those of `wish`.

    The site's own stand as they are, shares included: so no server gets a second release of the same data by other
    settings. Raises UsageError where the server wants privacy and the site has none, or wants a smaller ε or δ.
    """
    if wish.epsilon and not own.epsilon:
        raise UsageError("the server asks for differential privacy: set epsilon and delta in this site's own file")
    if wish.epsilon and (wish.epsilon < own.epsilon or wish.delta < own.delta):
        raise UsageError(
            f"the server asks for ε = {wish.epsilon:g}, δ = {wish.delta:g}, and this site's file says "
            f"{own.epsilon:g}, {own.delta:g}: lower epsilon or delta there"
        )
    return own
