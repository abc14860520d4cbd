"""Whether a user's own module can be trained here, and gives logits: tried on a few random images before any work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models.endings import Ending, find_ending, most_probable
from mosaic_fl.models.own import reason
from mosaic_fl.notes import note

USED = (1, 3)  # images in a batch: inference may end with one of any size
TRAINED = (2, 3)  # and a training takes none of one


def trainable(model: nn.Module, what: str = "the model") -> list[nn.Parameter]:
    """The parameters that require a gradient, for an optimiser; raises UsageError, naming `what`, for none."""
    parameters = list(model.parameters())
    if not parameters:
        raise UsageError(f"{what} has no parameters: there is nothing to train")
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if not learning:
        raise UsageError(
            f"{what} cannot be trained: all its {len(parameters)} parameters are frozen (requires_grad is False); "
            "let the last layer at least learn"
        )
    return learning


def check_training(what: str, model: nn.Module, schema: Schema) -> None:
    """Try `model`, on the CPU, as training and inference use it; its weights are what they were afterwards.

    `what` names it in messages. Raises UsageError where no parameter learns, where it fails on a batch of another size
    or in training mode, gives something else than logits there or outputs without a gradient, and where it ends in a
    softmax, which the loss has already. Notes a log-softmax, and outputs that stay in −1..1 whatever the weights.
    """
    trainable(model, what)
    with _as_it_was(model):
        for size in USED:
            with torch.no_grad():
                _outputs(what, model.eval(), schema, size)
        for size in TRAINED:
            _train(what, model.train(), schema, size)
        endings = [find_ending(model.train(mode), schema) for mode in (False, True)]
    _tell_ending(what, endings, schema.num_classes)


def _train(what: str, model: nn.Module, schema: Schema, size: int) -> None:
    outputs = _outputs(what, model, schema, size)
    if not outputs.requires_grad:
        raise UsageError(
            f"{what} cannot be trained: its outputs carry no gradient (of detach, no_grad or argmax in its forward)"
        )
    try:
        F.cross_entropy(outputs, torch.arange(size) % schema.num_classes).backward()
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"{what} cannot be trained: {reason(error)}") from error


def _outputs(what: str, model: nn.Module, schema: Schema, size: int) -> Tensor:
    """What the model gives for `size` random images, in the mode that it is in; raises UsageError for no logits."""
    mode = "in training" if model.training else "in use"
    batch = f"{size} image{'s' if size != 1 else ''}"
    try:
        outputs: object = model(torch.rand(size, *schema.shape) * 2 - 1)
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"{what} fails {mode} on a batch of {batch}: {reason(error)}") from error
    if isinstance(outputs, Tensor) and outputs.shape == (size, schema.num_classes):
        return outputs
    form = f"a tensor {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    raise UsageError(f"{what} gives {form} {mode} for {batch}, not logits ({size}, {schema.num_classes})")


def _tell_ending(what: str, endings: list[Ending], classes: int) -> None:
    """Refuse a softmax and note other ends, in use or in training, that training makes of logits itself."""
    if "softmax" in endings:
        raise UsageError(
            f"{what} ends in a softmax: each row of its outputs is ≥ 0 and sums to 1, but training takes logits, of "
            "which it makes the softmax itself; leave it out"
        )
    if "log-softmax" in endings:
        note(
            f"{what} ends in a log-softmax: training takes logits, of which it makes the log-softmax itself; most "
            "methods work with either, but leave it out"
        )
    for ending, least, greatest in (("sigmoid", 0, 1), ("tanh", -1, 1)):
        if ending in endings:
            most = most_probable(classes, greatest - least)
            note(
                f"{what} gives outputs in {least}..{greatest} alone, as a {ending} at its end does: training takes "
                f"logits, and with these no class gets more than {100 * most:.0f} %; leave it out"
            )


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Draws of a fixed seed within the block; afterwards the weights, statistics, modes and ambient draws of before."""
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
