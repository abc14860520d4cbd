"""`timm:NAME`, the architectures of PyTorch Image Models (github.com/huggingface/pytorch-image-models)."""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.extras import remedy
from mosaic_fl.models.classifier import Classifier, Wrapper
from mosaic_fl.models.own import reason


class Timm(Wrapper):
    """A timm model; its features are the outputs of its head before the last layer."""

    def features(self, inputs: Any) -> Tensor:
        module: Any = self.module
        features: Tensor = module.forward_head(module.forward_features(inputs), pre_logits=True)
        return features.flatten(1)


def build_timm(name: str, schema: Schema) -> Classifier:
    """The timm architecture `name` with random weights, for images of `schema`.

    Only names in `timm.list_models()` are built: timm's own `create_model` would fetch `hf-hub:` names from
    the network. Raises UsageError where timm is not installed or broken, for an unknown name, and for an
    image size or a number of channels that the architecture does not take.
    """
    timm = _import_timm()
    if name not in (names := timm.list_models()):
        if difflib.get_close_matches(name, names, n=1, cutoff=0.5):
            raise unknown("timm model", name, names)
        raise UsageError(f"unknown timm model {name!r}: timm.list_models() names them all")
    channels, height, width = schema.shape
    # timm marks the architectures whose weights depend on the image size; only those take one.
    has_size = getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False)
    size = {"img_size": (height, width)} if has_size else {}
    try:
        module: nn.Module = timm.create_model(
            name, pretrained=False, in_chans=channels, num_classes=schema.num_classes, **size
        )
    except Exception as error:  # an architecture may raise anything for a size that it does not support
        raise UsageError(
            f"timm model {name!r} cannot be built for {channels}×{height}×{width} images "
            f"by timm {timm.__version__}: {reason(error)}; a larger data.image_size may help"
        ) from error
    return Timm(module)


def _import_timm() -> Any:
    try:
        import timm
    except (
        ImportError,
        RuntimeError,
        OSError,
    ) as error:  # a torchvision for another torch raises the last two
        hint = f"; torchvision must match torch {torch.__version__}" if "torchvision" in str(error) else ""
        raise UsageError(
            f"timm: models need timm, which cannot be imported ({error}): {remedy('timm')}{hint}"
        ) from error
    return timm
