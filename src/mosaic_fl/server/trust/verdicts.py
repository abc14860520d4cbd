"""From what was seen to what follows: a verdict for each client.

In quarantine is only who is beyond doubt, and nobody whom others merely contradict while it alone holds a class.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from mosaic_fl.config.trust import TrustConfig
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.server.trust.comparable import is_comparable
from mosaic_fl.server.trust.counts import LARGEST, bound, cap
from mosaic_fl.server.trust.judgement import Judgement
from mosaic_fl.server.trust.likeness import lookalikes, words
from mosaic_fl.server.trust.moments import MomentDoubts
from mosaic_fl.server.trust.report import ACCEPTED, QUARANTINED, WEIGHTED, TrustReport, Verdict

DIGITS = 4  # of what is written down


@dataclass(frozen=True)
class Evidence:
    """What verdicts rest on, by place: `shared` says how many clients send each one's weights.

    `moments` is what class moments hold against each other. Where these are some clients of more, `all_sizes` (K,) and
    `all_claimed` (C,) are what `sizes` and `claimed` are among all.
    """

    contributions: Sequence[Contribution]
    shared: Sequence[int]
    judgement: Judgement | None
    faults: dict[int, str]
    remarks: dict[int, str]
    moments: MomentDoubts = field(default_factory=MomentDoubts)
    all_sizes: Tensor | None = None
    all_claimed: Tensor | None = None

    @property
    def only_told(self) -> bool:
        """Whether what others say of a client's samples is told and nothing follows: honest ones differ as liars do."""
        return not is_comparable(self.contributions[0].schema)

    @cached_property
    def counts(self) -> Tensor:
        """The claimed samples (K, C)."""
        return torch.stack([c.class_counts for c in self.contributions])

    @cached_property
    def sizes(self) -> Tensor:
        """The part of its claims that each client's size leaves it, double (K,), by the sizes of all: see `cap`."""
        return cap(self.counts) if self.all_sizes is None else self.all_sizes

    @cached_property
    def claimed(self) -> Tensor:
        """The samples of each class that all clients claim (C,)."""
        return self.counts.sum(0) if self.all_claimed is None else self.all_claimed

    def of(self, places: Sequence[int]) -> "Evidence":
        """The evidence on the clients at `places` alone, whose sizes and classes are still seen beside all others'."""
        among = {k: place for place, k in enumerate(places)}
        return Evidence(
            [self.contributions[k] for k in places],
            [self.shared[k] for k in places],
            None,
            {among[k]: reason for k, reason in self.faults.items() if k in among},
            {},
            self.moments.of(among),
            self.sizes[list(places)],
            self.claimed,
        )


def verdicts(evidence: Evidence, settings: TrustConfig) -> TrustReport:
    """The report on all clients, in the order of the contributions."""
    sizes = evidence.sizes
    rows = tuple(_verdict(evidence, k, float(sizes[k]), settings) for k in range(len(evidence.contributions)))
    judgement = evidence.judgement
    usual = None if judgement is None else _rounded(judgement.usual)
    present = {c.client for c in evidence.contributions}
    return TrustReport(rows, usual, tuple(sorted(set(settings.keep) & present)))


def _verdict(evidence: Evidence, k: int, size: float, settings: TrustConfig) -> Verdict:
    contribution = evidence.contributions[k]
    judgement = evidence.judgement
    credit = torch.full((len(contribution.class_counts),), size / evidence.shared[k], dtype=torch.float64)
    reasons = _plain_reasons(evidence, k, size)
    plain = len(reasons)
    doubts = list[str]()
    state = ACCEPTED
    generator = True
    sifted = tuple[int, ...]()
    if k in evidence.faults:
        state = QUARANTINED
        reasons.append(evidence.faults[k])
    elif k in evidence.moments.liars and (judgement is None or k not in judgement.expelled):
        reasons.append(f"its class moments: {evidence.moments.liars[k]}")
        alone = _alone(evidence, k)
        credit *= alone  # of what others hold nothing counts
        state = ACCEPTED if bool(alone.any()) else QUARANTINED
        doubts += ["it alone holds a class, which still counts"] * bool(alone.any())
    elif judgement is not None and evidence.only_told and not settings.strict:
        if why := _contradiction(evidence, judgement, k):
            doubts.append(f"{why}; of rows this is only told, and --strict leaves it out")
    elif judgement is not None:
        alone = _alone(evidence, k)
        out = k in judgement.expelled
        if why := _contradiction(evidence, judgement, k):
            reasons.append(why)
        if (out or k in judgement.generators) and bool(alone.any()):
            credit *= alone  # of what others hold nothing counts
            doubts.append("it alone holds a class, which still counts")
        elif out:
            state = QUARANTINED
        elif k in judgement.generators:
            generator = False
            if size < 1:  # two signs are no mistake
                state = QUARANTINED
        else:
            credit *= _credit(evidence, judgement, k)
            disputes = _disputes(evidence, judgement, k)
            (reasons if bool((credit < size / evidence.shared[k]).any()) else doubts).extend(disputes)
            sifted = tuple(label for place, label in sorted(judgement.mixed) if place == k)
        if k in judgement.collapsed and state == ACCEPTED:
            why = "all samples that its generator draws of a class are the same"
            if bool(alone.any()):
                doubts.append(f"{why}; it alone holds a class, so it counts nevertheless")
            else:
                generator = False
                reasons.append(f"{why}, so it is left out")
    if (labels := evidence.moments.classes.get(k)) and state == ACCEPTED:
        credit[list(labels)] = 0
        names = ", ".join(repr(contribution.schema.classes[label]) for label in labels)
        reasons.append(f"the others' class moments contradict its own of {names}, which does not count")
    changed = bool((credit < 1).any()) or not generator
    if state == ACCEPTED and changed:
        state = WEIGHTED if bool((contribution.class_counts * credit).sum() > 0) else QUARANTINED
    if state == WEIGHTED and settings.strict and not bool(_alone(evidence, k).any()):
        state = QUARANTINED
    contradicted = len(reasons) > plain
    if contribution.client in settings.keep and state != ACCEPTED:
        doubts = [*(f"kept although {reason}" for reason in reasons), *doubts]
        state = ACCEPTED
    if state == ACCEPTED:
        credit = torch.ones_like(credit)
        generator = True
        reasons = []
    if contribution.client in settings.keep or state == QUARANTINED or not generator:
        sifted = ()
    if sifted:
        names = ", ".join(repr(contribution.schema.classes[label]) for label in sifted)
        doubts.append(f"of its samples of {names} those count that most other holders call so")
    agreement = None if judgement is None else judgement.agreement
    return Verdict(
        client=contribution.client,
        state=state,
        credit=_parts(credit * 0 if state == QUARANTINED else credit),
        generator=generator and state != QUARANTINED,
        model=None if agreement is None else _rounded(float(agreement.by_model[k])),
        samples=None if agreement is None else _rounded(float(agreement.by_samples[k])),
        witnesses=0 if agreement is None else int(agreement.counterparts[k]),
        reasons=tuple(reasons),
        doubts=tuple(doubts),
        unmeasured=evidence.remarks.get(k, ""),
        contradicted=contradicted,
        sifted=sifted,
    )


def _plain_reasons(evidence: Evidence, k: int, size: float) -> list[str]:
    """What needs no comparison of answers: its size, and that its weights are another client's."""
    reasons = []
    if size < 1:
        total = int(evidence.contributions[k].class_counts.sum())
        reasons.append(
            f"it says that it has {total:,} samples, more than {LARGEST} times the median: the rest is not counted"
        )
    if evidence.shared[k] > 1:
        reasons.append(f"its model or generator is one that {evidence.shared[k]} clients sent: it counts once for all")
    return reasons


def _contradiction(evidence: Evidence, judgement: Judgement, k: int) -> str:
    """Why the others' word is held against a client; empty where it is not."""
    names = evidence.contributions[k].schema.classes
    usual = f"{judgement.usual:.0%} is usual"
    agreement = judgement.agreement
    model = _percent(float(agreement.by_model[k]))
    samples = _percent(float(agreement.by_samples[k]))
    both = f"its model agrees with the others to {model}, its generator to {samples}; {usual}"
    if k in judgement.incoherent:
        both += f"; its model knows {_percent(float(agreement.own[k]))} of its own generator's samples"
    reason = _reason(judgement, k, names, both)
    alike = words(lookalikes(agreement, k), names) if reason else ""
    return f"{reason}; {alike}" if alike else reason


def _reason(judgement: Judgement, k: int, names: Sequence[str], both: str) -> str:
    """What is held against a client, in words; `both` says how its model and its generator agree with the others."""
    if k in judgement.expelled:
        return f"the others contradict it ({both})"
    if k in judgement.generators:
        return f"the others contradict its generator, which is left out ({both})"
    if float(judgement.factors[k]) < 1:
        return f"the others contradict it in part ({both})"
    other = judgement.cells - judgement.triggers - judgement.unvouched
    reasons = list[str]()
    if shown := _classes(judgement.triggers, k, names):
        reasons.append(
            f"a few numbers of its samples of {shown} turn what its model calls its others, as with a backdoor, and "
            "others contradict it there, so the class does not count"
        )
    if lone := _classes(judgement.unvouched, k, names):
        reasons.append(f"its model alone knows its samples of {lone}, as with a backdoor, so the class does not count")
    if wrong := _classes(other, k, names):
        reasons.append(f"the others contradict what it says of {wrong}, which does not count")
    return "; ".join(reasons)


def _classes(cells: AbstractSet[tuple[int, int]], k: int, names: Sequence[str]) -> str:
    """The classes of the client at place k among these (place, class), in words; empty where there is none."""
    return ", ".join(repr(names[label]) for place, label in sorted(cells) if place == k)


def _credit(evidence: Evidence, judgement: Judgement, k: int) -> Tensor:
    """The part (C,) of a client's claims that is left to it after what the others say of it."""
    counts = evidence.counts.double()
    credit = torch.full((counts.shape[1],), float(judgement.factors[k]), dtype=torch.float64)
    for place, label in judgement.cells:
        if place == k:
            credit[label] = 0
    for place, label in judgement.disputed:
        others = counts[:, label] * (judgement.trust[:, label] > 0)
        others[k] = 0
        if place == k:
            credit[label] *= bound(float(counts[k, label]), float(others.max().clamp(min=1)))
    return credit


def _disputes(evidence: Evidence, judgement: Judgement, k: int) -> list[str]:
    names = evidence.contributions[k].schema.classes
    rows = _classes(judgement.disputed, k, names)
    return [f"the one other client that holds {rows} says otherwise: nobody knows who is right"] if rows else []


def _alone(evidence: Evidence, k: int) -> Tensor:
    """The classes (C,) that this client alone claims."""
    counts = evidence.counts[k]
    return (counts > 0) & (evidence.claimed == counts)


def _parts(credit: Tensor) -> tuple[float, ...]:
    """One number where all classes have the same."""
    parts = [round(part, 6) for part in credit.tolist()]
    return tuple(parts if len(set(parts)) > 1 else parts[:1])


def _percent(value: float) -> str:
    return "(not measured)" if value != value else f"{max(0.0, value):.0%}"


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, DIGITS)
