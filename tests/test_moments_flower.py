"""Class moments beside pictures over a network: they travel, and a site without the encoder takes part as ever."""

import logging

import pytest

pytest.importorskip("flwr", reason="the flower extra is not installed")

import flower_bench
from flower_bench import CPU, QUICK, Bench, three_sites
from mosaic_fl.client.contribute import contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.training.monitor import Recorder


def test_a_request_asks_for_moments_and_the_answer_has_them(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flower_bench.QUICK, "moments.encoder", "gabor:8")
    sites = three_sites(digits)
    sent = Bench(sites).open().contribute()
    expected = contribute(sites[1], Config().with_values(QUICK), CPU, lambda _: Recorder())
    assert expected.moments is not None
    assert all(one.moments is not None for one in sent)
    assert sent[1].to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("name", ["timm:resnet18", "os:getcwd"])
def test_no_server_makes_a_site_import_or_fetch_an_encoder(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setitem(flower_bench.QUICK, "moments.encoder", name)
    with caplog.at_level(logging.WARNING, "mosaic_fl.client"):
        sent = Bench(three_sites(digits)).open().contribute()
    assert [one.client for one in sent] == [0, 1, 2]  # they take part as ever
    assert all(one.moments is None for one in sent)
    assert "client 0 tells no class moments" in caplog.text
    assert "is not built in" in caplog.text
