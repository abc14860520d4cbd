"""`mosaic inspect`: what a contribution holds, of how many samples, with which protection, and what it could reveal."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.audited import Audited
from mosaic_fl.exchange.contents import CONTENTS
from mosaic_fl.exchange.contribution import KIND
from mosaic_fl.runs.inspection import inspect
from mosaic_fl.storage import container
from test_private_contribution import clouds

FEW = {"train.max_steps": 5, "generator.steps": 5, "generator.latent": 4, "generator.width": 4}
AUDIT = Audited("nearest", "generator", 0.7, 0.62, 0.78, 0.6, 50, 50, "50 samples held back", "the ward has agreed")


@pytest.fixture(scope="module")
def plain(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect") / "plain.contribution"
    made = mosaic_fl.contribute(digits.subset(range(50)), model="mlp:4", client=3, settings=FEW)
    path.write_bytes(made.to_bytes())
    return path


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect") / "private.contribution"
    settings = {"privacy.epsilon": 1.0, "privacy.clip": 6.0}
    made = mosaic_fl.contribute(clouds(), model="discriminant", client=0, settings=settings)
    path.write_bytes(made.to_bytes())
    return path


def test_it_says_what_is_in_it_and_what_it_could_reveal(plain: Path, tmp_path: Path) -> None:
    printed = mosaic("inspect", plain, cwd=tmp_path)
    assert "the contribution of client 3" in printed
    assert hashlib.sha256(plain.read_bytes()).hexdigest() in printed
    made = inspect(plain).contribution
    assert f"Learnt from: {int(made.class_counts.sum())} samples of 1×8×8 images, 10 classes" in printed
    assert "Protection: none that is proved" in printed
    assert "cvae: a decoder, and up to 16 Gaussians a class" in printed
    assert "Look at this: fewer than 10 samples of 0, 1" in printed
    assert "no audit is in the file" in printed
    (absent,) = [line for line in printed.splitlines() if line.startswith("Not in it:")]
    assert absent == "Not in it: prototypes, validation, field_counts, privacy, moments, audit"


def test_a_private_one_says_epsilon_in_words_and_that_counts_are_noisy(private: Path, tmp_path: Path) -> None:
    printed = mosaic("inspect", private, cwd=tmp_path)
    assert "differential privacy, ε = 1, δ = 1e-05" in printed
    assert "a factor of 2.72 at most" in printed  # e
    assert "(with noise)" in printed
    assert printed.count("tells: what follows from the noisy numbers") == 3
    assert "Look at this" not in printed


def test_json_has_every_field_once(plain: Path, private: Path, tmp_path: Path) -> None:
    for path in (plain, private):
        read = json.loads(mosaic("inspect", path, "--json", cwd=tmp_path))
        names = [content["field"] for content in read["contents"]] + read["absent"]
        assert sorted(names) == sorted(content.name for content in CONTENTS)
        assert sum(read["classes"].values()) == read["samples"]
    assert read["privacy"] == {"epsilon": 1.0, "delta": 1e-5}


def test_what_the_site_s_audit_found_is_said(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "audited.contribution"
    path.write_bytes(replace(inspect(plain).contribution, audit=AUDIT).to_bytes())
    printed = mosaic("inspect", path, cwd=tmp_path)
    line = "does not pass: nearest on the generator has an AUC of 0.70 (0.62 to 0.78), above 0.6"
    assert f"Audit by the site: it {line} (0.50 tells nothing; 50 samples held back)" in printed
    assert f"Look at this: it {line}; the site took the risk: the ward has agreed" in printed
    assert "no audit is in the file" not in printed


def test_a_file_that_is_no_contribution_is_refused(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_bytes(b"no such thing")
    assert "not a mosaic-fl file" in fails(capsys, "inspect", tmp_path / "x")
    assert "nothing" in fails(capsys, "inspect", tmp_path / "nothing")
    manifest, tensors = container.unpack(plain.read_bytes(), KIND, "x")
    (tmp_path / "y").write_bytes(container.pack(KIND, manifest | {"audit": {"basis": 3}}, tensors))
    assert "audit" in fails(capsys, "inspect", tmp_path / "y")
