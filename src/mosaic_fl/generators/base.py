"""The interface of a generator, and the specification from which the server rebuilds one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Inputs, Samples, concatenate, from_network
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.devices import AT_ONCE, images_at_once
from mosaic_fl.numerics.states import State
from mosaic_fl.registries import GENERATORS

MAX_WIDTH = 1024  # of a received specification
MAX_MEMBERS = 256  # of a merged generator
MAX_UNLIKE = 16  # specifications among them: the work of each is estimated when a file comes
MAX_UNLIKE_IN_FIELDS = 64  # of all fields together
# Families whose generators are made of others: of several clients, and of fields.
MERGED = "merged"
PRODUCT = "product"


@dataclass(frozen=True)
class GeneratorSpec:
    """All that is needed to rebuild a generator's network: family, size of the latent z, base width.

    A generator of the family `MERGED` has `members`, and one value of z more than the largest of them. No member is
    merged itself. One of the family `PRODUCT` has a member for each of `fields`, and z is that of all members in turn.
    """

    family: str
    latent: int
    width: int
    members: tuple["GeneratorSpec", ...] = ()
    fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        most = GENERATORS.received(self.family).max_latent
        if not (1 <= self.latent <= most and 1 <= self.width <= MAX_WIDTH):
            raise UsageError(
                f"generator latent {self.latent}, width {self.width}: must lie in 1..{most}, 1..{MAX_WIDTH}"
            )
        if self.family == PRODUCT:
            self._check_fields()
            return
        if bool(self.members) != (self.family == MERGED) or len(self.members) > MAX_MEMBERS or self.fields:
            members = len(self.members)
            raise UsageError(f"generator {self.family} of {members} others: {MERGED} alone has 1..{MAX_MEMBERS}")
        if any(member.family in (MERGED, PRODUCT) or not member.conditional for member in self.members):
            raise UsageError(f"generator {MERGED}: each of its members must draw samples of a given class by itself")
        if self.members and self.latent != 1 + max(member.latent for member in self.members):
            raise UsageError(f"generator {MERGED}: latent {self.latent} must be one more than its members' largest")
        if len(self.unlike) > MAX_UNLIKE:
            raise UsageError(f"generator {MERGED} of {len(self.unlike)} kinds of others: at most {MAX_UNLIKE}")

    def _check_fields(self) -> None:
        if not 1 <= len(self.members) == len(set(self.fields)) == len(self.fields):
            raise UsageError(f"generator {PRODUCT}: it has one member for each of its fields, and one field at least")
        if any(member.family == PRODUCT or not member.conditional for member in self.members):
            raise UsageError(f"generator {PRODUCT}: each of its members must draw samples of a given class by itself")
        if self.latent != sum(member.latent for member in self.members):
            raise UsageError(f"generator {PRODUCT}: latent {self.latent} must be that of all its members together")
        if (kinds := sum(max(1, len(member.unlike)) for member in self.members)) > MAX_UNLIKE_IN_FIELDS:
            raise UsageError(f"generator {PRODUCT} of {kinds} kinds of others: at most {MAX_UNLIKE_IN_FIELDS}")

    @property
    def conditional(self) -> bool:
        """Whether its generator draws samples of a given class."""
        return GENERATORS.received(self.family).conditional

    @property
    def unlike(self) -> tuple["GeneratorSpec", ...]:
        """The members, each specification once."""
        return tuple(dict.fromkeys(self.members))

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`."""
        own = {"family": self.family, "latent": self.latent, "width": self.width}
        members = {"members": [member.to_json() for member in self.members]} if self.members else {}
        return own | members | ({"fields": list(self.fields)} if self.fields else {})

    @classmethod
    def from_json(cls, value: object) -> "GeneratorSpec":
        """From JSON values that may come from anywhere; raises UsageError for anything but a specification."""
        match value:
            case {"family": str(family), "latent": latent, "width": width} if (
                type(latent) is type(width) is int
            ):  # no bool
                members = _members(family, value) if family in (MERGED, PRODUCT) else ()
                return cls(family, latent, width, members, _fields(value) if family == PRODUCT else ())
        raise UsageError("the generator's specification needs a family, a latent size and a width")


class Generator(nn.Module):
    """z float32 (n, latent) standard normal, labels int64 (n,) -> images (n, channels, height, width) in −1..1.

    A `conditional` generator draws samples of the classes `labels`; an unconditional one ignores them. One that `opens`
    has a `decode` with gradients, through which an audit looks for a sample in its latents.
    """

    conditional: bool
    opens: bool = False
    spec: GeneratorSpec

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images for latents `z` and `labels`."""
        raise NotImplementedError

    def place(self, z: Tensor, labels: Tensor) -> Tensor:
        """The latents (n, latent) of the network, from the standard normal `z`."""
        return z

    def decode(self, place: Tensor, labels: Tensor) -> Tensor:
        """What it draws at a `place`: `forward(z, labels)` is `decode(place(z, labels), labels)`."""
        drawn: Tensor = self(place, labels)
        return drawn

    def outputs(self, z: Tensor, labels: Tensor) -> Inputs:
        """As `forward`, in the form of a network's inputs."""
        values: Tensor = self(z, labels)
        return values

    def fit_to(self, state: State) -> Self:
        """Itself, with room for a received `state`, where the sizes of some of its tensors are the sender's choice."""
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        """Itself, with tensors of the sizes that training on so many samples a class gives them, at most."""
        return self

    def check(self) -> None:
        """Raise UsageError where received weights are not valid for this generator; their shapes are checked before."""

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """(module that does the work, inputs for a batch of two, passes for one sample), to estimate its cost."""
        device = self.device
        return (
            self,
            (torch.zeros(2, self.spec.latent, device=device), torch.zeros(2, dtype=torch.int64, device=device)),
            1,
        )

    @property
    def device(self) -> torch.device:
        """The device of its weights; a generator that is not trained by gradients has only buffers."""
        return next(iter([*self.parameters(), *self.buffers()])).device

    @torch.no_grad()
    def sample(self, labels: Tensor, rng: torch.Generator, batch: int = AT_ONCE) -> Tensor:
        """Images float32 (n, channels, height, width) in −1..1, one per label; `rng` draws z for `batch` at once.

        The draws are made on the CPU. They do not depend on how many samples the device takes at once.
        """
        device = self.device
        was_training = self.training
        self.eval()
        images = list[Tensor]()
        few = images_at_once(device)
        for part in labels.split(batch):
            latents = torch.randn(len(part), self.spec.latent, generator=rng)
            images += [
                self(z.to(device), y.to(device)) for z, y in zip(latents.split(few), part.split(few), strict=True)
            ]
        self.train(was_training)
        return torch.cat(images) if images else torch.empty(0, device=device)

    def samples(self, kinds: Mapping[str, Kind], labels: Tensor, rng: torch.Generator) -> Samples:
        """Samples at rest of these `kinds`, one per label, on the CPU; see `sample`.

        Raises UsageError where what is drawn is not finite.
        """
        parts = list[Samples]()
        for part in labels.split(AT_ONCE):
            outputs = self.sample(part, rng)
            if not bool(outputs.isfinite().all()):
                family = self.spec.family
                raise UsageError(f"a generator ({family}) gives non-finite samples: leave its contribution out")
            parts.append(from_network(kinds, outputs).to("cpu"))
        return concatenate(parts)


def build(spec: GeneratorSpec, schema: Schema) -> Generator:
    """The generator that `spec` describes, freshly initialised from torch's ambient generator.

    Raises UsageError where its family draws no samples of this kind.
    """
    require_kind(spec.family, schema)
    return GENERATORS.received(spec.family).build(spec, schema)


def require_kind(family: str, schema: Schema) -> None:
    """Raise UsageError unless generators of `family` draw samples of this schema."""
    kinds = GENERATORS.received(family).kinds
    if kinds is not None and schema.joins:
        raise UsageError(f"generator {family} draws one field, and samples have {', '.join(schema.fields)}")
    if kinds is not None and schema.kind.name not in kinds:
        names = ", ".join(sorted(kinds))
        raise UsageError(
            f"generator {family} draws samples of the kind {names}, not {schema.kind.name}: set generator.family to "
            "one that does, or to none"
        )


def fields_drawn(family: str, schema: Schema) -> list[str]:
    """The fields of a schema whose kinds generators of `family` draw; raises UsageError where they draw none."""
    kinds = GENERATORS.received(family).kinds
    names = [name for name, kind in schema.fields.items() if kinds is None or kind.name in kinds]
    if not names:
        raise UsageError(
            f"generator {family} draws none of the fields {', '.join(schema.fields)}: set generator.family to auto"
        )
    return names


def _members(family: str, value: object) -> tuple[GeneratorSpec, ...]:
    """The members of a received specification; those that may not be in it are refused before they are read."""
    refused = (PRODUCT,) if family == PRODUCT else (MERGED, PRODUCT)
    match value:
        case {"members": list(rows)} if len(rows) <= MAX_MEMBERS and not any(_is_of(refused, row) for row in rows):
            return tuple(map(GeneratorSpec.from_json, rows))
    raise UsageError(
        f"generator {family}: its members are a list of at most {MAX_MEMBERS} that are not {' or '.join(refused)}"
    )


def _fields(value: object) -> tuple[str, ...]:
    match value:
        case {"fields": list(names)} if all(isinstance(name, str) for name in names):
            return tuple(names)
    raise UsageError(f"generator {PRODUCT}: it says no names of fields")


def _is_of(families: Sequence[str], value: object) -> bool:
    return isinstance(value, dict) and value.get("family") in families


def central(images: Tensor, height: int, width: int) -> Tensor:
    """The middle `height` × `width` pixels of images (n, channels, h, w) that are as large or larger."""
    top = (images.shape[2] - height) // 2
    start = (images.shape[3] - width) // 2
    # Contiguous: otherwise each network that takes the crop would copy it again.
    return images[..., top : top + height, start : start + width].contiguous()


def join(generators: Sequence[Generator]) -> None:
    """Tell the generators of one family of each other: see `Family.join`."""
    by_family: dict[str, list[Generator]] = {}
    for generator in generators:
        by_family.setdefault(generator.spec.family, []).append(generator)
    for family, members in by_family.items():
        GENERATORS.received(family).join(members)
