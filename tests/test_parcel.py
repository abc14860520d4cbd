"""What travels to workers and back arrives as it was."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch

from mosaic_fl.engines.parcel import SMALL, Parcel
from mosaic_fl.exchange.federation import Fitted

SENT = {
    "small": torch.arange(6.0).view(2, 3),
    "channels last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "one value": torch.tensor(7),
    "bits": torch.tensor([True, False]),
    "none": torch.zeros(0, 3),
    "a column": torch.arange(6.0).view(2, 3)[:, 1],
    "one value often": torch.ones(1).expand(5),
    "large": torch.arange(SMALL, dtype=torch.float32),
}


def returned(value: Any) -> Any:
    return Parcel(value)


@pytest.fixture(scope="module")
def arrived() -> dict[str, torch.Tensor]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        fitted: Any = pool.submit(returned, Parcel(Fitted(3, SENT, 5, {"loss": 0.5}))).result()
    assert (fitted.client, fitted.samples, fitted.validation) == (3, 5, {"loss": 0.5})
    state: dict[str, torch.Tensor] = fitted.state
    return state


@pytest.mark.parametrize("name", SENT)
def test_a_tensor_arrives_as_it_was(name: str, arrived: dict[str, torch.Tensor]) -> None:
    sent, came = SENT[name], arrived[name]
    assert torch.equal(sent, came)
    assert (sent.dtype, sent.stride()) == (came.dtype, came.stride())


def test_small_tensors_take_no_file() -> None:
    packed = pickle.dumps(Parcel({"a": torch.ones(SMALL // 4), "b": torch.ones(2)}))
    assert SMALL < len(packed) < SMALL + 1000
