"""Batch-norm statistics of given weights on a client's data (HeteroFL's static batch norm, Diao et al. 2021, 3.2)."""

import torch
from torch import nn

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.models.classifier import Classifier

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
BATCH = 1000  # samples in a batch; another number gives other statistics


@torch.no_grad()
def batch_statistics(model: Classifier, data: Dataset, device: torch.device) -> dict[str, torch.Tensor]:
    """`running_mean` and `running_var` of every batch-norm layer of `model` over one pass of `data`, by state name.

    Each is the plain mean over batches of equal size (to one sample), in the order of the samples, without randomness.
    Empty for a model without batch norm, and for a single sample, which has no variance. `model` ends
    in eval mode on the CPU with these statistics.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, BatchNorm) and m.running_mean is not None}
    if len(data) < 2:
        layers = {}
    if layers:
        model.to(device).eval()
        for layer in layers.values():
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative average
            layer.train()
        for index in torch.arange(len(data)).tensor_split(-(-len(data) // BATCH)):
            model(data.samples[index].to(device).inputs())
    model.cpu().eval()
    state = model.state_dict()
    return {f"{name}.{key}": state[f"{name}.{key}"] for name in layers for key in ("running_mean", "running_var")}
