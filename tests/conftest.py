"""What several tests use."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# No test may reach a network, whatever a library would like to look up.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest
import torch

from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.registries import EXPERTS, GENERATORS, KINDS, METHODS, PARTITIONS


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """All of scikit-learn's digits: real, embedded."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = torch.tensor((loaded.images * 255 / 16).round().astype("uint8"))[:, None]
    return image_dataset(
        images, torch.tensor(loaded.target, dtype=torch.int64), image_schema((1, 8, 8), tuple("0123456789"))
    )


@pytest.fixture
def schema() -> Schema:
    """8×8 grey images of three classes."""
    return image_schema((1, 8, 8), ("a", "b", "c"))


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of somebody else is installed: its folder is on the path, with what says its entry points."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "outside"))
    importlib.invalidate_caches()
    for registry in (METHODS, GENERATORS, KINDS, PARTITIONS, EXPERTS):
        monkeypatch.setattr(registry, "_entries", {})
    yield
    for name in [name for name in sys.modules if name.startswith("mosaic_outside")]:
        del sys.modules[name]
