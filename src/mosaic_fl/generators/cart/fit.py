"""The fit: trees, and the summaries of their leaves, from the rows of a client."""

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.generators.cart import disclosure, leaves
from mosaic_fl.generators.cart.generator import Cart, spec
from mosaic_fl.generators.cart.grouping import groups
from mosaic_fl.generators.cart.trees import LEAST, grow, to_bytes, tree_of
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Monitor


def train(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> Cart:
    """The trees of `data`, column after column in the order of the schema, on the CPU in eval mode.

    A class with enough rows has trees of its own, so that nothing of what tells it apart is lost to a split that was
    worth more elsewhere.
    """
    from threadpoolctl import threadpool_limits

    cart = Cart(spec(config, data.schema), data.schema)
    values = disclosure.told_rows(data.samples.only, cart.table.columns)
    labels = torch.zeros(len(values), dtype=torch.int64)
    if len(data) >= LEAST:  # else too few to tell anything of
        labels = data.labels
        pairs = zip(values.T, cart.table.columns, strict=True)
        cart.code([disclosure.common_values(column, of) for column, of in pairs])
        values = _snapped(values, cart)
    classes = torch.nn.functional.one_hot(labels, cart.classes).float()
    inputs = torch.cat([classes, cart.table.to_network(values)], 1)
    cart.group = groups(torch.bincount(labels, minlength=cart.classes), len(cart.columns))
    group_of = cart.group[labels]
    parts = list[tuple[Tensor, Tensor, Tensor]]()
    total = int(cart.group.max()) + 1
    for number in range(total):
        mine = group_of == number
        with threadpool_limits(1):
            parts += _grow(cart, values[mine], inputs[mine], stream.integer() + number)
        monitor.progress(number + 1, total)
    features, thresholds, numbers = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    cart.nodes = torch.tensor([len(feature) for feature, _, _ in parts]).view(total, -1)
    cart.feature = to_bytes(features)
    cart.threshold = thresholds
    cart.summary = numbers
    return cart.eval()


def _snapped(values: Tensor, cart: Cart) -> Tensor:
    """Rows at rest whose columns with codes have the nearest of these."""
    columns = zip(values.T, cart.codes.split(cart.lengths), strict=True)
    return torch.stack(
        [
            disclosure.decode(disclosure.nearest(column, codes), codes) if len(codes) else column
            for column, codes in columns
        ],
        1,
    )


def _grow(cart: Cart, values: Tensor, inputs: Tensor, seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """By column (feature, thresholds, summaries) of the trees of rows at rest `values`, in the form of `inputs`."""
    result = list[tuple[Tensor, Tensor, Tensor]]()
    end = cart.classes
    codes = cart.codes.split(cart.lengths)
    forms = cart.forms
    for place, column in enumerate(cart.columns):
        before = inputs[:, :end]
        end = end + column.shape[0]
        feature, threshold = grow(before.numpy(), inputs[:, end - column.shape[0] : end].numpy(), seed)
        tree = tree_of(feature, threshold, before.shape[1])
        leaf = tree.leaf_of(before)
        told = disclosure.nearest(values[:, place], codes[place]) if len(codes[place]) else values[:, place]
        summary = leaves.summarise(told, leaf, tree.leaves, forms[place], cart.spec.width)
        result.append((feature, threshold, summary.flatten()))
    return result
