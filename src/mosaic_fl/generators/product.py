"""`product`: one conditional generator for each field of a client's samples, which are independent given the class.

p(x | y) = Π_f p_f(x_f | y). Nothing is trained here: the state is the members' states. The server joins fields of
several clients in the same way; what fields share beyond the class is lost (docs/modalities.md says how much).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Inputs, Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import PRODUCT, Generator, GeneratorSpec, build
from mosaic_fl.generators.family import Family
from mosaic_fl.numerics.states import State, under


class Product(Generator):
    """z holds that of each member in turn. No sample has a field without a member."""

    conditional = True

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.spec = spec
        if missing := [name for name in spec.fields if name not in schema.fields]:
            raise UsageError(f"its generator draws the field {missing[0]!r}, which samples do not have")
        self.members = nn.ModuleList(
            build(member, schema.part([name])) for name, member in zip(spec.fields, spec.members, strict=True)
        )

    def by_field(self) -> dict[str, Generator]:
        """The members by the field that each draws."""
        members = [member for member in self.members if isinstance(member, Generator)]
        return dict(zip(self.spec.fields, members, strict=True))

    def fit_to(self, state: State) -> Self:
        for place, member in enumerate(self.by_field().values()):
            member.fit_to(under(_prefix(place), state))
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        for member in self.by_field().values():
            member.expect(counts)
        return self

    def check(self) -> None:
        for member in self.by_field().values():
            member.check()

    def outputs(self, z: Tensor, labels: Tensor) -> Inputs:
        parts = z.split([member.latent for member in self.spec.members], 1)
        members = zip(self.by_field().items(), parts, strict=True)
        return {name: member(part, labels) for (name, member), part in members}

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        outputs = self.outputs(z, labels)
        assert isinstance(outputs, dict)
        return torch.cat([values.flatten(1) for values in outputs.values()], 1)

    def samples(self, kinds: Mapping[str, Kind], labels: Tensor, rng: torch.Generator) -> Samples:
        """As `Generator.samples`, one member after the other."""
        members = self.by_field()
        drawn = {name: member.samples({name: kinds[name]}, labels, rng).only for name, member in members.items()}
        rest = {name: kind.zeros(len(labels)) for name, kind in kinds.items() if name not in drawn}
        return Samples(kinds, {name: {**drawn, **rest}[name] for name in kinds}).with_fields(tuple(drawn))


def product(members: Mapping[str, tuple[GeneratorSpec, State]]) -> tuple[GeneratorSpec, State]:
    """One generator's specification and state, of specification and state of each field's own generator."""
    specs = [spec for spec, _ in members.values()]
    spec = GeneratorSpec(
        PRODUCT, sum(s.latent for s in specs), max(s.width for s in specs), tuple(specs), tuple(members)
    )
    states = enumerate(state for _, state in members.values())
    return spec, {_prefix(place) + name: tensor for place, state in states for name, tensor in state.items()}


def product_of(generators: Mapping[str, Generator], schema: Schema) -> Product:
    """The generator of samples of the schema whose members are these `generators` by field."""
    spec, _ = product({name: (generator.spec, State()) for name, generator in generators.items()})
    with torch.random.fork_rng(devices=[]):
        result = Product(spec, schema)
    result.members = nn.ModuleList(generators.values())
    return result.eval()


def members_of(spec: GeneratorSpec, state: State) -> dict[str, tuple[GeneratorSpec, State]]:
    """Specification and state of each field's generator: the inverse of `product`."""
    parts = enumerate(zip(spec.fields, spec.members, strict=True))
    return {name: (member, under(_prefix(place), state)) for place, (name, member) in parts}


def _prefix(place: int) -> str:
    return f"members.{place}."


def _refuse(*_: Any, **__: Any) -> Any:
    raise UsageError(f"generator.family = {PRODUCT}: each field has a generator of its own: say auto, or a family")


FAMILY = Family(
    conditional=True, kinds=None, build=Product, train=_refuse, check=_refuse, max_latent=2**31, spec=_refuse
)
