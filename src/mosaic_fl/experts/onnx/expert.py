"""The kind of expert `onnx`: a state of one tensor, the bytes of an ONNX model, which a process of its own runs."""

import re
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Inputs, Samples, from_network
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import MosaicError, UsageError, excerpt
from mosaic_fl.experts.kind import ExpertKind
from mosaic_fl.experts.onnx.answers import answers_of
from mosaic_fl.experts.onnx.bounds import INPUTS, MAX_BYTES
from mosaic_fl.experts.onnx.layout import layout_of, layouts_of
from mosaic_fl.experts.onnx.model import model_of
from mosaic_fl.experts.onnx.own_file import with_property, without_dictionaries, without_extras
from mosaic_fl.experts.own_columns import tell_if_useless
from mosaic_fl.experts.training import score
from mosaic_fl.extras import require
from mosaic_fl.models.inference import accuracy
from mosaic_fl.models.own import own_model
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

MODEL = "model"  # the one tensor of a state
NAME = re.compile(r"onnx:[\w.:#+-]{1,100}")
VALUES_A_BATCH = 2**17
MOST_A_BATCH = 4096  # samples
WORDS = {"rest": "values as they are stored", "network": "values as networks take them"}
TRIAL = 16  # samples of noise, beside one of zeros


class OnnxExpert:
    """A client's ONNX model. It gives what its model gives, and 1e-12 to the classes that this does not know.

    Making one tries it: on a sample of zeros and on a batch of noise it must give finite outputs of the right form.
    """

    def __init__(self, content: bytes, schema: Schema, source: str) -> None:
        """Raise UsageError, which names the `source`, for a model that is refused or does not fit the schema."""
        self.source = source
        self.content = content
        if len(content) > MAX_BYTES:
            raise UsageError(f"{source}: an ONNX model of {len(content):,} bytes: at most {MAX_BYTES:,}")
        try:
            self.model = model_of(content)
            self.layout = layout_of(self.model.facts, schema)
            noise = trial_samples(schema)
            answers_of(self.model.facts, schema, self.model.run(self.layout.batch(noise[:1])))
            self.answers = answers_of(self.model.facts, schema, self.model.run(self.layout.batch(noise)))
        except MosaicError as error:
            raise UsageError(f"{source}: {self._say(error)}") from error

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, C) on the CPU; raises MosaicError where the model fails, is late, or gives what it may not."""
        if not len(samples):
            return torch.zeros(0, self.answers.classes)
        try:
            return self.answers.log_probabilities(self._run(samples))
        except MosaicError as error:
            raise MosaicError(f"{self.source}: {self._say(error)}: leave it out") from error

    def outputs(self, samples: Samples) -> Any:
        """What the model itself gives for samples, at least one: a numpy array (n, …). Raises MosaicError."""
        try:
            return self._run(samples)
        except MosaicError as error:
            raise MosaicError(f"{self.source}: {self._say(error)}") from error

    def _run(self, samples: Samples) -> Any:
        width = sum(prod(kind.shape) for kind in samples.kinds.values())
        size = max(1, min(MOST_A_BATCH, VALUES_A_BATCH // width))
        parts = [self.model.run(self.layout.batch(part)) for part in samples.to("cpu").split(size)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    @staticmethod
    def _say(error: MosaicError) -> str:
        reason = str(error)
        return reason if reason.startswith("an ONNX model") else f"the ONNX model {reason}"


def trial_samples(schema: Schema) -> Samples:
    """`TRIAL` + 1 samples at rest, of zeros and of noise, as a network's inputs have it; always the same."""
    rng = torch.Generator().manual_seed(0)

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.cat([torch.zeros(1, *shape), torch.randn(TRIAL, *shape, generator=rng)])

    values: Inputs = {name: draw(tuple(kind.shape)) for name, kind in schema.fields.items()}
    return from_network(schema.fields, values if len(values) > 1 else next(iter(values.values())))


def make(name: str, schema: Schema) -> OnnxExpert:
    """The user's own model that is admitted under this name; raises UsageError where there is none."""
    content = own_model(name)
    if not isinstance(content, bytes):
        raise UsageError(f"model {excerpt(name)} is none of this process: name its file, as heart.onnx")
    require("an ONNX model", "onnx", "onnxruntime")
    return OnnxExpert(without_extras(without_dictionaries(content, schema)), schema, f"model {name}")


def fit(
    expert: OnnxExpert,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    """Figures alone: the model comes as it is, with its property `mosaic.inputs` where this can only be tried."""
    _choose_inputs(expert, train)
    tell_if_useless(expert.source, expert, train)
    note(f"{expert.source} is not trained here: its figures on the validation split count if it has not learnt from it")
    return score(expert, validation, device)


def _choose_inputs(expert: OnnxExpert, train: Dataset) -> None:
    """Take encoded values, or those at rest, where a model may mean both: whichever it is more often right with.

    What it takes is written into the model, for the server.
    """
    layouts = layouts_of(expert.model.facts, train.schema)
    if len(layouts) == 1:
        return
    few = train.subset(range(min(len(train), MOST_A_BATCH)))
    names = ["rest" if layout.rest else "network" for layout in layouts]
    contents = [with_property(expert.content, INPUTS, name) for name in names]
    experts = [OnnxExpert(content, train.schema, expert.source) for content in contents]
    right = [accuracy(candidate.log_probabilities(few.samples), few.labels) for candidate in experts]
    best = right.index(max(right))
    vars(expert).update(vars(experts[best]))
    tell_inputs(expert.source, names, right)


def tell_inputs(source: str, names: list[str], right: list[float]) -> None:
    """Note what a model is taken to be made for, of `names`, by the share of training samples that it has `right`."""
    figures = ", ".join(f"{100 * share:.0f} % with {WORDS[name]}" for name, share in zip(names, right, strict=True))
    name = names[right.index(max(right))]
    note(f"{source} fits values at rest and encoded ones: it is given {WORDS[name]} (right: {figures})")


def state_of(content: bytes) -> State:
    """The state of an expert with the model `content`."""
    return {MODEL: torch.frombuffer(bytearray(content), dtype=torch.uint8)}


def state(expert: Any) -> State:
    """The state of an `OnnxExpert`."""
    return state_of(expert.content)


def load(name: str, schema: Schema, state: State, source: str) -> OnnxExpert:
    """The expert of a state that may come from anywhere; raises UsageError for anything else."""
    match state:
        case {"model": Tensor(dtype=torch.uint8, ndim=1) as content} if len(state) == 1 and content.numel():
            return OnnxExpert(content.numpy().tobytes(), schema, source)
    raise UsageError(f"{source}: this is not the state of an ONNX model")


def check(name: str, schema: Schema) -> None:
    """Raise UsageError for a name of another form, or for a model of this machine that does not fit the schema."""
    if not NAME.fullmatch(name):
        raise UsageError(f"model {excerpt(name)}: an ONNX model's name is onnx:NAME; here give its file, as heart.onnx")
    if own_model(name) is not None:
        make(name, schema)


ONNX = ExpertKind(make=make, fit=fit, state=state, load=load, check=check)
