"""What a site sends whose user names no model: noisy class moments of a public encoder, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.config.presets import PRESETS, preset_config
from mosaic_fl.domains.image import Image
from mosaic_fl.encoders.naming import choose_encoder
from mosaic_fl.exchange.contribution import Contribution


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("default")
    mosaic("data", "--data", "digits", "--clients", "2", "--alpha", "5", "--export", "sites", cwd=folder)
    for k in range(2):
        words = ("--client", str(k), "--classes", "10", "--out", f"{k}.contribution")
        mosaic("contribute", "--data", f"sites/client-00{k}.parquet", *words, cwd=folder)
    return folder


def test_without_a_model_only_noisy_moments_leave(sites: Path) -> None:
    sent = Contribution.load(sites / "0.contribution")
    assert sent.privacy is not None
    assert (sent.privacy.epsilon, sent.privacy.delta) == (10, 1e-5)
    assert sent.generator_spec is not None
    assert (sent.generator_spec.family, sent.generator_spec.latent) == ("moments", 64)
    assert not sent.validation
    assert sent.audit is None  # noise needs none


def test_they_distil_to_a_closed_form_without_a_word_more(sites: Path) -> None:
    files = ("0.contribution", "1.contribution")
    printed = mosaic("distill", *files, "--out", "global", "--test", "sites/test.parquet", cwd=sites)
    result = json.loads((sites / "global" / "result.json").read_text())
    assert result["student"] == "gaussian"
    assert result["accuracy"] > 0.9
    assert "ε = 10" in printed


def test_a_settings_file_names_one_model_where_the_command_names_none(
    sites: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sites / "settings.toml"
    file.write_text('[models]\nclients = ["cnn:16", "mlp:64"]\n')
    data = str(sites / "sites" / "client-000.parquet")
    line = fails(capsys, "contribute", str(file), "--data", data, "--client", "0", "--out", "x")
    assert "names 2 models for clients" in line


def test_in_python_images_are_encoded_first() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    sent = mosaic_fl.contribute(images, np.arange(40) % 2, client=3, settings={"privacy.epsilon": 5.0})
    assert sent.schema.of_vectors
    assert sent.privacy is not None
    assert sent.privacy.epsilon == 5


def test_the_preset_is_the_same_in_a_simulation() -> None:
    config = preset_config("private")
    assert config.privacy.epsilon == PRESETS["private"]["privacy.epsilon"] == 10
    assert choose_encoder(Image((1, 8, 8)), small=True) == "gabor:64"
    assert choose_encoder(Image((1, 8, 8))) == "gabor"
    assert choose_encoder(Image((3, 32, 32)), small=True) == "efficientnet-lite0"
