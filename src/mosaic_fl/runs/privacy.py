"""What a result says of differential privacy: of what, how much, by which mechanism, and what it does not cover."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mosaic_fl.client.contribute import Site
from mosaic_fl.client.private import mechanism_of, released
from mosaic_fl.config import Config
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.noisy_sums import clipped_share

UNIT = "one sample more or less at one site"
MECHANISM = "Gaussian (analytic), one release of counts, sums and squares"
NOT_COVERED = (
    "further contributions of the same site, whose ε and δ add up",
    "several samples of one person, whose ε adds up",
    "the schema, the encoder and its length of vectors, which must be public",
    "that a site takes part, when, and how long its work takes",
)


def run_privacy(config: Config, sites: Sequence[Site]) -> dict[str, Any]:
    """The figure "privacy" of a simulation; empty without ε.

    It has `clipped`, the share of all samples whose vectors were shortened, which no site would send.
    """
    if not config.privacy.epsilon:
        return {}
    mechanism = mechanism_of(sites[0].data, config)
    samples = sum(len(site.data) for site in sites)
    shortened = sum(_clipped(site, config, mechanism.clip) * len(site.data) for site in sites)
    about = {"clip": mechanism.clip, "clipped": round(shortened / samples, 6), "noise": list(mechanism.noise)}
    return _figure(config.privacy.epsilon, config.privacy.delta, len(sites), len(sites), about)


def asked_privacy(config: Config, clients: int) -> dict[str, Any]:
    """The figure "privacy" of a deployed run, whose every contribution has the ε and δ of the settings, or less."""
    privacy = config.privacy
    return _figure(privacy.epsilon, privacy.delta, clients, clients, {}) if privacy.epsilon else {}


def contributed_privacy(contributions: Sequence[Contribution]) -> dict[str, Any]:
    """The figure "privacy" of received contributions: the largest ε and δ of those that have any; else empty."""
    stated = [c.privacy for c in contributions if c.privacy is not None]
    if not stated:
        return {}
    epsilon = max(statement.epsilon for statement in stated)
    return _figure(epsilon, max(statement.delta for statement in stated), len(stated), len(contributions), {})


def site_line(site: Site, config: Config) -> str:
    """What a site's own screen says of its private contribution; the share of clipped vectors stays there."""
    mechanism = mechanism_of(site.data, config)
    share = _clipped(site, config, mechanism.clip)
    return (
        f"Privacy: ε = {config.privacy.epsilon:g}, δ = {config.privacy.delta:g} for {UNIT}; {MECHANISM}; "
        f"{100 * share:.1f} % of the vectors clipped to the length {mechanism.clip:.4g}. Not covered: "
        f"{'; '.join(NOT_COVERED)}"
    )


def _clipped(site: Site, config: Config, clip: float) -> float:
    return clipped_share(released(site.data, config).samples.only, clip)


def _figure(epsilon: float, delta: float, private: int, clients: int, about: dict[str, Any]) -> dict[str, Any]:
    figure = {"epsilon": epsilon, "delta": delta, "unit": UNIT, "mechanism": MECHANISM, **about}
    return {"privacy": figure | {"private": private, "clients": clients, "not_covered": list(NOT_COVERED)}}


def privacy_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a result, the content of `result.json`, that tell of its privacy; none without any."""
    if (privacy := result.get("privacy")) is None:
        return
    sites = f"{privacy['private']} of {privacy['clients']} sites"
    head = f"Privacy: ε = {privacy['epsilon']:g}, δ = {privacy['delta']:g} for {privacy['unit']} ({sites})"
    yield f"{head}; {privacy['mechanism']}"
    if "clipped" in privacy:
        yield f"Clipped: {100 * privacy['clipped']:.1f} % of the vectors, to the length {privacy['clip']:.4g}"
    yield f"Not covered: {'; '.join(privacy['not_covered'])}. Noise is new each time: the same run differs"
