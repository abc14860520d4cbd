"""Networks from weights. `Network` is built once, for code that loads many weights of one architecture."""

import torch

from mosaic_fl.domains.schema import Schema
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.loading import load_again, load_into
from mosaic_fl.models.registry import build, is_foreign
from mosaic_fl.numerics.states import State


def load_network(architecture: str, schema: Schema, state: State, source: str) -> Classifier:
    """A new classifier with a copy of the weights `state`, in eval mode on the CPU; no random numbers are used.

    Raises UsageError, naming `source`, for weights that do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        return load_into(lambda: build(architecture, schema), state, source, foreign=is_foreign(architecture))


class Network:
    """The latest network, for the next weights of the same architecture. Another architecture replaces it."""

    def __init__(self) -> None:
        self._latest: tuple[str, Schema, Classifier] | None = None

    def load(self, architecture: str, schema: Schema, state: State, source: str) -> Classifier:
        """As `load_network`, but the caller may use the classifier only until the next call.

        It is the network of the last call where the architecture is the same. A caller that changes more of it than its
        weights must use `load_network`.
        """
        if is_foreign(architecture):  # it may have tensors that are not in its state
            return load_network(architecture, schema, state, source)
        if self._latest is not None and self._latest[:2] == (architecture, schema):
            return load_again(self._latest[2], state, source)
        model = load_network(architecture, schema, state, source)
        self._latest = (architecture, schema, model)
        return model
