"""The global model: its weights as a value and as a file, its predictions, and their evaluation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl.data.arrays import from_arrays, pixels_of
from mosaic_fl.data.memory import samples_in, values_of
from mosaic_fl.data.vectors import vectors_of
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.bundle import Bundle, bundle_of, require_bundle
from mosaic_fl.encoders.encoded import encoded_kind, space_of
from mosaic_fl.encoders.encoding import encode_samples
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.assessment import Assessment, Assessor
from mosaic_fl.exchange.assurance import Assurance, assurance_in, assurance_parts
from mosaic_fl.exchange.bundled import BUNDLE, packed, unpacked
from mosaic_fl.exchange.encoded import encoded
from mosaic_fl.exchange.evaluation import Evaluation, numbers_of
from mosaic_fl.exchange.hub import push
from mosaic_fl.exchange.model_file import FILE, model_file
from mosaic_fl.exchange.probing import probe_model
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import accuracy, recall
from mosaic_fl.models.network import load_network
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.storage import container
from mosaic_fl.storage.files import write_atomic

KIND = "global model"

ROWS: dict[str, Callable[[Any, Schema], Tensor]] = {"table": values_of, "vector": vectors_of}
"""How a user's arrays become values at rest, by the kind of samples that are no images."""

Images = npt.ArrayLike | Tensor | Samples | Dataset


@dataclass(frozen=True, repr=False)
class GlobalModel:
    """A classifier's architecture, schema and weights, and where it is bundled those of its public encoder.

    `assurance` says how far predictions may be trusted, where the server could find that out.

    `images` in its methods are as in `contribute`: arrays or tensors (n, h, w), (n, channels, h, w) or
    (n, h, w, channels), uint8 or numbers in `value_range`, the (black, white) values; or one image without n; or rows
    of a table as in `from_table`; or a `Dataset` or its samples, of the model's fields and shapes. Results are tensors
    on the CPU with one row an image; `.numpy()` makes arrays of them. Methods raise UsageError for images of another
    shape or type, for rows that cannot be read, and for a `device` that this machine does not have.
    """

    architecture: str
    schema: Schema
    state: dict[str, Tensor]
    bundle: Bundle = field(default_factory=dict)
    assurance: Assurance | None = None

    def __repr__(self) -> str:
        weights = sum(tensor.numel() for tensor in self.state.values() if tensor.is_floating_point())
        size = f"{weights:,} weights" if weights else f"{sum(t.nbytes for t in self.state.values()):,} bytes"
        beside = ", with its encoder" if self.bundle else ""
        return f"GlobalModel({self.architecture!r}, {self.schema.summary}, {size}{beside})"

    def bundled(self, encoder: str = "") -> "GlobalModel":
        """This model with its public encoder, so that its file alone predicts from what the encoder takes.

        `encoder` is the one that this machine's user names, where a received name makes none. A model of other samples
        is returned as it is. Raises UsageError for vectors of no encoder, and for an encoder that is code.
        """
        kind = space_of(self.schema)
        return self if kind is None else replace(self, bundle=bundle_of(kind, encoder))

    def module(self) -> Classifier:
        """The classifier in eval mode on the CPU: float32 (n, channels, height, width) in −1..1 -> logits (n, C).

        Raises UsageError for a model that is no network.
        """
        return load_network(self.architecture, self.schema, self.state, "global model")

    def expert(self) -> Expert:
        """The classifier for inference, a network or of another kind."""
        kind = kind_of(self.architecture)
        if kind is NETWORK:
            return self.module()
        return kind.load(self.architecture, self.schema, self.state, "global model")

    def logits(
        self, images: Images, device: torch.device | str = "cpu", *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Logits float32 (n, C)."""
        if isinstance(images, str | Path):
            raise UsageError(
                f"{str(images)!r} is no array of images: read the files first, or use mosaic predict, which reads them"
            )
        samples = self._samples(images, value_range)
        place = find_device(str(device))
        if not len(samples):
            return torch.zeros(0, self.schema.num_classes)
        return self.expert().log_probabilities(samples, place)

    def _samples(self, images: Images, value_range: tuple[float, float] | None) -> Samples:
        behind = encoded(self) if self._is_raw(images) else None
        if behind is not None:
            model = GlobalModel(self.architecture, behind.schema, self.state)
            return encode_samples(model._samples(images, value_range), behind.encoder, self.schema)
        if isinstance(images, Dataset | Samples):
            if value_range is not None:
                raise UsageError(f"a {type(images).__name__} has values of its own: leave value_range out")
            samples = images.samples if isinstance(images, Dataset) else images
            _require_fields(samples.kinds, self.schema.fields)
            return samples
        if len(self.schema.fields) > 1:
            if value_range is not None:
                raise UsageError("the model takes several fields with values of their own: leave value_range out")
            return samples_in(images, self.schema)
        kind = self.schema.kind.name
        if kind == "image":
            values = pixels_of(images, self.schema, value_range)
        elif kind not in ROWS:
            raise UsageError(f"the model takes samples of the kind {kind}, and arrays are images: give a Dataset")
        elif value_range is not None:
            raise UsageError(f"the model takes {self.schema.kind.summary}, not pixels: leave value_range out")
        else:
            values = ROWS[kind](images, self.schema)
        return Samples(self.schema.fields, {next(iter(self.schema.fields)): values})

    def _is_raw(self, images: Images) -> bool:
        """Whether these are samples before a public encoder makes the model's vectors of them."""
        if encoded_kind(self.schema) is None:
            return False
        if isinstance(images, Dataset | Samples):
            samples = images.samples if isinstance(images, Dataset) else images
            return samples.kinds.keys() != self.schema.fields.keys()
        array = images.detach().cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
        return array.dtype.kind != "f" or array.ndim > 2 or array.shape[-1:] != self.schema.shape

    def predict(
        self, images: Images, device: torch.device | str = "cpu", *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Class numbers int64 (n,), of the names in `schema.classes`."""
        return self.logits(images, device, value_range=value_range).argmax(1)

    def predict_proba(
        self, images: Images, device: torch.device | str = "cpu", *, value_range: tuple[float, float] | None = None
    ) -> Tensor:
        """Probabilities float32 (n, C) of the classes in the order of `schema.classes`; each row sums to 1."""
        return self.logits(images, device, value_range=value_range).softmax(1)

    def assess(
        self, images: Images, device: torch.device | str = "cpu", *, value_range: tuple[float, float] | None = None
    ) -> Assessment:
        """The predictions with their calibrated confidence and strangeness, for samples as in `predict`."""
        samples = self._samples(images, value_range)
        return self.assessor()(samples, find_device(str(device)))

    def assessor(self) -> Assessor:
        """The model for inference on samples, with what its file says of the trust in it."""
        return Assessor(self.expert(), self.assurance)

    def evaluate(
        self,
        images: Images,
        labels: npt.ArrayLike | Tensor | None = None,
        device: torch.device | str = "cpu",
        *,
        value_range: tuple[float, float] | None = None,
    ) -> Evaluation:
        """How good the predictions are for labelled images: a `Dataset`, or images with `labels` (n,).

        Labels are numbers 0..C−1. Those of a `Dataset` whose classes have names are matched by name. Raises UsageError,
        too, for labels that are no class of the model.
        """
        if isinstance(images, Dataset):
            if labels is not None or value_range is not None:
                raise UsageError("a Dataset has labels and values of its own: give them where it is made")
            answers = numbers_of(images, self.schema.classes)
            outputs = self.logits(images, device)
        else:
            if labels is None:
                raise UsageError("images come without labels: give labels=, or a Dataset")
            outputs = self.logits(images, device, value_range=value_range)
            blanks = np.zeros((len(outputs), 1, 1), np.uint8)
            answers = from_arrays(blanks, labels, self.schema.classes).labels
        shares = tuple(recall(outputs, answers, self.schema.num_classes))
        return Evaluation(len(answers), accuracy(outputs, answers), shares, self.schema.classes)

    def to_bytes(self) -> bytes:
        """The file format: see `container`."""
        contents, tensors = packed(self.bundle)
        words, figures = assurance_parts(self.assurance)
        about = {"architecture": self.architecture, "schema": self.schema.to_json(), **contents, **words}
        return container.pack(KIND, about, self.state | tensors | figures)

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write `to_bytes` to the file `path`, whole or not at all.

        Raises UsageError where it is a folder, or exists and `overwrite` is False; MosaicError where the disk fails.
        """
        file = Path(path)
        if file.is_dir():
            raise UsageError(f"{file} is a folder: give the name of a file, as {file / FILE}")
        if file.exists() and not overwrite:
            raise UsageError(f"{file} exists: choose another name, or say overwrite=True")
        write_atomic(file, self.to_bytes())

    def push_to_hub(
        self, repo_id: str, *, result: Mapping[str, Any] | None = None, private: bool = True, token: str | None = None
    ) -> str:
        """Upload the model and its card to `repo_id` of the Hugging Face Hub; returns the commit's address.

        `result` is the content of the run's `result.json`, of which the card has the figures. The package
        `huggingface_hub` has the token where none is given. A new repository is private unless you say otherwise.
        Raises UsageError where that package is not installed.
        """
        return push(self, repo_id, result or {}, private=private, token=token)

    @classmethod
    def load(cls, path: Path | str) -> "GlobalModel":
        """`from_bytes` of a file, or of the one in a run's folder."""
        file = model_file(Path(path))
        return cls.from_bytes(container.read_bytes(file), str(file))

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "global model") -> "GlobalModel":
        """The inverse of `to_bytes`, for bytes that may come from anywhere; `source` names them in errors.

        Raises UsageError where they are not a global model, or its weights do not fit.
        """
        manifest, tensors = container.unpack(data, KIND, source)
        match manifest:
            case {"architecture": str(architecture), "schema": schema}:
                try:
                    bundle, rest = unpacked(manifest, tensors)
                    words, state = assurance_in(manifest, rest)
                    model = cls(architecture, Schema.from_json(schema), state, bundle, words)
                    if BUNDLE in manifest:
                        require_bundle(space_of(model.schema), bundle)
                    probe_model(model)
                except UsageError as error:
                    raise UsageError(f"{source}: {error}") from error
                return model
        raise UsageError(f"{source}: the manifest is not one of a global model")


def _require_fields(samples: Mapping[str, Kind], inputs: Mapping[str, Kind]) -> None:
    """Raise UsageError unless the fields of samples and of a model's inputs have the same names and kinds.

    The `fit` of pictures may differ: it says how they got their shape, and the network does not depend on it.
    """
    if samples.keys() != inputs.keys():
        raise UsageError(f"samples have the fields {', '.join(samples)}, but the model takes {', '.join(inputs)}")
    for name, kind in inputs.items():
        own = samples[name]
        if own.summary != kind.summary:
            raise UsageError(f"samples are {own.summary}, but the model takes {kind.summary}")
        if own != kind and kind.name != "image":
            raise UsageError(f"samples have {own.difference(kind)} as the model takes them: read them by its schema")
