"""Prior images by name: `photos`, `procedural`, `none`, or a folder of the user's own public images."""

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from mosaic_fl.domains.image.prior import folder
from mosaic_fl.domains.image.prior.channels import finish
from mosaic_fl.domains.image.prior.draws import part
from mosaic_fl.domains.image.prior.photographs import Photograph, detailed_crops, sample_photographs, shares
from mosaic_fl.domains.image.prior.procedural import procedural
from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.storage.files import require_path

KINDS = ("photos", "procedural", "none")

# Pixels of a block of pictures that are made at once: they fit into the caches of a core.
_BLOCK = 2**18


def check_prior(kind: str) -> None:
    """Raise UsageError unless `prior_images` knows `kind`: a name, or a folder with an image that can be read."""
    if kind in KINDS:
        return
    where = _at_home(kind)
    require_path(where)
    if kind and where.is_dir():
        next(folder.photographs(where, folder.files(where), 1))
    elif where.is_file():
        raise UsageError(f"prior images come from a folder, but {kind} is a file: give the folder it is in")
    else:
        raise UsageError(f"{unknown('kind of prior images', kind, KINDS)}; or give an existing folder of images")


def prior_images(kind: str, n: int, shape: tuple[int, int, int], stream: Stream) -> Tensor:
    """n pictures with no task data in them, uint8 (n, *shape), in random order.

    `kind` is "photos" (crops of the two photographs that scikit-learn ships), "procedural" (dead leaves, noise,
    strokes, gratings), "none" (no picture, whatever n) or the path of a folder (crops of up to 500 of its images,
    drawn at random; those that cannot be decoded are left out with a note). Raises UsageError for another kind, and
    for a folder none of whose images can be decoded.
    """
    check_prior(kind)
    if kind == "none" or n == 0:
        return torch.empty(0, *shape, dtype=torch.uint8)
    if kind == "photos":
        images = _of_photographs(sample_photographs(), n, shape, part(stream, "photos"))
    elif kind == "procedural":
        rng = part(stream, "procedural").torch()
        images = torch.cat([procedural(size, shape, rng) for size in _blocks(n, shape)])
    else:
        images = _of_folder(_at_home(kind), n, shape, part(stream, "folder"))
    return images[torch.randperm(n, generator=part(stream, "order").torch())]


def _at_home(kind: str) -> Path:
    """The path `kind`, ~ for the home folder where there is such a home."""
    with suppress(RuntimeError):
        return Path(kind).expanduser()
    return Path(kind)


def _of_photographs(photographs: tuple[Photograph, ...], n: int, shape: tuple[int, int, int], stream: Stream) -> Tensor:
    rng = stream.torch()
    numbers = shares(n, len(photographs), rng)
    return torch.cat([_crops(p, m, shape, rng) for p, m in zip(photographs, numbers, strict=True)])


def _of_folder(where: Path, n: int, shape: tuple[int, int, int], stream: Stream) -> Tensor:
    """Crops of up to n images; each image is decoded once, and only one is in memory."""
    rng = stream.torch()
    files = folder.files(where)
    order = [files[i] for i in torch.randperm(len(files), generator=rng).tolist()]
    numbers = shares(n, min(n, len(files), folder.MOST_FILES), rng)
    photographs = folder.photographs(where, order, len(numbers))
    return torch.cat([_crops(photograph, m, shape, rng) for m, photograph in zip(numbers, photographs, strict=True)])


def _crops(source: Photograph, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """n crops of one photograph, uint8 (n, *shape)."""
    _, height, width = shape
    blocks = [finish(detailed_crops(source, size, height, width, rng), shape, rng) for size in _blocks(n, shape)]
    return torch.cat(blocks) if blocks else torch.empty(0, *shape, dtype=torch.uint8)


def _blocks(n: int, shape: tuple[int, int, int]) -> list[int]:
    """n as a sum of sizes of blocks."""
    most = max(1, _BLOCK // (shape[1] * shape[2]))
    return [min(most, n - start) for start in range(0, n, most)]
