"""`strokes`: the code of a small autoencoder of drawings, light on dark, and a decoder back to pictures.

It is a variational autoencoder (Kingma & Welling 2014), trained on procedural drawings alone (`domains/image/prior/
strokes`) by `making_strokes`. Its weights are a file of this package.
"""

from functools import lru_cache, partial
from importlib.resources import files

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mosaic_fl.domains.kind import Kind
from mosaic_fl.encoders.carried import Carried, tensors_in
from mosaic_fl.encoders.digests import digest_of
from mosaic_fl.encoders.encoder import Decode, Encoder
from mosaic_fl.encoders.family import EncoderFamily
from mosaic_fl.encoders.pictures import fitted, grey, require_pictures, resized
from mosaic_fl.errors import UsageError

NAME = "strokes"
VERSION = "1"
FILE = "strokes.safetensors"
SIDE = 28  # pixels
SIZE = 32
WIDTH = 256
BATCH = 256
TRAINED_ON = "procedural drawings, made by rules without any data"


class Autoencoder(nn.Module):
    """Pictures float32 (n, SIDE²) in 0..1 to means and log-variances of codes (n, SIZE) each, and codes to logits."""

    def __init__(self) -> None:
        super().__init__()
        pixels = SIDE**2
        self.down = nn.Sequential(nn.Linear(pixels, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 2 * SIZE))
        self.up = nn.Sequential(nn.Linear(SIZE, WIDTH), nn.SiLU(), nn.Linear(WIDTH, pixels))

    def codes(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The means and log-variances of the codes of pictures."""
        means, variances = self.down(pictures).chunk(2, 1)
        return means, variances


def make(argument: str, kind: Kind) -> Encoder:
    """The encoder of images of a kind, with its decoder; raises UsageError for an argument."""
    return _of_content(argument, kind, _content())


def _of_content(argument: str, kind: Kind, content: bytes) -> Encoder:
    digest = _digest(argument, kind, content)
    require_pictures(NAME, kind)
    encode = partial(_encode, content)
    decode = _decoder(kind, content)
    smooth = partial(_smooth, content)
    return Encoder(NAME, digest, SIZE, kind, TRAINED_ON, encode, BATCH, decode, lambda: {NAME: content}, smooth)


def _digest(argument: str, kind: Kind, content: bytes) -> str:
    if argument:
        raise UsageError(f"encoder {NAME}:{argument[:40]}: it has nothing after a colon")
    return digest_of(NAME, VERSION, content)


def _encode(content: bytes, values: Tensor, device: torch.device) -> Tensor:
    network = _network(content).to(device)
    means, _ = network.codes(grey(resized(values.to(device), SIDE)).flatten(1))
    return means


def _smooth(content: bytes, pixels: Tensor, device: torch.device) -> Tensor:
    means, _ = _network(content).to(device).codes(grey(fitted(pixels.to(device), SIDE)).flatten(1))
    return means


def _decoder(kind: Kind, content: bytes) -> Decode:
    """Codes float32 (n, SIZE) -> pictures at rest of a kind."""
    channels, height, width = kind.shape

    @torch.no_grad()
    def decode(codes: Tensor) -> Tensor:
        pixels = torch.sigmoid(_network(content).to(codes.device).up(codes)).view(-1, 1, SIDE, SIDE)
        if (height, width) != (SIDE, SIDE):
            pixels = F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
        return kind.to_rest(pixels.expand(-1, channels, -1, -1) * 2 - 1)

    return decode


@lru_cache(maxsize=1)
def _content() -> bytes:
    return (files("mosaic_fl.encoders") / FILE).read_bytes()


@lru_cache(maxsize=2)
def _network(content: bytes) -> Autoencoder:
    """The autoencoder; raises UsageError for weights of another one, which may be received."""
    network = Autoencoder()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict(tensors_in(NAME, content, shapes))
    return network.eval().requires_grad_(False)


STROKES = EncoderFamily(make, frozenset({"image"}), TRAINED_ON, carried=Carried(_digest, _of_content))
