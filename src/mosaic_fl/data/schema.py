"""What a sample is: the part of a data set that every site must agree on before any training."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args
from unicodedata import category

from mosaic_fl.errors import UsageError

# Bounds on what a received schema may claim, so that it cannot make a reader allocate without limit.
MAX_CHANNELS, MAX_SIDE, MAX_CLASSES, MAX_NAME = 16, 1024, 10_000, 200
Fit = Literal["pad", "crop", "stretch"]  # how a picture that is no square becomes one
FITS: tuple[str, ...] = get_args(Fit)
UNSHOWN = ("Cc", "Cs", "Zl", "Zp")  # kinds of characters that steer a terminal, are none, or end a line
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # that reorder what stands around them


def _is_plain(name: str) -> bool:
    return TURNING.isdisjoint(name) and not any(category(character) in UNSHOWN for character in name)


SHOWN = 6  # class names in a `repr`


@dataclass(frozen=True, repr=False)
class Schema:
    """Shape and classes of image data.

    `shape` is (channels, height, width); `classes` holds one name per label 0..C−1, all different. `fit` says how
    pictures that are no squares became what they are. Pixels are uint8 in 0..255 at rest and float32 in −1..1 in models
    and generators. Raises UsageError for values out of bounds.
    """

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    fit: Fit = "pad"

    def __post_init__(self) -> None:
        channels, height, width = self.shape
        if not (1 <= channels <= MAX_CHANNELS and 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise UsageError(
                f"image shape {self.shape} is out of bounds: 1..{MAX_CHANNELS} channels, 1..{MAX_SIDE} pixels a side"
            )
        if not 2 <= len(self.classes) <= MAX_CLASSES:
            raise UsageError(f"{len(self.classes)} classes: a classifier needs 2..{MAX_CLASSES}")
        for name in self.classes:
            if not isinstance(name, str) or len(name) > MAX_NAME or not _is_plain(name):
                raise UsageError(
                    f"class name {str(name)[:40]!r}: names are text of at most {MAX_NAME} characters, none of them a "
                    "control character"
                )
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name, count in Counter(self.classes).items() if count > 1)
            raise UsageError(f"class name {twice!r} is there twice: each class has a name of its own")
        if self.fit not in FITS:
            raise UsageError(f"fit is {str(self.fit)[:40]!r}: it can be {', '.join(FITS)}")

    def __repr__(self) -> str:
        if len(self.classes) <= SHOWN:
            return f"Schema(shape={self.shape}, classes={self.classes})"
        names = ", ".join(map(repr, self.classes[:SHOWN]))
        return f"Schema(shape={self.shape}, classes=({names}, … {self.num_classes:,} in all))"

    @property
    def summary(self) -> str:
        """The shape and the number of classes in words, as "1×8×8 images, 10 classes"."""
        return f"{'×'.join(map(str, self.shape))} images, {self.num_classes:,} classes"

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.classes)

    def difference(self, other: "Schema") -> str:
        """In what this schema differs from another one, in words: the images' shape, their fit, or the classes."""
        if self.shape != other.shape:
            ours, theirs = ("×".join(map(str, schema.shape)) for schema in (self, other))
            return f"images of {ours}, not {theirs}"
        if self.fit != other.fit:
            return f"images fitted by {self.fit}, not by {other.fit}"
        ours, theirs = (", ".join(schema.classes[:10]) for schema in (self, other))
        if len(self.classes) != len(other.classes) or ours == theirs:
            return f"{len(self.classes)} classes ({ours}), not {len(other.classes)} ({theirs})"
        return f"the classes {ours}, not {theirs}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`; without the usual fit, as before there was one."""
        fit = {} if self.fit == "pad" else {"fit": self.fit}
        return {"kind": "image", "shape": list(self.shape), "classes": list(self.classes), "range": [0, 255], **fit}

    @classmethod
    def from_json(cls, value: object) -> "Schema":
        """From JSON values that may come from anywhere; raises UsageError for anything but a schema."""
        match value:
            case {
                "kind": "image",
                "shape": [c, h, w],
                "classes": list(names),
                "range": [0, 255],
                **rest,
            }:
                if all(type(side) is int for side in (c, h, w)):  # no bool
                    return cls((c, h, w), tuple(names), cast("Fit", rest.get("fit", "pad")))
        raise UsageError("the schema is not one of 8-bit images with a list of class names")
