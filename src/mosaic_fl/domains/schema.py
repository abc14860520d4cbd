"""The schema: the fields of a sample and the classes. All sites must have the same one before any training."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any
from unicodedata import category

from mosaic_fl.domains.kind import Kind, kind_from_json
from mosaic_fl.errors import UsageError

# Bounds on a received schema, so that it cannot make a reader allocate without limit.
MAX_CLASSES = 10_000
MAX_NAME = 200
MAX_FIELDS = 100
REPR_CLASSES = 6  # class names in a `repr`
MARKS = ("?", "~")  # files end tensors with them that say which samples have a field, or which values are missing
CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # categories of characters that control a terminal, are invalid, or end a line
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # these reorder the text around them


def is_plain(name: str) -> bool:
    """Whether a name is of a length in bounds, and has no character that controls or reorders what is shown."""
    if len(name) > MAX_NAME:
        return False
    return REORDERING.isdisjoint(name) and not any(category(character) in CONTROLS for character in name)


@dataclass(frozen=True, repr=False)
class Schema:
    """The fields of a sample, each a name and a kind, and the classes.

    The fields stand in the order of their names: weights of networks and counts by field have that order, and files
    keep no other. `classes` holds one name per label 0..C−1, all different. Raises UsageError for values out of bounds.
    """

    fields: Mapping[str, Kind]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.fields) <= MAX_FIELDS:
            raise UsageError(f"{len(self.fields)} fields: a sample has 1..{MAX_FIELDS}")
        for name in self.fields:
            require_plain("field", name)
            if name[-1:] in MARKS and name[:-1] in self.fields:
                raise UsageError(f"fields {name[:-1]!r} and {name!r}: {name[-1]} ends what files say of the first one")
        object.__setattr__(self, "fields", by_name(self.fields))
        if not 2 <= len(self.classes) <= MAX_CLASSES:
            raise UsageError(f"{len(self.classes)} classes: a classifier needs 2..{MAX_CLASSES}")
        for name in self.classes:
            require_plain("class", name)
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name, count in Counter(self.classes).items() if count > 1)
            raise UsageError(f"class name {twice!r} is there twice: each class has a name of its own")

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self.classes[:REPR_CLASSES]))
        more = f", … {self.num_classes:,} in all" if self.num_classes > REPR_CLASSES else ""
        fields = ", ".join(f"{name}: {kind.summary}" for name, kind in self.fields.items())
        return f"Schema({fields}; classes ({names}{more}))"

    @property
    def summary(self) -> str:
        """The fields and the number of classes in words, as "1×8×8 images, 10 classes"."""
        return f"{', '.join(kind.summary for kind in self.fields.values())}, {self.num_classes:,} classes"

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.fields)), self.classes))

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.classes)

    @property
    def kind(self) -> Kind:
        """The kind of the one field; raises UsageError where samples have several."""
        if len(self.fields) > 1:
            raise UsageError(f"samples have the fields {', '.join(self.fields)}, where one alone can be used")
        return next(iter(self.fields.values()))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the one field's values in a network, (channels, height, width) of images."""
        return self.kind.shape

    @property
    def joins(self) -> bool:
        """Whether samples have several fields."""
        return len(self.fields) > 1

    @property
    def size(self) -> int:
        """The number of values of a sample in a network, of all fields together."""
        return sum(prod(kind.shape) for kind in self.fields.values())

    def part(self, names: Sequence[str]) -> "Schema":
        """The schema of samples with the fields `names` alone, in the order of this schema."""
        if self.fields.keys() <= set(names):
            return self
        return Schema({name: kind for name, kind in self.fields.items() if name in names}, self.classes)

    @property
    def of_rows(self) -> bool:
        """Whether every field is a row of numbers in a network, without a layout as that of pixels."""
        return all(len(kind.shape) == 1 for kind in self.fields.values())

    @property
    def of_vectors(self) -> bool:
        """Whether a field is of vectors, rows whose numbers have no meaning alone: trees suit them badly."""
        return any(kind.name == "vector" for kind in self.fields.values())

    @property
    def holds_rows(self) -> bool:
        """Whether a field is of rows of a table, or of vectors that encode such rows."""
        kinds = [getattr(kind, "of", None) or kind for kind in self.fields.values()]
        return any(len(kind.shape) == 1 and kind.name != "vector" for kind in kinds)

    @property
    def is_space(self) -> bool:
        """Whether samples are vectors of one space that all sites share, as of one public encoder."""
        return not self.joins and self.of_vectors

    def difference(self, other: "Schema") -> str:
        """The difference from another schema in words: of the fields, or of the classes where the fields agree."""
        if self.fields.keys() != other.fields.keys():
            return f"the fields {', '.join(self.fields)}, not {', '.join(other.fields)}"
        for name, kind in self.fields.items():
            if kind != other.fields[name]:
                return kind.difference(other.fields[name])
        ours, theirs = (", ".join(schema.classes[:10]) for schema in (self, other))
        if len(self.classes) != len(other.classes) or ours == theirs:
            return f"{len(self.classes)} classes ({ours}), not {len(other.classes)} ({theirs})"
        return f"the classes {ours}, not {theirs}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`; a single field with its kind's name has the form of version 1."""
        fields = {name: kind.to_json() for name, kind in self.fields.items()}
        if set(fields) != {next(iter(self.fields.values())).name}:
            return {"fields": fields, "classes": list(self.classes)}
        kind = fields.popitem()[1]
        order: tuple[str, ...] = ("kind", "shape")  # as in version 1, byte for byte
        first = {key: kind.pop(key) for key in order if key in kind}
        return {**first, "classes": list(self.classes), **kind}

    @classmethod
    def from_json(cls, value: object) -> "Schema":
        """From JSON values that may come from anywhere; raises UsageError for anything but a schema."""
        match value:
            case {"fields": dict(fields), "classes": list(names)} if len(fields) <= MAX_FIELDS:
                return cls({name: kind_from_json(kind) for name, kind in fields.items()}, tuple(names))
            case {"kind": str(name), "classes": list(names), **rest}:
                return cls({name: kind_from_json({"kind": name, **rest})}, tuple(names))
        raise UsageError("it is no schema: that has fields of kinds known here, or images, and a list of class names")


def by_name(fields: Mapping[str, Kind]) -> Mapping[str, Kind]:
    """The fields in the order of their names."""
    return fields if len(fields) == 1 else {name: fields[name] for name in sorted(fields)}


def require_plain(role: str, name: object) -> None:
    """Raise UsageError unless `name` is plain text of a length in bounds; `role` says in the error what it names."""
    if not isinstance(name, str) or not is_plain(name):
        raise UsageError(
            f"{role} name {str(name)[:40]!r}: names are text of at most {MAX_NAME} characters, none of them a control "
            "character"
        )
