"""`gabor`, `gabor:SIZE`: energies of fixed Gabor filters, pooled on a grid. No data has shaped it.

Pairs of filters, even and odd, at six orientations and two wavelengths (Daugman 1985) are rectified to four positive
maps each, pooled by Gaussians around 4×4 places, normalised a picture and scale, and raised to a small power. Of these
768 numbers the SIZE first principal components are kept: those of procedural drawings (`domains/image/prior/strokes`),
which `making` computes and a file of this package holds. Filters, grid and power were chosen by a linear discriminant
on training digits of MNIST, of which a part was held out (docs/encoders.md).
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files

import torch
from torch import Tensor
from torch.nn import functional as F

from mosaic_fl.domains.kind import Kind
from mosaic_fl.encoders.carried import Carried, tensors_in
from mosaic_fl.encoders.digests import digest_of
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.family import EncoderFamily
from mosaic_fl.encoders.pictures import fitted, grey, number_after, require_pictures

NAME = "gabor"
VERSION = "1"
FILE = "gabor.safetensors"
SIDE = 32  # pixels
SIZE = 128  # by default
MOST = 256
ORIENTATIONS = 6
GRID = 4  # places a side
POOL = 0.5  # spread of a pool, in distances between places
POWER = 0.3
FLOOR = 0.02  # added to the energy that a picture is divided by, so that noise stays small
LEAST = 1e-5  # energy at which a slope is told in place of that at zero
BATCH = 64
ENERGIES = 768
SHAPES = {"centre": (ENERGIES,), "basis": (ENERGIES, MOST)}  # of the tensors in its file
TRAINED_ON = "nothing: fixed filters, and the principal components of procedural drawings"


@dataclass(frozen=True)
class Scale:
    """The wavelength and the spread of a pair of filters, in pixels, and the side of their kernels."""

    wavelength: float
    spread: float
    side: int


SCALES = (Scale(5.0, 1.9, 9), Scale(10.0, 3.5, 15))


def make(argument: str, kind: Kind) -> Encoder:
    """The encoder of images of a kind by `argument` components; raises UsageError for another number."""
    return _of_content(argument, kind, _content())


def _of_content(argument: str, kind: Kind, content: bytes) -> Encoder:
    size = _size(argument)
    require_pictures(NAME, kind)
    name = NAME if size == SIZE else f"{NAME}:{size}"
    digest = _digest(argument, kind, content)
    encode = partial(_encode, size, content)
    smooth = partial(_smooth, size, content)
    return Encoder(name, digest, size, kind, TRAINED_ON, encode, BATCH, None, lambda: {name: content}, smooth)


def _size(argument: str) -> int:
    return number_after(argument, NAME, SIZE, (1, MOST))


def _digest(argument: str, kind: Kind, content: bytes) -> str:
    size = _size(argument)
    return digest_of(NAME if size == SIZE else f"{NAME}:{size}", VERSION, content)


def energies(pixels: Tensor, least: float = 0.0) -> Tensor:
    """Pictures float32 (n, 1 or 3, h, w) in 0..1 -> pooled energies float32 (n, 768), none negative.

    `least` is added before the power, whose slope at zero is endless.
    """
    pictures = grey(fitted(pixels, SIDE))
    pooling = _pooling().to(pixels.device)
    parts = list[Tensor]()
    for scale in SCALES:
        responses = F.conv2d(pictures, _filters(scale).to(pixels.device), padding=scale.side // 2)
        maps = torch.cat([responses.relu(), responses.neg().relu_()], 1)
        pooled = torch.einsum("gi,ncij,hj->ncgh", pooling, maps, pooling).flatten(1)
        energy = pooled.square().mean(1, keepdim=True).sqrt()
        parts.append(pooled / (energy + FLOOR))
    return torch.cat(parts, 1).add(least).pow(POWER)


def _encode(size: int, content: bytes, values: Tensor, device: torch.device) -> Tensor:
    return _projected(energies(values.to(device, torch.float32).div_(255)), size, content)


def _smooth(size: int, content: bytes, pixels: Tensor, device: torch.device) -> Tensor:
    return _projected(energies(pixels.to(device), LEAST), size, content)


def _projected(energy: Tensor, size: int, content: bytes) -> Tensor:
    centre, basis = _components(content)
    return (energy - centre.to(energy.device)) @ basis[:, :size].to(energy.device)


@lru_cache(maxsize=len(SCALES))
def _filters(scale: Scale) -> Tensor:
    """The kernels of a scale, (2·ORIENTATIONS, 1, side, side): even ones and odd ones, each of norm 1."""
    places = torch.arange(scale.side) - (scale.side - 1) / 2
    y, x = torch.meshgrid(places, places, indexing="ij")
    envelope = torch.exp(-(x.square() + y.square()) / (2 * scale.spread**2))
    kernels = list[Tensor]()
    for number in range(ORIENTATIONS):
        angle = math.pi * number / ORIENTATIONS
        phase = 2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / scale.wavelength
        even = envelope * phase.cos()
        even = even - envelope * (even.sum() / envelope.sum())  # no answer to an even ground
        odd = envelope * phase.sin()
        kernels += [even / even.norm(), odd / odd.norm()]
    return torch.stack(kernels)[:, None]


@lru_cache(maxsize=1)
def _pooling() -> Tensor:
    """The weights of pixels in each place of the grid, (GRID, SIDE); each row sums to 1."""
    centres = (torch.arange(GRID) + 0.5) * SIDE / GRID - 0.5
    distances = (torch.arange(SIDE) - centres[:, None]) / (POOL * SIDE / GRID)
    weights = torch.exp(-distances.square() / 2)
    return weights / weights.sum(1, keepdim=True)


@lru_cache(maxsize=1)
def _content() -> bytes:
    return (files("mosaic_fl.encoders") / FILE).read_bytes()


@lru_cache(maxsize=2)
def _components(content: bytes) -> tuple[Tensor, Tensor]:
    """The centre (768,) and the components (768, MOST); raises UsageError for anything else, which may be received."""
    tensors = tensors_in(NAME, content, SHAPES)
    return tensors["centre"], tensors["basis"]


GABOR = EncoderFamily(make, frozenset({"image"}), TRAINED_ON, carried=Carried(_digest, _of_content))
