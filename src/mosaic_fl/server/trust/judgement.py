"""Who is doubted beyond measure, one after the other: the worst goes first, and all others are looked at again.

So colluders who confirm each other lose their say before they can turn others into liars. Whoever went too early comes
back. A single class is given up in the same way where a client lies in it alone.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mosaic_fl.server.trust.agreement import VOICE, Agreement
from mosaic_fl.server.trust.exchanged import exchanged
from mosaic_fl.server.trust.sifting import mixed
from mosaic_fl.server.trust.survey import Survey
from mosaic_fl.server.trust.trigger import FEWEST, triggered
from mosaic_fl.server.trust.variety import collapsed
from mosaic_fl.server.trust.vouching import unsupported

GAP = 0.5  # below the usual agreement: beyond doubt
NOTHING = 0.05  # an agreement that is beyond doubt where the usual one is `CLEAR` above chance, as of blurred samples
CLEAR = 0.3
FIFTH = 0.2  # of the usual agreement: hardly better than guessing
NEAR = 0.25  # below the usual agreement: not as usual
WEAK = 0.35  # a usual agreement below which models or generators are so poor that nobody can tell
UPPER = 2 / 3  # the quantile of clients' agreement that is usual: liars who are fewer than a third do not move it far
SOFT = 0.4  # of the way from what is beyond doubt to what is usual: below it a client counts in part
WITNESSES = 2  # others who must contradict: one against one proves nothing
PART = 0.3  # of a witness that is enough against who is odd by other signs
LEAST = 0.1  # part in which a client counts at least that is not beyond doubt
SAMPLES = 10  # claimed samples of a class from which a lie in it alone is looked for
ERRORS = 2.0  # standard errors by which a client must be below


@dataclass
class Judgement:
    """What was seen of K clients, by place. `trust` (K, C) is what each counts for as a witness: 0 where it is doubted.

    `expelled` are doubted as a whole; `generators` are those of whom the generator alone is doubted, and `collapsed`
    those whose generators draw the same again and again; `cells` are doubted pairs of client and class, of which the
    samples of `unvouched` ones are known to its own model alone, and those of `triggers` show a backdoor; `disputed`
    are those where one other client holds the class, and says otherwise, and `mixed` those of whose samples a part is
    contradicted. `factors` (K,) are 1 for those whose agreement
    is usual. `usual` is the agreement of most; NaN: nobody can tell. Of those who are `is_seen` (K,) enough others can
    tell; `is_odd` (K,) are those with other signs against them. The models of `incoherent` ones do not know their own
    samples.
    """

    trust: Tensor
    agreement: Agreement
    scores: Tensor
    usual: float
    is_seen: Tensor
    is_odd: Tensor
    incoherent: set[int] = field(default_factory=set)
    expelled: set[int] = field(default_factory=set)
    generators: set[int] = field(default_factory=set)
    collapsed: set[int] = field(default_factory=set)
    cells: set[tuple[int, int]] = field(default_factory=set)
    unvouched: set[tuple[int, int]] = field(default_factory=set)
    triggers: set[tuple[int, int]] = field(default_factory=set)
    disputed: set[tuple[int, int]] = field(default_factory=set)
    mixed: set[tuple[int, int]] = field(default_factory=set)
    factors: Tensor = field(kw_only=True)

    @property
    def limit(self) -> float:
        """The agreement below which a client is doubted beyond measure."""
        return limit(self.usual)

    @property
    def soft(self) -> float:
        """How far above the limit a client counts in part."""
        return SOFT * (self.usual - self.limit)

    @property
    def is_clear(self) -> bool:
        """Whether clients agree enough for a judgement."""
        return self.usual >= WEAK  # not where it is NaN


def limit(usual: float) -> float:
    """The agreement below which a client is doubted beyond measure, where the `usual` one is this."""
    return max(usual - GAP, min(NOTHING, usual - CLEAR))


def judge(survey: Survey, trust: Tensor, odd: Tensor | None = None) -> Judgement:
    """The judgement of a survey; `trust` (K, C) is what each client counts for as a witness at the start.

    Of those who are `odd` (K,) by other signs, as inflated claims, one witness is enough.
    """
    start = trust
    odd = torch.zeros(len(trust), dtype=torch.bool) if odd is None else odd
    now = _look(survey, trust, odd)
    returned = set[int]()
    cells = set[tuple[int, int]]()
    unvouched = set[tuple[int, int]]()
    triggers = set[tuple[int, int]]()
    incoherent = _incoherent(now)
    expelled = set(incoherent)
    while True:
        trust = start.clone()
        trust[sorted(expelled)] = 0
        for k, label in cells:
            trust[k, label] = 0
        now = _look(survey, trust, odd)
        taken = cells | _all_of(expelled, survey)
        if now.is_clear and (cell := triggered(now.agreement, now.usual, taken, _is_below(now))):
            cells.add(cell)
            triggers.add(cell)
        elif (worst := _worst(now, expelled | returned)) is not None:
            expelled.add(worst)
        elif (innocent := _innocent(now, expelled - incoherent)) is not None:
            expelled.remove(innocent)
            returned.add(innocent)
        elif (cell := _worst_cell(now, expelled, cells)) is not None:
            k, label = cell
            cells |= {cell, *((k, c) for c in exchanged(now.agreement, k, label))}
        elif now.is_clear and (cell := unsupported(now.agreement, now.usual, taken)):
            cells.add(cell)
            unvouched.add(cell)
        else:
            break
    now.generators = {k for k in expelled if _model_serves(now, k, coherent=k not in incoherent)}
    now.incoherent = incoherent
    now.expelled = expelled - now.generators
    now.cells = {(k, label) for k, label in cells if k not in expelled}
    now.unvouched = now.cells & unvouched
    now.triggers = now.cells & triggers
    now.disputed = _disputed(now, expelled) - now.cells
    if now.is_clear:
        now.collapsed = collapsed(survey, cells | _all_of(expelled, survey)) - expelled
        now.mixed = {(k, label) for k, label in mixed(now.agreement) - cells if k not in expelled}
        better = torch.fmax(now.agreement.by_model, now.agreement.by_samples)  # one of both is weak at honest ones, too
        factors = ((better - now.limit) / now.soft).clamp(LEAST, 1).nan_to_num(nan=1.0)
        now.factors = torch.where(now.is_seen, factors, 1.0)
    return now


def _all_of(clients: set[int], survey: Survey) -> set[tuple[int, int]]:
    return {(k, label) for k in clients for label in range(survey.counts.shape[1])}


def _look(survey: Survey, trust: Tensor, odd: Tensor) -> Judgement:
    agreement = Agreement(survey, trust)
    scores = torch.fmin(agreement.by_model, agreement.by_samples)
    active = (trust > 0).any(1) & ~scores.isnan()
    usual = float(scores[active].quantile(UPPER)) if bool(active.any()) else float("nan")
    if agreement.best - NEAR > usual:  # liars who claim all classes contradict everybody
        usual = agreement.best - NEAR
    seen = agreement.witness.sum(1) >= torch.where(odd, PART, WITNESSES - 1e-9)
    return Judgement(trust, agreement, scores, usual, seen, odd, factors=torch.ones(len(trust), dtype=torch.float64))


def _incoherent(now: Judgement) -> set[int]:
    """The clients whose own expert does not know their generator's samples, where others' do. It takes no witness."""
    own = now.agreement.own
    usual = float(own.nanquantile(UPPER))
    if not (now.is_clear and usual >= WEAK) or len(own) < FEWEST:
        return set()
    return set((own + _error(now) < limit(usual)).nonzero().flatten().tolist())


def _error(now: Judgement) -> Tensor:
    """`ERRORS` standard errors (K,) of a share of as many samples as were drawn for each client."""
    drawn = now.agreement.survey.drawn.sum(1).double()
    usual = float(drawn[drawn > 0].mean()) if bool((drawn > 0).any()) else 1.0
    return ERRORS * (0.25 / torch.where(drawn > 0, drawn, usual)).sqrt()


def _is_below(now: Judgement) -> Tensor:
    """Who is below the limit, bool (K,): by its samples; by its model where its samples are not as usual, either.

    A model alone may be weak without a lie: by itself it must be hardly better than guessing.
    """
    agreement = now.agreement
    error = torch.where(now.is_odd, 0.0, _error(now))
    model = agreement.by_model + error  # what was not measured is NaN, and below nothing
    samples = agreement.by_samples + error
    low = (samples < now.limit) | (agreement.by_model < min(now.limit, FIFTH * now.usual))
    low |= (model < now.limit) & (agreement.by_samples < now.usual - NEAR)
    return low & now.is_seen & now.is_clear


def _worst(now: Judgement, spared: set[int]) -> int | None:
    """The client below the limit whom most of the others' say contradicts."""
    conflict = torch.where(_is_below(now), now.agreement.conflict, -1.0)
    conflict[sorted(spared)] = -1.0
    k = int(conflict.argmax())
    return k if conflict[k] >= 0 else None


def _innocent(now: Judgement, expelled: set[int]) -> int | None:
    """The first of those expelled whom the clients that are left do not contradict."""
    below = _is_below(now)
    return next((k for k in sorted(expelled) if not below[k]), None)


def _worst_cell(now: Judgement, expelled: set[int], cells: set[tuple[int, int]]) -> tuple[int, int] | None:
    """The class of a client in which several others contradict its samples, and its expert theirs: most others first.

    An expert that is weak in a class is no lie, and neither is a generator. Where liars are few, more others contradict
    each of them than they can contradict in a class that few hold.
    """
    agreement = now.agreement
    scores = torch.maximum(agreement.model_by_class, agreement.samples_by_class).nan_to_num(nan=torch.inf)
    able = now.is_clear & (agreement.witnesses >= WITNESSES) & (agreement.survey.counts >= SAMPLES)
    error = ERRORS * (0.25 / agreement.survey.drawn.clamp(min=1).double()).sqrt()
    scores = torch.where(able & (scores + error < now.limit), scores, torch.inf)
    scores[sorted(expelled)] = torch.inf
    for k, label in cells:
        scores[k, label] = torch.inf
    if not bool(scores.isfinite().any()):
        return None
    against = torch.where(scores.isfinite(), agreement.against(now.limit), -1)
    scores = torch.where(against == against.max(), scores, torch.inf)
    k, label = divmod(int(scores.argmin()), scores.shape[1])
    return k, label


def _disputed(now: Judgement, expelled: set[int]) -> set[tuple[int, int]]:
    """Classes in which one other client contradicts model and samples: nobody knows who is right."""
    agreement = now.agreement
    scores = torch.fmax(agreement.model_by_class, agreement.samples_by_class)
    contradicted = now.is_clear & (agreement.witnesses == 1) & (scores < now.limit) & (agreement.say >= VOICE)
    return {(k, label) for k, label in contradicted.nonzero().tolist() if k not in expelled}


def _model_serves(now: Judgement, k: int, *, coherent: bool) -> bool:
    """Whether the client's expert agrees as usual, so that its generator alone is doubted.

    Of a coherent client with one class nobody can tell: its expert may say that class of everything. Where nobody has
    seen an incoherent one's expert, its generator goes, too.
    """
    agreement = now.agreement
    by_model = float(agreement.by_model[k])
    serves = by_model >= now.limit + now.soft
    if not coherent:
        return serves or by_model != by_model
    told = int((~agreement.model_by_class[k].isnan() & (agreement.say[k] >= VOICE)).sum())
    return told > 1 and serves
