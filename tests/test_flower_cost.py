"""What a round over the network costs besides its work: what is hashed and packed, and how often."""

from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the flower extra is not installed")

from flower_bench import Bench, start, three_sites
from mosaic_fl.client import contribute
from mosaic_fl.client.contribute import Site
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.flower import answer_file, codec, wire
from mosaic_fl.exchange.federation import FitJob
from mosaic_fl.storage import container
from mosaic_fl.storage.files import sha256


class Count:
    """The bytes that are hashed, each call apart."""

    def __init__(self) -> None:
        self.sizes = list[int]()

    def __call__(self, *parts: bytes | memoryview) -> str:
        self.sizes.append(sum(map(len, parts)))
        return sha256(*parts)


@pytest.fixture
def sites(digits: Dataset) -> list[Site]:
    return three_sites(digits)


@pytest.mark.parametrize("remembers", [True, False])
def test_a_client_hashes_its_data_once_and_only_where_it_remembers(
    sites: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembers: bool
) -> None:
    hashed = Count()
    monkeypatch.setattr(contribute, "sha256", hashed)
    clients, state = Bench(sites, tmp_path if remembers else None).open(), start(sites)
    for round in range(2):
        clients.fit([FitJob(k, "mlp:8", state) for k in range(3)], round)
        clients.evaluate("mlp:8", state)
    assert len(hashed.sizes) == (3 if remembers else 0)


def test_equal_work_is_packed_once(sites: list[Site], monkeypatch: pytest.MonkeyPatch) -> None:
    packed, encode = list[str](), codec.encode
    monkeypatch.setattr(
        codec, "encode", lambda work, config: packed.append(type(work).__name__) or encode(work, config)
    )
    clients, state, other = Bench(sites).open(), start(sites), start(sites)
    clients.fit([FitJob(k, "mlp:8", state) for k in range(3)], 0)
    clients.evaluate("mlp:8", state)
    assert packed == ["FitTask", "EvaluateTask"]
    clients.fit([FitJob(0, "mlp:8", state), FitJob(1, "mlp:8", other), FitJob(2, "mlp:8", state, {"lr": 1e-4})], 1)
    assert packed[2:] == ["FitTask"] * 3


def test_weights_are_hashed_once_as_a_file_and_once_as_a_message(
    sites: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients, state = Bench(sites, tmp_path).open(), start(sites)
    size = sum(tensor.nbytes for tensor in state.values())
    hashed = Count()
    for module in (container, wire, answer_file):
        monkeypatch.setattr(module, "sha256", hashed)
    clients.fit([FitJob(k, "mlp:8", state) for k in range(3)], 0)
    whole = [bytes_hashed for bytes_hashed in hashed.sizes if bytes_hashed >= size]
    # The server's request; each client reads it, and makes its answer; the server reads that.
    assert len(whole) == 2 + 3 * 2 + 3 * 2 + 3 * 2
