"""A teacher as it would be without one of its clients. Nothing is trained again, and nothing is chosen by it.

An expert that is silent is one that cannot read the sample: ensembles share its weight among the others then, as they
do where samples lack a field (`server/experts`). The bias of an evened ensemble and the meta model stay as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.generators.moments import pool, pool_components
from mosaic_fl.server.class_moments import discriminant_of, moments_teacher
from mosaic_fl.server.feature_space import EncoderExpert
from mosaic_fl.server.teachers import GATE, MOMENTS_GATE, READ_MOMENTS, READ_SAMPLES, Teachers


def silenced(outputs: Tensor, place: int) -> Tensor:
    """Expert logits (n, K, C) in which the expert at `place` has nothing to say."""
    result = outputs.clone()
    result[:, place] = torch.nan
    return result


class LeaveOneOut:
    """The teacher `name` of `teachers` without each of its clients; `contributions` are those of its mixture.

    `whole` is the teacher with all of them.
    """

    def __init__(self, teachers: Teachers, name: str, contributions: Sequence[Contribution]) -> None:
        self.whole = teachers
        self.name = name
        of_moments = name in READ_MOMENTS
        owners = teachers.mixture.owners
        self._others = [_closed_without(teachers, client, contributions) for client in owners] if of_moments else []

    def answers(self, samples: Samples, outputs: Tensor, device: torch.device | str) -> Iterator[Tensor | None]:
        """Log-probabilities (n, C) with all clients, then without each, for expert logits `outputs` (n, K, C).

        None where the others have nothing to teach with.
        """
        teachers = self.whole.at(samples, device) if self.name in READ_SAMPLES else self.whole
        yield teachers.log_probabilities(self.name, outputs)
        closed = self._closed_outputs(samples, device)
        for place in range(outputs.shape[1]):
            yield self._without(teachers, outputs, place, closed)

    def _without(
        self, teachers: Teachers, outputs: Tensor, place: int, closed: Sequence[Tensor | None]
    ) -> Tensor | None:
        heard = silenced(outputs, place)
        if self.name in READ_MOMENTS:
            known = self._others[place]
            if known is None or closed[place] is None:
                return None
            teachers = replace(teachers, closed_outputs=closed[place], closed_classes=known[1])
        if self.name in (GATE, MOMENTS_GATE):
            key = "log_shares" if self.name == GATE else "moments_shares"
            shares = getattr(teachers, key).clone()
            shares[:, place] = -torch.inf
            if bool((shares == -torch.inf).all(1).any()):
                return None
            changed: dict[str, Any] = {key: shares.log_softmax(1)}
            teachers = replace(teachers, **changed)
            heard = heard.nan_to_num(nan=0.0)  # of weight 0
        return teachers.log_probabilities(self.name, heard)

    def _closed_outputs(self, samples: Samples, device: torch.device | str) -> list[Tensor | None]:
        """The words on `samples` of the closed forms without each client; each sample is encoded once."""
        vectors: Tensor | None = None
        result = list[Tensor | None]()
        for known in self._others:
            expert = None if known is None else known[0]
            if isinstance(expert, EncoderExpert):
                vectors = expert.encoder.vectors(samples.only, device) if vectors is None else vectors
                result.append(expert.of_vectors(vectors))
            else:
                result.append(None if expert is None else expert.log_probabilities(samples, device))
        return result


def gate_shares(teachers: Teachers, name: str, samples: Samples, device: torch.device | str) -> Tensor | None:
    """p(k|x), float32 (n, K), what the gate of the teacher `name` listens to; None where it has none.

    Of `moments_gate` it is (n, K + 1): the last share is that of the class moments.
    """
    gate = {GATE: teachers.gate, MOMENTS_GATE: teachers.moments_gate}.get(name)
    return None if gate is None else gate.log_shares(samples, device).exp()


def _closed_without(
    teachers: Teachers, client: int, contributions: Sequence[Contribution]
) -> tuple[Expert, Tensor | None] | None:
    """The closed form of the others' moments, and the classes that it knows; None where the others told none."""
    others = [one for one in contributions if one.client != client]
    if not isinstance(teachers.closed, EncoderExpert):
        try:
            return moments_teacher(others), teachers.closed_classes
        except UsageError:
            return None
    told = [(one, one.moments) for one in others if one.moments is not None]
    if not told:
        return None
    schema = told[0][1].schema(told[0][0].schema)
    members = [moments.build(one.schema, f"client {one.client}") for one, moments in told]
    pooled = pool(members)
    if not pooled.total:
        return None
    head = discriminant_of(schema, pooled, pool_components(members))
    expert = EncoderExpert(teachers.closed.encoder, head, pooled.counts > 0)
    return expert, expert.classes
