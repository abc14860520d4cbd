"""The kind `vector`: the features that a public encoder, or a user's own program, makes of each sample."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.kind import Kind, kind_from_json
from mosaic_fl.domains.schema import require_plain
from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.numerics.randomness import Stream

MAX_SIZE = 65_536  # bound on a received schema, so that it cannot make a reader allocate without limit
DIGEST = re.compile("[0-9a-f]{64}|")
NEARLY_NORMAL = ("gabor", "strokes")  # encoders
SHORT = 12  # characters of a digest in a message


@dataclass(frozen=True)
class Vector:
    """Vectors of `size` numbers, float32 (n, size) at rest and in a network; each number is finite.

    `encoder` is the name of the public encoder that made them, `digest` its SHA-256 in hexadecimal, and `of` the kind
    of the values that it encodes. All are empty for vectors of a user's own.

    Raises UsageError for values out of bounds.
    """

    name: ClassVar[str] = "vector"
    drawn_well: ClassVar[bool] = True
    size: int
    encoder: str = ""
    digest: str = ""
    of: Kind | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE:
            raise UsageError(f"vectors of {self.size:,} numbers: 1..{MAX_SIZE:,} are used")
        require_plain("encoder", self.encoder)
        if not DIGEST.fullmatch(self.digest):
            raise UsageError(f"the digest of an encoder is {self.digest[:40]!r}: it has 64 hexadecimal digits, or none")
        if (self.digest or self.of is not None) and not self.encoder:
            raise UsageError("vectors have a digest or a kind that is encoded, and no encoder")
        if self.of is not None and self.of.name == self.name:
            raise UsageError("an encoder of vectors is not used: encode the values themselves")

    @property
    def shape(self) -> tuple[int, ...]:
        """(size,)."""
        return (self.size,)

    def check(self, values: Tensor) -> None:
        """Raise UsageError unless `values` are float32 (n, size) and finite."""
        if values.dtype != torch.float32 or tuple(values.shape[1:]) != self.shape:
            raise UsageError(
                f"vectors are {values.dtype} {tuple(values.shape)}, the schema says float32 (n, {self.size})"
            )
        if not bool(values.isfinite().all()):
            row, place = (~values.isfinite()).nonzero()[0].tolist()
            raise UsageError(f"vector {row} has {float(values[row, place]):g} at place {place}: numbers must be finite")

    def zeros(self, n: int) -> Tensor:
        """Vectors of zeros."""
        return torch.zeros(n, self.size)

    def to_network(self, values: Tensor) -> Tensor:
        """A copy: networks take vectors as they are."""
        return values.to(torch.float32, copy=True)

    def to_rest(self, values: Tensor) -> Tensor:
        """A copy as float32; what is beyond its range becomes the largest value."""
        most = torch.finfo(torch.float32).max
        return values.clamp(-most, most).to(torch.float32, copy=True)

    def augmentation(self, setting: str) -> str:
        """None: a number of a vector has no harmless change."""
        return "none"

    def varied(self, values: Tensor, how: str, rng: torch.Generator) -> Tensor:
        """The vectors as they are."""
        return values

    def prior_source(self, setting: str) -> str:
        """`setting`; "auto" is "none"."""
        return "none" if setting == "auto" else setting

    def check_prior(self, source: str) -> None:
        """Raise UsageError unless `source` is "none": no vectors are public."""
        if source != "none":
            raise unknown("prior of vectors", source[:40], ("none",))

    def prior(self, source: str, n: int, stream: Stream) -> Tensor:
        """Raise UsageError: there are no public vectors."""
        raise unknown("prior of vectors", source[:40], ("none",))

    def mixed(self, prior: Tensor, samples: Tensor, config: DistillConfig, seed: int) -> Tensor:
        """The public vectors as they are."""
        return prior

    @property
    def is_nearly_normal(self) -> bool:
        """Whether classes are nearly Gaussians in these vectors, so that each has a covariance worth telling.

        It was measured of grey pictures' encoders. Of photographs' features and rows a shared one is better
        (docs/notes/encoders.md).
        """
        return all(part.partition(":")[0] in NEARLY_NORMAL for part in self.encoder.split("+"))

    def default_models(self) -> tuple[str, ...]:
        """Two perceptrons."""
        return "mlp:128:2", "mlp:128:1"

    def default_student(self) -> str:
        """A perceptron."""
        return "mlp:128:2"

    @property
    def summary(self) -> str:
        """The size in words, as "vectors of 128 numbers"."""
        return f"vectors of {self.size:,} number{'s' * (self.size > 1)}"

    def difference(self, other: Kind) -> str:
        """The first of size, encoder, digest and encoded kind that differs, in words."""
        if not isinstance(other, Vector) or self.size != other.size:
            return f"{self.summary}, not {other.summary}"
        if self.encoder != other.encoder:
            return f"vectors of {_maker(self.encoder)}, not of {_maker(other.encoder)}"
        if self.digest != other.digest:
            return (
                f"vectors of encoder {self.encoder} with the digest {self.digest[:SHORT] or 'empty'}, not "
                f"{other.digest[:SHORT] or 'empty'}: another version, or other weights"
            )
        if self.of is None or other.of is None:
            return f"vectors of {_source(self.of)}, not of {_source(other.of)}"
        return f"vectors of {self.of.difference(other.of)}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values; what is empty is left out."""
        made = {"encoder": self.encoder, "digest": self.digest}
        of = {} if self.of is None else {"of": self.of.to_json()}
        return {"kind": self.name, "size": self.size, **{name: text for name, text in made.items() if text}, **of}

    @classmethod
    def from_json(cls, value: object) -> "Vector":
        """From JSON values that may come from anywhere; raises UsageError for anything but vectors."""
        match value:
            case {"kind": "vector", "size": size, **rest} if type(size) is int:  # no bool
                encoder = rest.get("encoder", "")
                digest = rest.get("digest", "")
                of = rest.get("of")
                if isinstance(encoder, str) and isinstance(digest, str) and not _is_vector(of):
                    return cls(size, encoder, digest, None if of is None else kind_from_json(of))
        raise UsageError("the schema's vectors have no size, or an encoder, a digest or an encoded kind that is none")


def _is_vector(value: object) -> bool:
    """Whether JSON values are of vectors: they are refused here, so that no depth of nesting is read."""
    return isinstance(value, dict) and value.get("kind") == Vector.name


def _maker(encoder: str) -> str:
    return f"encoder {encoder}" if encoder else "no public encoder"


def _source(kind: Kind | None) -> str:
    return "something not told" if kind is None else kind.summary
