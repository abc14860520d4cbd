"""`timm:NAME`: the pooled features of a pretrained network of PyTorch Image Models, whose weights timm fetches."""

from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.domains.kind import Kind
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.family import EncoderFamily
from mosaic_fl.encoders.own import of_module
from mosaic_fl.encoders.pictures import colours, require_pictures
from mosaic_fl.errors import UsageError, excerpt, in_one_line, unknown
from mosaic_fl.extras import require

TRAINED_ON = "what timm says of its pretrained weights"


class Pooled(nn.Module):
    """Pictures float32 (n, 1 or 3, h, w) in −1..1 -> features (n, size): resized and scaled as the network learnt."""

    def __init__(self, network: nn.Module, side: int, mean: tuple[float, ...], spread: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.side = side
        self.trained_on = TRAINED_ON
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("spread", torch.tensor(spread).view(1, -1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """The features."""
        pixels = colours(inputs.add(1).div(2))
        if tuple(pixels.shape[2:]) != (self.side, self.side):
            pixels = nn.functional.interpolate(
                pixels, size=(self.side, self.side), mode="bilinear", antialias=True, align_corners=False
            )
        features: Tensor = self.network((pixels - self.mean) / self.spread)
        return features


def make(name: str, kind: Kind) -> Encoder:
    """The encoder of timm's pretrained network `name`; raises UsageError where there is none, or no way to fetch it."""
    require_pictures("timm", kind)
    require(f"encoder timm:{excerpt(name)}", "timm")
    import timm

    if name not in (names := timm.list_models(pretrained=True)):
        raise unknown("pretrained timm model", name[:60], names)
    try:
        network: Any = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # without a network, or of a damaged file
        raise UsageError(f"the weights of timm:{name} cannot be fetched: {in_one_line(error)}") from error
    settings = timm.data.resolve_model_data_config(network)
    side = settings["input_size"][-1]
    module = Pooled(network, side, tuple(settings["mean"]), tuple(settings["std"]))
    return of_module(f"timm:{name}", module, kind, str(side))


TIMM = EncoderFamily(make, frozenset({"image"}), TRAINED_ON, received=False)
