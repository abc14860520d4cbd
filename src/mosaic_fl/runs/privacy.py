"""What a result says of differential privacy: of what, how much, by which mechanism, and what it does not cover."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mosaic_fl.client.contribute import Site
from mosaic_fl.client.private import released
from mosaic_fl.client.private_plan import plan_of, samples_needed
from mosaic_fl.config import Config
from mosaic_fl.config.model_names import without_batch_norm
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.privacy import Part
from mosaic_fl.notes import note
from mosaic_fl.numerics.noisy_sums import clipped_share

UNIT = "one sample more or less at one site"
MECHANISM = "Gaussian (analytic), one release of counts, sums and squares"
STEPS = "Gaussian noise on counts, and on the gradients of each step (DP-SGD)"
NOT_COVERED = (
    "further contributions of the same site, whose ε and δ add up",
    "several samples of one person, whose ε adds up",
    "the schema, the encoder and its length of vectors, which must be public",
    "that a site takes part, when, and how long its work takes",
)


def run_privacy(config: Config, sites: Sequence[Site]) -> dict[str, Any]:
    """The figure "privacy" of a simulation; empty without ε.

    It has `parts`, the releases of a client with a network, and where vectors are shortened `clipped`, the share of all
    samples whose vectors were, which no site would send.
    """
    if not config.privacy.epsilon:
        return {}
    schema = sites[0].data.schema
    plans = [plan_of(schema, name, config) for name in dict.fromkeys(site.architecture for site in sites)]
    about = _parts(dict.fromkeys(part for plan in plans for part in plan.parts))
    mechanism = next((plan.moments for plan in plans if plan.moments is not None), None)
    if mechanism is not None:
        samples = sum(len(site.data) for site in sites)
        shortened = sum(_clipped(site, config, mechanism.clip) * len(site.data) for site in sites)
        clipped = {"clip": mechanism.clip, "clipped": round(shortened / samples, 6), "noise": list(mechanism.noise)}
        about |= clipped
    return _figure(config.privacy.epsilon, config.privacy.delta, len(sites), len(sites), about)


def asked_privacy(config: Config, clients: int) -> dict[str, Any]:
    """The figure "privacy" of a deployed run, whose every contribution has the ε and δ of the settings, or less."""
    privacy = config.privacy
    about = {"mechanism": f"of each site by its file: {MECHANISM}, or {STEPS}"}
    return _figure(privacy.epsilon, privacy.delta, clients, clients, about) if privacy.epsilon else {}


def contributed_privacy(contributions: Sequence[Contribution]) -> dict[str, Any]:
    """The figure "privacy" of received contributions: the largest ε and δ of those that have any; else empty."""
    stated = [c.privacy for c in contributions if c.privacy is not None]
    if not stated:
        return {}
    epsilon = max(statement.epsilon for statement in stated)
    delta = max(statement.delta for statement in stated)
    about = _parts(dict.fromkeys(part for statement in stated for part in statement.parts))
    return _figure(epsilon, delta, len(stated), len(contributions), about)


def private_architecture(model: str, config: Config) -> str:
    """The architecture that a client with `model` trains: with ε that without batch norm, which is noted."""
    if not config.privacy.epsilon or (name := without_batch_norm(model)) == model:
        return model
    note(f"{model} is trained as {name}, with group norm: batch norm mixes samples, and has no differential privacy")
    return name


def note_weak_signal(site: Site, config: Config) -> None:
    """Note, at the site alone, the parts of its private contribution in which noise is larger than the signal."""
    plan = plan_of(site.data.schema, site.architecture, config)
    have = len(site.data)
    if short := {part: least for part, least in samples_needed(plan, site.data.schema).items() if least > have}:
        parts = ", ".join(f"{part} {least:,}" for part, least in short.items())
        note(
            f"client {site.client}: noise for ε = {config.privacy.epsilon:g} is larger than the signal of {have:,} "
            f"samples; as large as the signal it is with, for {parts} samples: raise --epsilon, or join data"
        )


def site_line(site: Site, config: Config) -> str:
    """What a site's own screen says of its private contribution; the share of clipped vectors stays there."""
    plan = plan_of(site.data.schema, site.architecture, config)
    clipped = ""
    if plan.moments is not None:
        share = _clipped(site, config, plan.moments.clip)
        clipped = f"; {100 * share:.1f} % of the vectors clipped to the length {plan.moments.clip:.4g}"
    how = "; ".join([_mechanism(plan.parts), *(part.summary for part in plan.parts)])
    return (
        f"Privacy: ε = {config.privacy.epsilon:g}, δ = {config.privacy.delta:g} for {UNIT}; {how}{clipped}. "
        f"Not covered: {'; '.join(NOT_COVERED)}"
    )


def _clipped(site: Site, config: Config, clip: float) -> float:
    return clipped_share(released(site.data, config).samples.only, clip)


def _mechanism(parts: Sequence[Part] | Mapping[Part, None]) -> str:
    return STEPS if parts else MECHANISM


def _parts(parts: Mapping[Part, None]) -> dict[str, Any]:
    return {"parts": [part.summary for part in parts], "mechanism": _mechanism(parts)} if parts else {}


def _figure(epsilon: float, delta: float, private: int, clients: int, about: dict[str, Any]) -> dict[str, Any]:
    figure = {"epsilon": epsilon, "delta": delta, "unit": UNIT, "mechanism": MECHANISM, **about}
    return {"privacy": figure | {"private": private, "clients": clients, "not_covered": list(NOT_COVERED)}}


def privacy_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a result, the content of `result.json`, that tell of its privacy; none without any."""
    if (privacy := result.get("privacy")) is None:
        return
    sites = f"{privacy['private']} of {privacy['clients']} sites"
    head = f"Privacy: ε = {privacy['epsilon']:g}, δ = {privacy['delta']:g} for {privacy['unit']} ({sites})"
    yield f"{head}; {'; '.join([privacy['mechanism'], *privacy.get('parts', [])])}"
    if "clipped" in privacy:
        yield f"Clipped: {100 * privacy['clipped']:.1f} % of the vectors, to the length {privacy['clip']:.4g}"
    yield f"Not covered: {'; '.join(privacy['not_covered'])}. Noise is new each time: the same run differs"
