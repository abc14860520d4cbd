"""`merged`: the conditional generators of several clients as one, for a region that contributes as a client does.

A sample of class c comes from member k with probability n_k[c] / Σ_j n_j[c], as the server draws from its clients.
Nothing is trained: the state is the members' states, and their class counts.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import MAX_MEMBERS, MERGED, Generator, GeneratorSpec, build
from mosaic_fl.generators.family import Family
from mosaic_fl.numerics.states import State, under

COUNTS = "counts"
SAMPLING_BATCH = 128  # latents drawn at once: as many as suit a flow
MAX_COUNT = 2**40
Member = tuple[GeneratorSpec, State, Tensor]
"""A generator's specification, its state and its client's class counts (C,)."""


class Merged(Generator):
    """p(x | y) = Σ_k w[k, y] · p_k(x | y); the last value of z says which member draws, the first ones are its z.

    A class that no member holds is drawn from all alike.
    """

    conditional = True
    counts: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.spec = spec
        self.members = nn.ModuleList(build(member, schema) for member in spec.members)
        self.register_buffer(COUNTS, torch.zeros(len(spec.members), schema.num_classes, dtype=torch.int64))

    def generators(self) -> list[Generator]:
        """The members, in the order of the rows of `counts` (K, C)."""
        return [member for member in self.members if isinstance(member, Generator)]

    def fit_to(self, state: State) -> Self:
        for k, member in enumerate(self.generators()):
            member.fit_to(under(_prefix(k), state))
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        for member in self.generators():
            member.expect(counts)
        return self

    def check(self) -> None:
        if bool(((self.counts < 0) | (self.counts > MAX_COUNT)).any()):
            raise UsageError(f"its generator {MERGED} has class counts that do not lie in 0..{MAX_COUNT}")
        for member in self.generators():
            member.check()

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """As `Generator.one_pass`: one member of each specification, so at least what a sample costs."""
        unlike = {member.spec: member for member in self.generators()}
        passes = [member.one_pass() for member in unlike.values()]
        inputs = tuple(tensor for _, tensors, _ in passes for tensor in tensors)
        module = _OneAfterTheOther([(module, len(tensors)) for module, tensors, _ in passes])
        return module, inputs, max(count for _, _, count in passes)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        owners = self._owners(torch.special.ndtr(z[:, -1].double()), labels)
        parts = list[Tensor]()
        places = list[Tensor]()
        for k, member in enumerate(self.generators()):
            own = (owners == k).nonzero().flatten()
            if len(own):
                parts.append(member(z[own, : member.spec.latent], labels[own]))
                places.append(own)
        return torch.cat(parts)[torch.cat(places).argsort()]

    def _owners(self, levels: Tensor, labels: Tensor) -> Tensor:
        """The member (n,) that draws each sample, from `levels` (n,), uniform in 0..1."""
        counts = self.counts.double()
        reached = torch.where(counts.sum(0) > 0, counts, torch.ones_like(counts)).cumsum(0).T[labels]
        return (reached / reached[:, -1:] < levels[:, None].clamp(1e-12, 1)).sum(1)

    def sample(self, labels: Tensor, rng: torch.Generator, batch: int = SAMPLING_BATCH) -> Tensor:
        """As `Generator.sample`, in batches that suit every member."""
        return super().sample(labels, rng, batch)


class _OneAfterTheOther(nn.Module):
    """Modules, each with its own inputs; the output of the first one."""

    def __init__(self, parts: Sequence[tuple[nn.Module, int]]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(module for module, _ in parts)
        self.counts = [count for _, count in parts]

    def forward(self, *inputs: Tensor) -> Any:
        outputs = list[Any]()
        first = 0
        for module, count in zip(self.parts, self.counts, strict=True):
            outputs.append(module(*inputs[first : first + count]))
            first += count
        return outputs[0]


def merge(members: Sequence[Member]) -> tuple[GeneratorSpec, State]:
    """One generator's specification and state, of members that may be merged themselves.

    Raises UsageError where they are more than `MAX_MEMBERS`, or one cannot be asked for a class.
    """
    plain = [part for member in members for part in _plain(member)]
    specs = tuple(spec for spec, _, _ in plain)
    if not 0 < len(specs) <= MAX_MEMBERS:
        raise UsageError(f"{len(specs)} generators to merge: at least 1 and at most {MAX_MEMBERS}")
    spec = GeneratorSpec(MERGED, 1 + max(s.latent for s in specs), max(s.width for s in specs), specs)
    state = {_prefix(k) + name: tensor for k, (_, own, _) in enumerate(plain) for name, tensor in own.items()}
    return spec, state | {COUNTS: torch.stack([counts for _, _, counts in plain])}


def _plain(member: Member) -> list[Member]:
    """The members of a merged generator with their own counts, or the one that this is."""
    spec, state, _ = member
    if spec.family != MERGED:
        return [member]
    return [(own, under(_prefix(k), state), state[COUNTS][k]) for k, own in enumerate(spec.members)]


def _prefix(k: int) -> str:
    return f"members.{k}."


def _refuse(*_: Any, **__: Any) -> Any:
    raise UsageError(f"generator.family = {MERGED}: it is not trained; mosaic distill --as-contribution makes it")


FAMILY = Family(
    conditional=True, kinds=None, build=Merged, train=_refuse, check=_refuse, max_latent=2**31, spec=_refuse
)
