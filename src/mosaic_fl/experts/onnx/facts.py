"""What a checked model says of itself, as its process tells: plain values that travel as JSON."""

from dataclasses import asdict, dataclass
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.experts.onnx.bounds import MAX_RANK, PROPERTIES

Dimensions = tuple[int | None, ...]


@dataclass(frozen=True)
class Port:
    """An input or output: its name, the `type` of its values, and its shape, in which None is any size.

    The shape is None where the model does not say it.
    """

    name: str
    type: str
    shape: Dimensions | None

    @classmethod
    def from_json(cls, value: object) -> "Port":
        """From JSON values; raises UsageError for anything else."""
        match value:
            case {"name": str(name), "type": str(type_name), "shape": list(shape)} if len(shape) <= MAX_RANK:
                if all(side is None or type(side) is int for side in shape):
                    return cls(name, type_name, tuple(shape))
            case {"name": str(name), "type": str(type_name), "shape": None}:
                return cls(name, type_name, None)
        raise UsageError("has broken its process, which does not say what it takes")

    @property
    def batch(self) -> int | None:
        """The number of samples that the model takes at once, or None where it takes any."""
        return self.shape[0] if self.shape else None


@dataclass(frozen=True)
class Facts:
    """A model's one input, the output that is read, and its `properties`, of those in `bounds.PROPERTIES`."""

    input: Port
    output: Port
    properties: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> "Facts":
        """From JSON values; raises UsageError for anything else."""
        match value:
            case {"input": model_input, "output": output, "properties": dict(properties)} if all(
                key in PROPERTIES and isinstance(text, str) for key, text in properties.items()
            ):
                return cls(Port.from_json(model_input), Port.from_json(output), properties)
        raise UsageError("has broken its process, which does not say what it takes")
