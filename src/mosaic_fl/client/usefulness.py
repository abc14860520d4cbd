"""How much of a client's task its generator's samples teach: train on synthetic, test on real (Esteban et al. 2017)."""

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.generators.base import Generator
from mosaic_fl.numerics.randomness import Stream

SAMPLES = 5000  # that are drawn
MOST_TREES = 600  # of all classes together
ROUNDS = 60  # of boosting, at most
SMOOTHING = 1e-3  # share of an even distribution in each answer: a class that was never drawn has some probability


def log_loss(generator: Generator, train: Dataset, validation: Dataset, stream: Stream) -> float:
    """The log-loss in nats, on `validation`, of boosted trees that learnt from samples of `generator` and their labels.

    The samples have the classes of `train` in their shares. For samples that are rows of numbers in a network.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    classes = train.schema.num_classes
    labels = train.labels[torch.arange(SAMPLES) % len(train)]
    drawn = generator.samples(train.schema.fields, labels, stream.torch())
    rounds = max(10, min(ROUNDS, MOST_TREES // classes))
    model = HistGradientBoostingClassifier(
        max_iter=rounds, max_leaf_nodes=15, early_stopping=False, random_state=stream.integer() % 2**32
    )
    with threadpool_limits(1):  # more threads would sum in another order
        if len(labels.unique()) < 2:  # nothing to tell apart
            answers = np.ones((len(validation), 1))
            known = labels.unique().numpy()
        else:
            answers = model.fit(_rows(drawn.inputs()), labels.numpy()).predict_proba(_rows(validation.samples.inputs()))
            known = model.classes_
    probabilities = np.full((len(validation), classes), SMOOTHING / classes)
    probabilities[:, known] += (1 - SMOOTHING) * answers
    return float(-np.log(probabilities[np.arange(len(validation)), validation.labels.numpy()]).mean())


def _rows(inputs: Tensor | dict[str, Tensor]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """The inputs of a network, side by side, float32 (n, width)."""
    parts = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    return torch.cat(parts, 1).numpy()
