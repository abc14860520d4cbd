"""The audit of a contribution: every attack, and how well it tells members from strangers."""

import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.attacks import ATTACKS, EXPERT
from mosaic_fl.privacy.audit.case import DEFAULT, Attack, Case, Shadows
from mosaic_fl.privacy.audit.figures import LEAST, area, caught, require_enough, risk
from mosaic_fl.privacy.audit.finding import Audit, Finding
from mosaic_fl.privacy.audit.overlap import require_apart

MOST = 1000  # members, and as many strangers, that are scored
STAGE = "audit"
GLOBAL_MODEL = "global model"


def audit(
    contribution: Contribution,
    members: Dataset,
    strangers: Dataset,
    stream: Stream | int,
    *,
    seconds: float = 20,
    basis: str = "",
    train: TrainConfig | None = None,
    shadows: Shadows | None = None,
) -> Audit:
    """How well attacks tell `members`, samples that a contribution was trained on, from `strangers`.

    Strangers are samples of the same distribution that it was not trained on, and no attack says more than they allow.
    At most `MOST` of each are scored, drawn by `stream`, which may be a seed. `seconds` is roughly what one core may
    take. `train` are the settings of the expert's training (None: the default ones), and `shadows` asks for shadow
    generators, too: see `Case`. `basis` says in words who the strangers are. Raises UsageError for samples of another
    schema, for too few of either, and for strangers that are members.
    """
    for name, data in (("members", members), ("strangers", strangers)):
        if data.schema != contribution.schema:
            raise UsageError(f"the {name} have {data.schema.difference(contribution.schema)} as the contribution")
    require_enough(len(members), len(strangers))
    require_apart(members, strangers)
    base = Stream(stream, STAGE, contribution.client) if isinstance(stream, int) else stream
    some = (_some(members, base, "members"), _some(strangers, base, "strangers"))
    case = Case(contribution, *some, base, seconds, train or DEFAULT, shadows)
    findings = list[Finding]()
    skipped = list[tuple[str, str]]()
    for attack in ATTACKS:
        outcome = _attack(attack, case)
        if isinstance(outcome, str):
            skipped.append((attack.name, outcome))
        else:
            findings.append(outcome)
    return Audit(tuple(findings), tuple(skipped), basis)


def audit_model(
    model: GlobalModel,
    members: Dataset,
    strangers: Dataset,
    stream: Stream | int,
    *,
    seconds: float = 20,
    basis: str = "",
) -> Audit:
    """As `audit`, of a global model: whether one site's `members` can be told from strangers by it alone."""
    alone = Contribution(
        0, model.schema, model.architecture, model.state, members.class_counts(), no_prototypes(), {},
        field_counts=members.field_counts() if model.schema.joins else None,
    )  # fmt: skip
    found = audit(alone, members, strangers, stream, seconds=seconds, basis=basis)
    own = tuple(replace(finding, on=GLOBAL_MODEL) for finding in found.findings)
    of_models = {attack.name for attack in ATTACKS if attack.on == EXPERT}
    return Audit(own, tuple((name, why) for name, why in found.skipped if name in of_models), basis)


def _attack(attack: Attack, case: Case) -> Finding | str:
    """The finding of an attack, or why it does not apply."""
    start = time.perf_counter()
    scores = attack.scores(case)
    if isinstance(scores, str):
        return scores
    members, strangers = (_numbers(part) for part in scores)
    if min(len(members), len(strangers)) < LEAST:
        return f"{len(members)} members and {len(strangers)} strangers that it can score are too few"
    base = case.stream
    rng = Stream(base.seed, f"{base.stage}/{attack.name}", base.client).numpy()
    auc = area(members, strangers, rng)
    beyond = risk(members, strangers)
    return Finding(
        attack.name,
        attack.on,
        auc.value,
        auc.low,
        auc.high,
        caught(members, strangers, 0.01),
        caught(members, strangers, 0.001),
        beyond.value,
        beyond.low,
        beyond.high,
        len(members),
        len(strangers),
        round(time.perf_counter() - start, 3),
    )


def _numbers(scores: Tensor) -> np.ndarray:
    """Scores float64 (n,) without NaN or infinity, which have no rank."""
    return np.asarray(torch.nan_to_num(scores.double()).numpy())


def _some(data: Dataset, base: Stream, side: str) -> Dataset:
    """At most `MOST` of the samples, drawn at random."""
    if len(data) <= MOST:
        return data
    order = torch.randperm(len(data), generator=Stream(base.seed, f"{base.stage}/{side}", base.client).torch())
    return data.subset(order[:MOST].sort().values)
