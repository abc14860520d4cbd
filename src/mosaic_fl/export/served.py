"""A global model with all that stands before and behind it, as one network: values at rest in, probabilities out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import PRESENT, Samples
from mosaic_fl.encoders.encoded import encoded_kind, raw_schema
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.assessment import Assessment, Assessor
from mosaic_fl.exchange.encoded import encoded
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.boosted import BoostedTrees
from mosaic_fl.experts.condensed import WIDTH
from mosaic_fl.export.preparation import preparation
from mosaic_fl.export.trees import Trees
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.density import Density

HAS = "has_"  # begins the name of the input that says which samples have a field
TRACEABLE = ("gabor", "strokes", "efficientnet", "timm", "encoding")
"""Encoders of this package that are networks; each part of a joined one must be. Others have processes of their own."""


@dataclass(frozen=True)
class Input:
    """An input of the network: `name`, the `shape` of one sample, and in `words` what it is."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    words: str

    @property
    def form(self) -> str:
        """The name, the type and the shape in words, as "image: uint8 (n, 1, 28, 28)"."""
        return f"{self.name}: {str(self.dtype).removeprefix('torch.')} (n, {', '.join(map(str, self.shape))})"


class Served(nn.Module):
    """The model as one network, on the CPU.

    It takes one tensor for each of `inputs`, in their order, and gives one for each of `outputs`: probabilities
    float32 (n, C), and where the model's file has an assurance the calibrated confidence (n,) and the strangeness (n,).
    `left_out` says in words what stands before the network and is not in it.
    """

    def __init__(self, model: GlobalModel) -> None:
        super().__init__()
        self.encoder, self.left_out = _encoder(model)
        self.vectors = model.schema
        self.schema = model.schema if self.encoder is None else raw_schema(model.schema, self.encoder.of)
        expert = model.expert()
        self.assess = Assessor(expert, model.assurance, self.encoder, model.schema if self.encoder else None)
        kinds = self.schema.fields
        self.before = nn.ModuleList([] if self.encoder else [preparation(kind) for kind in kinds.values()])
        self.inner: nn.Module = _network(expert, model)
        assurance = model.assurance
        self.heat = 1.0 if assurance is None else assurance.temperature
        self.is_sure = assurance is not None
        self.inputs = tuple(_inputs(kinds))
        width = (
            self._width()
        )  # before anything is recorded: encoders make their tensors at the first call and keep them
        self.density: _Distance | None = None
        if assurance is not None and assurance.density is not None:
            self.density = _Distance(assurance.density, assurance.threshold, width)
        self.outputs = ["probabilities", *(["confidence"] if self.is_sure else [])]
        self.outputs += ["strangeness"] if self.density is not None else []
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The outputs for one tensor an input."""
        inputs = self._prepared(values)
        logits, features = self._answers(inputs)
        results = [logits.softmax(1)]
        if self.is_sure:
            results.append((logits / self.heat).softmax(1).amax(1))
        if self.density is not None:
            results.append(self.density(features))
        return tuple(results)

    def tensors(self, samples: Samples) -> tuple[Tensor, ...]:
        """The inputs for samples of `schema`."""
        if len(self.inputs) == 1:
            return (samples.only,)
        return tuple(
            part for name in samples.kinds for part in (samples.values[name], samples.having(name).float()[:, None])
        )

    def samples(self, tensors: Sequence[Tensor]) -> Samples:
        """The inverse of `tensors`."""
        kinds = self.schema.fields
        if len(kinds) == 1:
            return Samples(kinds, {next(iter(kinds)): tensors[0]})
        present = {name: tensors[2 * place + 1][:, 0] > 0 for place, name in enumerate(kinds)}
        return Samples(kinds, {name: tensors[2 * place] for place, name in enumerate(kinds)}, present)

    def expected(self, samples: Samples) -> Assessment:
        """What mosaic itself says of the samples."""
        return self.assess(samples)

    def _prepared(self, values: Sequence[Tensor]) -> Tensor | dict[str, Tensor]:
        if self.encoder is not None:
            return self.encoder.network(values[0], torch.device("cpu"))
        if len(values) == 1:
            prepared: Tensor = self.before[0](values[0])
            return prepared
        inputs = dict[str, Tensor]()
        for place, (name, before) in enumerate(zip(self.schema.fields, self.before, strict=True)):
            field = before(values[2 * place])
            has = values[2 * place + 1]
            inputs[name] = field * has.view(-1, *[1] * (field.ndim - 1))
            inputs[name + PRESENT] = has
        return inputs

    def _width(self) -> int:
        """D of what the model sees of a sample."""
        zeros = Samples(self.schema.fields, {name: kind.zeros(1) for name, kind in self.schema.fields.items()})
        with torch.no_grad():
            return self._answers(self._prepared(self.tensors(zeros)))[1].shape[1]

    def _answers(self, inputs: Tensor | dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits, and what the model sees of the samples, (n, D)."""
        if isinstance(self.inner, Classifier):
            logits: Tensor = self.inner(inputs)
            features = self.inner.features(inputs).flatten(1) if self.is_sure else logits
            return logits.float(), features.float()
        rows = inputs if isinstance(inputs, Tensor) else torch.cat([part.flatten(1) for part in inputs.values()], 1)
        rows = rows.flatten(1)
        return self.inner(rows), rows


class _Distance(nn.Module):
    """`Assurance.strangeness` in float32, of what the model sees (n, `width`): one matrix takes means and whitens."""

    scale: Tensor
    centres: Tensor

    def __init__(self, density: Density, threshold: float, width: int) -> None:
        super().__init__()
        whitener = density.whitener() / threshold
        share = -(-width // WIDTH)
        means = torch.nn.functional.one_hot(torch.arange(width) // share, len(whitener)).double()
        self.register_buffer("scale", (means / means.sum(0) @ whitener).float())
        self.register_buffer("centres", (density.centres.double() @ whitener).float())

    def forward(self, features: Tensor) -> Tensor:
        """The strangeness (n,)."""
        off = (features @ self.scale)[:, None] - self.centres
        distance: Tensor = off.square().sum(2).amin(1).sqrt()
        return distance


def _encoder(model: GlobalModel) -> tuple[Encoder | None, str]:
    """The encoder that is exported with the model; where there is one that is not, why."""
    if encoded_kind(model.schema) is None:
        return None, ""
    try:
        behind = encoded(model)
    except UsageError as error:
        return None, f"the encoder: {error}"
    assert behind is not None
    heads = [part.partition(":")[0] for part in behind.encoder.name.split("+")]
    if not all(head.startswith(TRACEABLE) for head in heads):
        return None, f"the encoder {behind.encoder.name}, which is no network of this package"
    return behind.encoder, ""


def _network(expert: object, model: GlobalModel) -> nn.Module:
    if isinstance(expert, Classifier):
        return expert.eval()
    if isinstance(expert, BoostedTrees):
        return Trees(expert)
    raise UsageError(f"a model of the kind {model.architecture} has no other form than mosaic's own file")


def _inputs(kinds: Mapping[str, Kind]) -> list[Input]:
    inputs = list[Input]()
    for name, kind in kinds.items():
        at_rest = kind.zeros(1)
        inputs.append(Input(name, tuple(at_rest.shape[1:]), at_rest.dtype, kind.summary))
        if len(kinds) > 1:
            inputs.append(Input(HAS + name, (1,), torch.float32, f"1 where a sample has {name}, else 0"))
    return inputs
