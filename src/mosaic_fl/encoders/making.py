"""Makes the files of encoders that this package holds: `make encoders`. Each time they are the same."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from mosaic_fl.domains.image.prior.procedural import drawings
from mosaic_fl.encoders import gabor, strokes
from mosaic_fl.encoders.making_strokes import strokes_file
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.storage.files import write_atomic

DRAWINGS = 4000
AT_ONCE = 250


def gabor_file() -> bytes:
    """The centre and the principal components of the energies of procedural drawings, float16 as safetensors.

    Each component is divided by its spread, so that noise, as of privacy, harms each as much: the numbers of vectors of
    drawings are uncorrelated with variance 1.
    """
    torch.set_num_threads(1)  # more threads would sum in another order
    rng = Stream(0, "encoders-gabor").torch()
    shape = (1, gabor.SIDE, gabor.SIDE)
    parts = [gabor.energies(drawings(AT_ONCE, shape, rng).float().div_(255)) for _ in range(DRAWINGS // AT_ONCE)]
    energies = torch.cat(parts).double()
    centre = energies.mean(0)
    variances, components = torch.linalg.eigh((energies - centre).T @ (energies - centre) / len(energies))
    variances = variances.flip(0)[: gabor.MOST]
    components = _with_signs(components.flip(1)[:, : gabor.MOST])
    basis = components / variances.sqrt()
    return save({"centre": centre.half(), "basis": basis.half().contiguous()})


def _with_signs(components: Tensor) -> Tensor:
    """The components (m, d) with the sign by which the largest number of each is positive."""
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    return components * largest.sign()


if __name__ == "__main__":
    write_atomic(Path(sys.argv[1]) / gabor.FILE, gabor_file())
    write_atomic(Path(sys.argv[1]) / strokes.FILE, strokes_file())
