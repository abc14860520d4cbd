"""Checks of a user's own module on a few random images, before any work: it can be trained, and gives logits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.domains.samples import example_inputs
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models.endings import Ending, find_ending, most_probable
from mosaic_fl.models.own import reason
from mosaic_fl.notes import note

INFERENCE_SIZES = (1, 3)  # images in a batch: the last batch of inference may have any size
TRAINING_SIZES = (2, 3)  # training has no batch of one image


def trainable(model: nn.Module, name: str = "the model") -> list[nn.Parameter]:
    """The parameters that require a gradient, for an optimiser; raises UsageError for none.

    `name` is the model's, for errors.
    """
    parameters = list(model.parameters())
    if not parameters:
        raise UsageError(f"{name} has no parameters: there is nothing to train")
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if not learning:
        raise UsageError(
            f"{name} cannot be trained: all its {len(parameters)} parameters are frozen (requires_grad is False); "
            "let the last layer at least learn"
        )
    return learning


def check_training(name: str, model: nn.Module, schema: Schema) -> None:
    """Try `model`, on the CPU, as training and inference use it; its weights are restored afterwards.

    `name` is for messages. Raises UsageError where no parameter learns, where it fails on a batch of another size or in
    training mode, where its outputs are no logits or have no gradient, and where it ends in a softmax, which the loss
    contains already. Notes a log-softmax, and outputs that stay in −1..1 for all weights.
    """
    trainable(model, name)
    with _restore(model):
        for size in INFERENCE_SIZES:
            with torch.no_grad():
                _outputs(name, model.eval(), schema, size)
        for size in TRAINING_SIZES:
            _train(name, model.train(), schema, size)
        endings = [find_ending(model.train(mode), schema) for mode in (False, True)]
    _tell_ending(name, endings, schema.num_classes)


def _train(name: str, model: nn.Module, schema: Schema, size: int) -> None:
    outputs = _outputs(name, model, schema, size)
    if not outputs.requires_grad:
        raise UsageError(
            f"{name} cannot be trained: its outputs carry no gradient (of detach, no_grad or argmax in its forward)"
        )
    try:
        F.cross_entropy(outputs, torch.arange(size) % schema.num_classes).backward()
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"{name} cannot be trained: {reason(error)}") from error


def _outputs(name: str, model: nn.Module, schema: Schema, size: int) -> Tensor:
    """The logits for `size` random images, in the model's current mode; raises UsageError for other outputs."""
    mode = "in training" if model.training else "in use"
    batch = f"{size} image{'s' if size != 1 else ''}"
    try:
        outputs: object = model(example_inputs(schema.fields, size, lambda shape: torch.rand(shape) * 2 - 1))
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"{name} fails {mode} on a batch of {batch}: {reason(error)}") from error
    if isinstance(outputs, Tensor) and outputs.shape == (size, schema.num_classes):
        return outputs
    form = f"a tensor {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    raise UsageError(f"{name} gives {form} {mode} for {batch}, not logits ({size}, {schema.num_classes})")


def _tell_ending(name: str, endings: list[Ending], classes: int) -> None:
    """Raise UsageError for a softmax, and note the other endings: training applies its own softmax to logits."""
    if "softmax" in endings:
        raise UsageError(
            f"{name} ends in a softmax: each row of its outputs is ≥ 0 and sums to 1, but training takes logits, of "
            "which it makes the softmax itself; leave it out"
        )
    if "log-softmax" in endings:
        note(
            f"{name} ends in a log-softmax: training takes logits, of which it makes the log-softmax itself; most "
            "methods work with either, but leave it out"
        )
    for ending, least, greatest in (("sigmoid", 0, 1), ("tanh", -1, 1)):
        if ending in endings:
            most = most_probable(classes, greatest - least)
            note(
                f"{name} gives outputs in {least}..{greatest} alone, as a {ending} at its end does: training takes "
                f"logits, and with these no class gets more than {100 * most:.0f} %; leave it out"
            )


@contextmanager
def _restore(model: nn.Module) -> Iterator[None]:
    """A fixed seed within the block. Afterwards weights, statistics, modes and the random generator are restored."""
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            yield
    finally:
        with torch.no_grad():
            for tensor, values in zip(tensors, before, strict=True):
                if not torch.equal(tensor, values):  # an expanded buffer cannot be written to
                    tensor.copy_(values)
        for parameter in model.parameters():
            parameter.grad = None
        for module, training in modes:
            module.training = training
