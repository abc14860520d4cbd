"""Samples on which an exported model is held against mosaic itself, and how far apart the two are."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.assessment import Assessment
from mosaic_fl.export.served import Served
from mosaic_fl.numerics.randomness import Stream

COUNT = 131  # more than encoders take at once
TOLERANCE = 1e-2  # float32 in another order: squares of distances of a strange sample are large
MOST = 2**24  # values of all samples: fewer of large ones
MISSING = 8  # rows that lack whatever may be missing

Run = Callable[[tuple[Tensor, ...]], Mapping[str, Tensor]]
"""One tensor an input -> the outputs by name."""


def trial_samples(served: Served, count: int = COUNT) -> Samples:
    """Random samples of all fields: noise, public samples where the kind has some, and rows with missing values."""
    schema = served.schema
    few = max(2, min(count, MOST // max(schema.size, 1)))
    values = {name: _values(kind, few, Stream(0, f"export/{name}")) for name, kind in schema.fields.items()}
    if len(values) == 1:
        return Samples(schema.fields, values)
    rng = Stream(0, "export").torch()
    present = {name: torch.rand(few, generator=rng) < 0.7 for name in list(values)[1:]}
    return Samples(schema.fields, values, present)


def largest_difference(served: Served, run: Run, samples: Samples) -> float:
    """The largest difference of any output on the samples, of a strangeness above 1 as a share of it.

    Raises MosaicError where an output is missing or has another shape.
    """
    values = served.tensors(samples)
    # One sample alone, too: a format may have taken the number of samples for a constant.
    parts = [run(tuple(tensor[rows] for tensor in values)) for rows in (slice(0, 1), slice(1, None))]
    outputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    worst = 0.0
    for name, expected in _expected(served, served.expected(samples)).items():
        answer = outputs.get(name)
        if answer is None or answer.shape != expected.shape:
            raise MosaicError(f"the exported model gives no {name} of the shape {tuple(expected.shape)}")
        off = (answer.double() - expected.double()).abs() / expected.double().abs().clamp(min=1)
        worst = max(worst, float(off.max()) if bool(off.isfinite().all()) else torch.inf)
    return worst


def require_equal(served: Served, run: Run, tolerance: float, what: str) -> float:
    """The largest difference; raises MosaicError where it is above `tolerance`."""
    worst = largest_difference(served, run, trial_samples(served))
    if not worst <= tolerance:
        raise MosaicError(
            f"{what} and mosaic differ by {worst:.2g} on samples, and {tolerance:g} is allowed: nothing is written"
        )
    return worst


def _expected(served: Served, assessment: Assessment) -> dict[str, Tensor]:
    every = {
        "probabilities": assessment.probabilities,
        "confidence": assessment.confidence,
        "strangeness": assessment.strangeness,
    }
    return {name: tensor for name, tensor in every.items() if name in served.outputs and tensor is not None}


def _values(kind: Kind, count: int, stream: Stream) -> Tensor:
    rng = stream.torch()
    zeros = kind.zeros(count)
    strange: Callable[[int, Stream], Tensor] | None = getattr(kind, "strange", None)
    if zeros.dtype == torch.uint8:
        noise = torch.randint(0, 256, zeros.shape, dtype=torch.uint8, generator=rng)
    elif strange is None:
        noise = torch.randn(zeros.shape, generator=rng)
    else:
        noise = strange(count, stream)
        for column, may_be_missing in enumerate(getattr(kind, "columns", ())):
            if may_be_missing.missing:
                noise[:MISSING, column] = torch.nan
    if strange is not None:
        noise[count // 2 :] = strange(count, stream)[count // 2 :]
    return noise
