"""The audit of a contribution at its site: who was trained on, and who was not."""

from mosaic_fl.client.contribute import Site, split
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.audit import audit
from mosaic_fl.privacy.audit.case import Shadows
from mosaic_fl.privacy.audit.figures import LEAST
from mosaic_fl.privacy.audit.finding import Audit
from mosaic_fl.privacy.audit.matching import matched
from mosaic_fl.privacy.audit.overlap import require_apart, without_twins

VALIDATION = "the validation split"
HOLD_OUT = "the hold-out"


def sides(contribution: Contribution, data: Dataset, config: Config) -> tuple[Dataset, Dataset]:
    """(members, strangers): the training and validation samples of a site that has sent `contribution`.

    The settings are those that it was made with. Raises UsageError where the training samples are others than the
    contribution counts; a different seed alone changes no count, so it cannot be told.
    """
    if contribution.privacy is not None:  # nothing was held back, and its counts have noise
        config = config.with_values({"data.validation": 0.0})
    members, strangers = split(Site(contribution.client, data, contribution.architecture), config)
    counts = members.class_counts()
    if contribution.privacy is None and not counts.equal(contribution.class_counts):
        raise UsageError(
            f"of these data {len(members):,} samples would be trained on, {_words(counts.tolist())} by class, but the "
            f"contribution counts {int(contribution.class_counts.sum()):,}, "
            f"{_words(contribution.class_counts.tolist())}: give the data and the settings that it was made with"
        )
    return members, strangers


def audit_file(contribution: Contribution, data: Dataset, config: Config, holdout: Dataset | None = None) -> Audit:
    """The audit of a contribution by the `data` of its site; strangers are the validation split, or `holdout`."""
    members, strangers = sides(contribution, data, config)
    if holdout is not None:
        require_apart(members, holdout)
        stream = Stream(config.run.seed, "audit/matched", contribution.client)
        return run_audit(contribution, members, matched(members, holdout, stream), config, HOLD_OUT)
    if len(strangers) < LEAST:
        raise UsageError(
            f"of these data {len(strangers)} are held back, and an interval needs {LEAST} strangers: give some, by "
            "--holdout FILE, or let mosaic contribute audit by halves (audit.strangers)"
        )
    return run_audit(contribution, members, without_twins(members, strangers), config, VALIDATION)


def run_audit(contribution: Contribution, members: Dataset, strangers: Dataset, config: Config, basis: str) -> Audit:
    """The audit with the seed, the seconds and the training of the settings."""
    shadows = Shadows(config.audit.shadows, config.generator) if config.audit.shadows else None
    seed = config.run.seed
    seconds = config.audit.seconds
    return audit(
        contribution, members, strangers, seed, seconds=seconds, basis=basis, train=config.train, shadows=shadows
    )


def _words(counts: list[int]) -> str:
    few = ", ".join(map(str, counts[:10]))
    return few if len(counts) <= 10 else f"{few}, …"
