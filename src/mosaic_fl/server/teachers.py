"""Teachers: ways to turn the experts' outputs into one prediction."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.kind import Expert
from mosaic_fl.registries import TEACHERS
from mosaic_fl.server.experts import (
    MixtureOfExperts,
    class_balanced,
    class_weighted,
    evening,
    mean_logits,
    mean_probabilities,
)
from mosaic_fl.server.gate import Gate, gated
from mosaic_fl.server.meta_training import meta_log_probabilities

HALF = 0.5
GATE = "gate"
MOMENTS = "moments"
PRODUCT = "product"
MOMENTS_GATE = "moments_gate"
MOMENTS_META = "moments_meta"
READ_MOMENTS = frozenset({MOMENTS, PRODUCT, MOMENTS_GATE, MOMENTS_META})
"""Teachers that read the classifier of class moments."""
WITHOUT_BIAS = READ_MOMENTS | {"meta", "class_balanced", "class_weighted", "mean_probabilities", "mean_logits", GATE}
"""Teachers that do not read `Teachers.bias`."""
READ_SAMPLES = READ_MOMENTS | {GATE}
"""Teachers that read samples, and not the experts' outputs alone."""


@dataclass(frozen=True)
class Teachers:
    """All teachers over one mixture of experts; `meta` is None where the configuration has no meta model.

    `bias` (C,) is what "class_evened" adds to the class-balanced ensemble; None is 0. `gate` is there where the teacher
    of this name may teach, and `log_shares` (n, K) is then its word on the samples at hand: see `at`. So are `closed`,
    the classifier of all clients' class moments, and `closed_outputs` (n, C). `closed_classes` bool (C,) are those that
    it knows; None: all that anybody knows. `moments_gate`, with its word `moments_shares` (n, K + 1), and
    `moments_meta` fuse the experts and that classifier, the last of K + 1.
    """

    mixture: MixtureOfExperts
    meta: nn.Module | None
    bias: Tensor | None = None
    gate: Gate | None = None
    log_shares: Tensor | None = None
    closed: Expert | None = None
    closed_outputs: Tensor | None = None
    closed_classes: Tensor | None = None
    moments_gate: Gate | None = None
    moments_shares: Tensor | None = None
    moments_meta: nn.Module | None = None

    def evened_over(self, balanced: Tensor) -> "Teachers":
        """The same, with the bias that half evens the class-balanced ensemble over images of which it says `balanced`.

        These are log-probabilities (n, C). The expert of a client with one class, or nearly one, is sure of that class
        on every image. Images of nothing in particular show this bias. Half of it is taken off: such images are no even
        sample of the classes (docs/notes).
        """
        classes = self.mixture.weights.sum(0) > 0
        bias = balanced.new_zeros(balanced.shape[1])
        bias[classes] = HALF * evening(balanced[:, classes])
        return replace(self, bias=bias)

    def even(self, balanced: Tensor) -> Tensor:
        """Log-probabilities (n, C) of the class-balanced ensemble with the bias."""
        return balanced if self.bias is None else (balanced + self.bias.to(balanced)).log_softmax(1)

    def log_probabilities(self, teacher: str, outputs: Tensor) -> Tensor:
        """Log-probabilities (n, C) of one of the registered teachers for expert logits (n, K, C)."""
        return TEACHERS[teacher](self, outputs)

    def over(
        self, names: Iterable[str], samples: Samples, device: torch.device | str = "cpu"
    ) -> tuple["Teachers", dict[str, Tensor]]:
        """The teachers evened over `samples`, and the log-probabilities (n, C) that each of `names` then gives them.

        The experts are asked once, and once more for teachers of other packages, which may read the bias.
        """
        wanted = set(names)
        answers = self.ask({"class_balanced"} | wanted & WITHOUT_BIAS, samples, device)
        teachers = self.evened_over(answers["class_balanced"])
        if "class_evened" in wanted:
            answers["class_evened"] = teachers.even(answers["class_balanced"])
        if others := wanted - answers.keys():
            answers |= teachers.ask(others, samples, device)
        return teachers, {name: answers[name] for name in sorted(wanted)}

    def at(self, samples: Samples, device: torch.device | str) -> "Teachers":
        """The same with the word on `samples` of those teachers that read samples, not experts' outputs alone."""
        shares = None if self.gate is None else self.gate.log_shares(samples, device)
        closed = None if self.closed is None else self.closed.log_probabilities(samples, device)
        beside = None if self.moments_gate is None else self.moments_gate.log_shares(samples, device)
        return replace(self, log_shares=shares, closed_outputs=closed, moments_shares=beside)

    def ask(self, names: set[str], samples: Samples, device: torch.device | str) -> dict[str, Tensor]:
        """The log-probabilities (n, C) that each of `names` gives `samples`, with the bias as it is."""
        parts: dict[str, list[Tensor]] = {name: [] for name in sorted(names)}
        for part, outputs in self.mixture.parts(samples, device):
            teachers = self.at(part, device) if READ_SAMPLES & names else self
            for name, rows in parts.items():
                rows.append(teachers.log_probabilities(name, outputs))
        return {name: torch.cat(rows) for name, rows in parts.items()}


Teacher = Callable[[Teachers, Tensor], Tensor]
"""(what there is to teach with, expert logits (n, K, C)) -> log-probabilities (n, C)."""


def meta(teachers: Teachers, outputs: Tensor) -> Tensor:
    """The meta model; raises UsageError where there is none."""
    if teachers.meta is None:
        raise UsageError("distill.teacher is meta, but there is no meta model: no client sent a generator")
    return meta_log_probabilities(teachers.meta, outputs)


def balanced(teachers: Teachers, outputs: Tensor) -> Tensor:
    """See `experts.class_balanced`."""
    return class_balanced(outputs, teachers.mixture.weights, teachers.mixture.priors)


def evened(teachers: Teachers, outputs: Tensor) -> Tensor:
    """The class-balanced ensemble with `teachers.bias`."""
    return teachers.even(balanced(teachers, outputs))


def weighted(teachers: Teachers, outputs: Tensor) -> Tensor:
    """See `experts.class_weighted`."""
    return class_weighted(outputs, teachers.mixture.weights)


def gate(teachers: Teachers, outputs: Tensor) -> Tensor:
    """See `gate.gated`; raises UsageError where there is no gate."""
    if teachers.log_shares is None:
        raise UsageError("distill.teacher is gate, but there is no gate: no client sent a generator")
    return gated(outputs, teachers.log_shares)


def moments(teachers: Teachers, outputs: Tensor) -> Tensor:
    """The discriminant of all clients' class moments; raises UsageError where nobody sent moments.

    Of classes that it does not know the class-balanced ensemble has the say: how likely it is one of them, and which.
    """
    own = _closed(teachers)
    known = teachers.closed_classes
    if known is None or bool(known.all()):
        return own
    others = balanced(teachers, outputs)
    within = own.masked_fill(~known, -torch.inf).log_softmax(1)
    return torch.where(known, within + others[:, known].logsumexp(1, keepdim=True), others)


def product(teachers: Teachers, outputs: Tensor) -> Tensor:
    """The geometric mean of the class-balanced ensemble and of `moments`, in equal parts (Hinton 2002, experts)."""
    return (HALF * balanced(teachers, outputs) + HALF * moments(teachers, outputs)).log_softmax(1)


def moments_gate(teachers: Teachers, outputs: Tensor) -> Tensor:
    """The experts and the moments, as a gate weighs them for each sample: see `server/moments_gate`."""
    beside = _beside(teachers, outputs)
    if teachers.moments_shares is None:
        raise UsageError(f"distill.teacher is {MOMENTS_GATE}, but there is no such gate: no client sent a generator")
    return gated(beside, teachers.moments_shares)


def moments_meta(teachers: Teachers, outputs: Tensor) -> Tensor:
    """The meta model over the experts and the moments; raises UsageError where there is none."""
    beside = _beside(teachers, outputs)
    if teachers.moments_meta is None:
        raise UsageError(f"distill.teacher is {MOMENTS_META}, but there is no such model: no client sent a generator")
    return meta_log_probabilities(teachers.moments_meta, beside)


def _closed(teachers: Teachers) -> Tensor:
    """Log-probabilities (n, C) of the classifier of class moments; raises UsageError where nobody sent moments."""
    if teachers.closed_outputs is None:
        raise UsageError(
            f"distill.teacher is {MOMENTS} or {PRODUCT}, but no client sent class moments: say --generator moments of "
            "vectors, or --moments NAME of pictures"
        )
    return teachers.closed_outputs.log_softmax(1)


def _beside(teachers: Teachers, outputs: Tensor) -> Tensor:
    """Expert logits (n, K + 1, C): those of the experts, and the moments' as the last one."""
    return torch.cat([outputs, _closed(teachers)[:, None].to(outputs)], 1)


def probabilities(teachers: Teachers, outputs: Tensor) -> Tensor:
    """See `experts.mean_probabilities`."""
    return mean_probabilities(outputs)


def logits(teachers: Teachers, outputs: Tensor) -> Tensor:
    """See `experts.mean_logits`."""
    return mean_logits(outputs)
