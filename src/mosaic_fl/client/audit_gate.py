"""The gate at a site: what its audit finds too telling does not leave, unless the site takes the risk."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch

from mosaic_fl.client.audited import run_audit, sides
from mosaic_fl.client.contribute import Site, common_start, contribute, split
from mosaic_fl.config import Config
from mosaic_fl.data.validation import hold_out
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import GateError
from mosaic_fl.exchange.audited import Audited, not_audited
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.base import MERGED, PRODUCT
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.figures import LEAST, newcombe
from mosaic_fl.privacy.audit.finding import Audit
from mosaic_fl.privacy.audit.halves import mean_of
from mosaic_fl.privacy.audit.overlap import without_twins
from mosaic_fl.privacy.audit.verdict import statement
from mosaic_fl.training.monitor import Recorder

ROOM = 0.6  # of the distance from 0.5 to the limit that an interval around 0.5 may fill
FEWEST = 2  # samples of a generator: a half has one where the whole has
VALIDATION = "the validation split"
HALVES = "the other half, for a contribution of each half"
WAYS = {
    "generator": "fewer generator.steps, --generator none, or class moments with noise (--preset encoder --epsilon)",
    "moments": "noise (--epsilon), or an encoder of fewer numbers",
    "expert": "a smaller model, or fewer train.epochs and train.max_steps",
    "prototypes": "a larger prototypes.min_cluster, or prototypes.per_class = 0",
}
"""What may help, by the part that tells too much."""

Train = Callable[[Site, Config], Contribution]
"""A contribution of a part of a site, by the same recipe; it never leaves."""


def pass_gate(
    site: Site,
    contribution: Contribution,
    config: Config,
    train: Train,
    usual: Literal["off", "warn"],
    accepted: str = "",
) -> tuple[Contribution, Audited | None]:
    """The contribution as it may leave, and what its audit found; None without one.

    `usual` is what `audit.gate = auto` means here. Where the settings name a gate, or `accepted` a reason to take the
    risk, the contribution says what was found. Raises GateError where the gate refuses.
    """
    gate = usual if config.audit.gate == "auto" else config.audit.gate
    if gate == "off" and not accepted:
        return contribution, None
    found = examine(site, contribution, config, train, thorough=gate == "refuse" or bool(accepted))
    if found is None:
        return contribution, None
    if accepted and found.passes:
        note(f"the contribution passes its audit: there is no risk to accept ({accepted})")
    elif accepted:
        found = replace(found, accepted=accepted)
    elif gate == "refuse" and not found.passes:
        raise GateError(f"nothing leaves: {refusal(found, contribution)}")
    if config.audit.gate == "auto" and not accepted:
        return contribution, found
    return replace(contribution, audit=found), found


def trainer(device: torch.device) -> Train:
    """Trains in silence, from nothing that was trained on the site's samples before."""

    def train(site: Site, config: Config) -> Contribution:
        start = common_start(config, site.architecture, site.data.schema)
        return contribute(site, config, device, lambda stage: Recorder(stage, site.client), start)

    return train


def refusal(found: Audited, contribution: Contribution) -> str:
    """What did not pass, and the ways out."""
    samples = int(contribution.class_counts.sum())
    ways = f"{WAYS[found.on]}; " if found.on in WAYS else ""
    return (
        f"the contribution {found.summary}. What helps: {ways}more samples than {samples:,}; or take the risk, which "
        "the server is told: --accept-risk REASON (of a deployed site: gate = warn)"
    )


def examine(site: Site, contribution: Contribution, config: Config, train: Train, *, thorough: bool) -> Audited | None:
    """What the audit finds; None where nothing can be scored, and where noise bounds what any attack finds.

    Strangers are the validation split. With `thorough`, where that is too small for a narrow interval, contributions
    of two halves are made and audited in its place: each half is the other one's stranger. They have half the samples,
    so they tell more than the contribution itself, and not less.
    """
    if contribution.privacy is not None:
        return None
    samples = int(contribution.class_counts.sum())
    limit = config.audit.limit_for(samples)
    members, strangers = sides(contribution, site.data, config)
    how = config.audit.strangers
    if how == "auto":
        how = "halves" if thorough and not is_narrow(len(members), len(strangers), limit) else "validation"
    if how == "validation":
        if min(len(members), len(strangers)) < LEAST:
            way = "; audit.strangers = halves takes two trainings more" if len(site.data) >= 2 * LEAST else ""
            return not_audited(f"fewer than {LEAST} samples are held back, or trained on{way}", limit)
        others = without_twins(members, strangers)
        if len(others) < LEAST:
            return not_audited(
                f"of {len(strangers)} samples held back only {len(others)} are like none trained on", limit
            )
        found = run_audit(contribution, members, others, config, VALIDATION)
    else:
        parts = hold_out(site.data, 0.5, Stream(config.run.seed, "audit/halves", site.client))
        recipe = _recipe(contribution, config)
        if min(len(split(replace(site, data=part), recipe)[0]) for part in parts) < LEAST:
            return not_audited(f"{len(site.data)} samples are too few for two halves of {LEAST}", limit)
        found = _by_halves(site, parts, recipe, train)
    return statement(found, limit)


def is_narrow(members: int, strangers: int, limit: float) -> bool:
    """Whether the interval of an AUC of 0.5 of so many samples leaves room for what chance does to several attacks."""
    if min(members, strangers) < LEAST:
        return False
    return newcombe(0.5, members, strangers)[1] - 0.5 <= ROOM * (limit - 0.5)


def _by_halves(site: Site, parts: tuple[Dataset, Dataset], recipe: Config, train: Train) -> Audit:
    audits = list[Audit]()
    for own, others in (parts, parts[::-1]):
        half = replace(site, data=own)
        members, _ = split(half, recipe)
        audits.append(run_audit(train(half, recipe), members, without_twins(members, others), recipe, HALVES))
    return mean_of(audits, HALVES)


def _recipe(contribution: Contribution, config: Config) -> Config:
    """The settings of a half: its generator is of the same family, and is made of however few samples."""
    spec = contribution.generator_spec
    family = {} if spec is None or spec.family in (PRODUCT, MERGED) else {"generator.family": spec.family}
    if spec is None:
        family = {"generator.family": "none"}
    return config.with_values({"generator.min_samples": FEWEST, "audit.seconds": config.audit.seconds / 2, **family})
