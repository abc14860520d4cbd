"""What a result says of the teacher: which clients it listens to, and its accuracy on the test set without each.

Leaving one out changes no weights and trains nothing. It says what a client's model brought to this teacher, not what a
run without that client would have reached. Nothing is chosen by it.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.methods.outcome import Ensemble, Outcome
from mosaic_fl.models.inference import accuracy
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.leave_one_out import LeaveOneOut, gate_shares, silenced
from mosaic_fl.server.teachers import GATE, MOMENTS, MOMENTS_META, PRODUCT, READ_MOMENTS
from mosaic_fl.server.teachers import Teachers as AllTeachers

WORK = 3e10  # operations at most, some seconds of one core
EACH = 150  # operations for each number of an expert's output, as long as these take
LEAST = 200  # test samples below which a difference says nothing
MOST_CLIENTS = 100  # whose closed forms are computed again without one of them
MOST_CLASSES = 100  # of which shares by class are told
BY_WEIGHT = frozenset({"class_weighted", "class_balanced", "class_evened", MOMENTS, PRODUCT})
EVEN = frozenset({"mean_probabilities", "mean_logits"})
WEIGHTS = "weights"  # how it listens: by fixed weights, by a gate, as measured by leaving one out
MEASURED = "measured"

Answers = Callable[[Samples, Tensor], Iterator[Tensor | None]]


def teaching(outcome: Outcome, test: Dataset | None, device: torch.device) -> dict[str, Any]:
    """The entries `without` and `listening` of `detail`, for the teacher, or the ensemble that serves.

    `without` has the `teacher`, how many test `samples` it was asked, its `accuracy` on them and for each of `clients`
    the `accuracy` without it (None: the others cannot answer), how many answers its model `mends` and how many it
    `spoils`; or `skipped`, the reason why nobody was left out. `listening` has for each client its share of the
    teacher's word `by_class` in 0..1, and `how` that is: see the constants; `moments` is the share of the class
    moments, where a gate weighs them beside the experts. A result without a teacher has neither.
    """
    distilled = outcome.distilled
    mixture = distilled.teachers.mixture if distilled else outcome.ensemble.mixture if outcome.ensemble else None
    if mixture is None:
        return {}
    name = distilled.choice["teacher"] if distilled else "ensemble"
    weights = _fixed_weights(name, mixture)
    listening = {} if weights is None else _listening(name, WEIGHTS, mixture.owners, weights)
    reason = _barred(outcome, mixture, test)
    if reason or test is None:
        return {"without": {"teacher": name, "skipped": reason}} | listening
    count = _affordable(outcome, mixture, len(test))
    if count < min(LEAST, len(test)):
        clients = len(mixture.experts)
        return {"without": {"teacher": name, "skipped": f"{clients:,} clients: it would take too long"}} | listening
    part = test.subset(torch.linspace(0, len(test) - 1, count).round().long())
    measured = _Measured.of(mixture, part, _answers(outcome, name, device), device)
    if not listening:
        listening = _heard(name, distilled.teachers if distilled else None, mixture, part, measured, device)
    return {"without": {"teacher": name, **measured.without(mixture.owners, part.labels)}} | listening


def _barred(outcome: Outcome, mixture: MixtureOfExperts, test: Dataset | None) -> str:
    """Why no client can be left out of this teacher; empty where they can."""
    if test is None or not len(test):
        return "there is no labelled test set"
    if not mixture.owners:
        return "its experts are averages of all clients' models"
    if len(mixture.owners) == 1:
        return "there is one client alone"
    if mixture.has_black_boxes:
        return "sites that keep their models are not asked about the test set"
    name = outcome.distilled.choice["teacher"] if outcome.distilled else ""
    if name in READ_MOMENTS and len(mixture.owners) > MOST_CLIENTS:
        return f"{len(mixture.owners):,} clients: it would take too long"
    return ""


def _affordable(outcome: Outcome, mixture: MixtureOfExperts, samples: int) -> int:
    """How many test samples may be asked: all, or fewer where experts and classes are many."""
    experts, classes = mixture.weights.shape
    fuses = getattr(outcome.ensemble, "fuse", None)
    if outcome.distilled is not None:
        teachers = outcome.distilled.teachers
        fuses = teachers.moments_meta if outcome.distilled.choice["teacher"] == MOMENTS_META else teachers.meta
    network = fuses if isinstance(fuses, nn.Module) else getattr(fuses, "aggregator", None)
    learnt = sum(p.numel() for p in network.parameters()) if isinstance(network, nn.Module) else 0
    return min(samples, int(WORK / (experts * experts * (EACH * classes + learnt))))


def _answers(outcome: Outcome, name: str, device: torch.device) -> Answers:
    """What gives the scores of the teacher `name` with all clients, and then without each of them."""
    if outcome.distilled is not None:
        distilled = outcome.distilled
        return partial(LeaveOneOut(distilled.teachers, name, distilled.contributions).answers, device=device)
    assert outcome.ensemble is not None
    return partial(_of_ensemble, outcome.ensemble)


def _of_ensemble(ensemble: Ensemble, _: Samples, outputs: Tensor) -> Iterator[Tensor | None]:
    yield ensemble.fuse(outputs)
    for place in range(outputs.shape[1]):
        yield ensemble.fuse(silenced(outputs, place))


class _Measured:
    """Scores of the teacher with all clients, and the classes that it names, and its move, without each of them."""

    def __init__(self, whole: Tensor, answers: list[Tensor | None], moves: list[Tensor | None]) -> None:
        self.whole = whole
        self.answers = answers
        self.moves = moves

    @classmethod
    def of(cls, mixture: MixtureOfExperts, test: Dataset, ask: Answers, device: torch.device) -> "_Measured":
        """What `ask` says of the test samples; None for a client where it says nothing finite without it."""
        whole = list[Tensor]()
        answers = list[list[Tensor | None]]()
        moves = list[list[Tensor | None]]()
        for part, outputs in mixture.parts(test.samples, device):
            scores = ask(part, outputs)
            first = next(scores)
            assert first is not None
            probabilities = first.double().softmax(1)
            others = [None if s is None or bool(s.isnan().any()) else s for s in scores]
            whole.append(first)
            answers.append([None if s is None else s.argmax(1) for s in others])
            moves.append([None if s is None else _distance(s, probabilities) for s in others])
        return cls(torch.cat(whole), _joined(answers), _joined(moves))

    def without(self, owners: Sequence[int], labels: Tensor) -> dict[str, Any]:
        """The figures of `without` for clients `owners` and the classes `labels`."""
        right = self.whole.argmax(1) == labels
        rows = []
        for client, answer in zip(owners, self.answers, strict=True):
            row: dict[str, Any] = {"client": client, "accuracy": None}
            if answer is not None:
                still = answer == labels
                mends = int((right & ~still).sum())
                row |= {"accuracy": float(still.double().mean()), "mends": mends, "spoils": int((~right & still).sum())}
            rows.append(row)
        return {"samples": len(labels), "accuracy": accuracy(self.whole, labels), "clients": rows}


def _distance(scores: Tensor, probabilities: Tensor) -> Tensor:
    """How far probabilities move, 0..1 (n,): the total variation."""
    return (scores.double().softmax(1) - probabilities).abs().sum(1) / 2


def _joined(parts: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    """For each client its rows of all parts; None where a part has none."""
    columns = [list(column) for column in zip(*parts, strict=True)]
    return [
        None if any(t is None for t in column) else torch.cat([t for t in column if t is not None])
        for column in columns
    ]


def _fixed_weights(name: str, mixture: MixtureOfExperts) -> Tensor | None:
    """The weights (K, C) by which a teacher listens whatever the sample; None where the sample decides."""
    if name in BY_WEIGHT:
        return mixture.weights
    return torch.full_like(mixture.weights, 1 / len(mixture.experts)) if name in EVEN else None


def _heard(
    name: str,
    teachers: AllTeachers | None,
    mixture: MixtureOfExperts,
    test: Dataset,
    measured: _Measured,
    device: torch.device,
) -> dict[str, Any]:
    """What a teacher listens to where the sample decides: means over the test samples of each class."""
    shares = None if teachers is None else gate_shares(teachers, name, test.samples, device)
    how = MEASURED if shares is None else GATE
    if shares is None:
        known = [move for move in measured.moves if move is not None]
        if len(known) < len(measured.moves):
            return {}
        shares = torch.stack(known, 1).float()
    classes = mixture.weights.shape[1]
    sums = torch.zeros(classes, shares.shape[1]).index_add_(0, test.labels, shares)
    total = sums.sum(1, keepdim=True)
    return _listening(name, how, mixture.owners, (sums / total.clamp(min=1e-12)).T)


def _listening(name: str, how: str, owners: Sequence[int], shares: Tensor) -> dict[str, Any]:
    if not owners or shares.shape[1] > MOST_CLASSES:
        return {}
    rows = [[round(value, 4) for value in row] for row in shares.tolist()]
    told = {"teacher": name, "how": how, "clients": list(owners), "by_class": rows[: len(owners)]}
    return {"listening": told | ({"moments": rows[-1]} if len(rows) > len(owners) else {})}
