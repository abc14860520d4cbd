"""What a global model's file says of how far its predictions may be trusted: see `Assurance`.

The server fits it on synthetic samples (`server/assurance.py`). Nothing here changes which class is predicted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.condensed import WIDTH, condensed
from mosaic_fl.experts.kind import Expert
from mosaic_fl.numerics.density import Density

ASSURANCE = "assurance"  # in the manifest, and before the names of its tensors
PARTS = ("centres", "axes", "variances")
HOTTEST = 1e3  # temperature that is read
MOST = 1e6  # of a strangeness: a number that any table can hold
SLACK = 1e-3  # of the axes, which are orthonormal up to rounding


@dataclass(frozen=True, eq=False)
class Assurance:
    """A `temperature` by which logits are divided, and how far samples lie from those that the sites know.

    The strangeness of a sample is its distance by `density`, in what the model sees of it, over `threshold`: above 1 it
    is unlike anything the sites know. `reference` says what the threshold was measured on. `density` is None where the
    server had no samples of the sites' generators.
    """

    temperature: float
    density: Density | None = None
    threshold: float = 1.0
    reference: str = ""

    def calibrated(self, log_probabilities: Tensor) -> Tensor:
        """Calibrated probabilities float64 (n, C) of log-probabilities or logits (n, C); their order is the same."""
        return (log_probabilities.double() / self.temperature).softmax(1)

    def strangeness(self, expert: Expert, samples: Samples, device: torch.device | str = "cpu") -> Tensor | None:
        """The strangeness float64 (n,) of samples that `expert` takes; None without a density."""
        if self.density is None:
            return None
        distance = self.density.distance(condensed(expert, samples, device)) / self.threshold
        return distance.nan_to_num(nan=MOST, posinf=MOST).clamp(max=MOST)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, without the density."""
        strange = self.density is not None
        return {
            "temperature": self.temperature,
            "threshold": self.threshold if strange else None,
            "reference": self.reference,
        }


def assurance_parts(assurance: Assurance | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(what the manifest says of it, its tensors); both are empty without one."""
    if assurance is None:
        return {}, {}
    density = assurance.density
    tensors = {} if density is None else {_name(part): getattr(density, part) for part in PARTS}
    return {ASSURANCE: assurance.to_json()}, tensors


def assurance_in(
    manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[Assurance | None, dict[str, Tensor]]:
    """(the assurance, all other tensors) of a received file; raises UsageError where they do not fit each other."""
    if ASSURANCE not in manifest:
        return None, dict(tensors)
    own = {part: tensors[_name(part)] for part in PARTS if _name(part) in tensors}
    names = set(map(_name, PARTS))
    rest = {name: tensor for name, tensor in tensors.items() if name not in names}
    match manifest[ASSURANCE]:
        case {"temperature": float() | int() as heat, "threshold": threshold, "reference": str(reference)} if (
            _is_number(heat, HOTTEST) and len(reference) <= WIDTH and type(heat) is not bool
        ):
            if threshold is None and not own:
                return Assurance(float(heat), None, 1.0, reference), rest
            if _is_number(threshold, math.inf) and _fit_together(own):
                density = Density(own["centres"], own["axes"], own["variances"])
                return Assurance(float(heat), density, float(threshold), reference), rest
    raise UsageError("what it says of the trust in its predictions is damaged, or of another version")


def _is_number(value: object, most: float) -> bool:
    return type(value) in (float, int) and 0 < value < math.inf and value <= most  # type: ignore[operator]


def _fit_together(parts: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of a density: their types and shapes, positive variances, orthonormal axes."""
    if len(parts) < len(PARTS) or any(tensor.dtype != torch.float32 for tensor in parts.values()):
        return False
    centres, axes, variances = (parts[part] for part in PARTS)
    if centres.ndim != 2 or axes.ndim != 2 or variances.ndim != 1 or not len(centres):
        return False
    size, count = axes.shape
    if not 1 <= count <= size <= WIDTH or centres.shape[1] != size or len(variances) != count + 1:
        return False
    product = axes.double().T @ axes.double() - torch.eye(count, dtype=torch.float64)
    return bool((variances > 0).all()) and float(product.abs().max()) <= SLACK


def _name(part: str) -> str:
    return f"{ASSURANCE}/{part}"
