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

LONGEST = (
    "test_deploy_run", "test_end_to_end", "test_flower_simulation", "test_compare", "test_methods", "test_withdraw",
    "test_json", "test_examples", "test_tracking", "test_api_runs", "test_absence_whole", "test_absence", "test_api",
    "test_compare_jobs", "test_readme", "test_accelerator", "test_region", "test_evaluate", "test_absence_results",
)  # fmt: skip
"""The files that take longest, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take files in order: one that began a long file at the end would leave the others without work."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


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
