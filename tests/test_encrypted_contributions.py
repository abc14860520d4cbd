"""Contributions that are encrypted for the server: each command that reads contributions reads these, with the key."""

import io
import shutil
from pathlib import Path

import pytest

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.storage.folder_lock import vacate
from mosaic_fl.storage.keys import read_key

FEW = [
    word
    for setting in ("train.max_steps=5", "train.min_steps=5", "generator.steps=5", "generator.width=4")
    for word in ("--set", setting)
]
MODEL = "global_model.safetensors"


@pytest.fixture(scope="module")
def sites(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contributions of two sites, encrypted (`0.age`, `1.age`) and as they are (`0.plain`), and keys."""
    place = tmp_path_factory.mktemp("sites")
    (place / "server.pub").write_text(mosaic("keys", "new", "server.key", cwd=place))
    own = mosaic("keys", "new", "own.key", cwd=place).strip()
    for k in range(2):
        save_parquet(digits.subset(range(k, 200, 2)), place / f"{k}.parquet")
        words = ["contribute", "--data", f"{k}.parquet", "--model", "mlp:4", "--client", str(k), *FEW]
        mosaic(*words, "--out", f"{k}.plain", cwd=place)
        told = mosaic(*words, "--out", f"{k}.age", "--encrypt-for", "server.pub", "--encrypt-for", own, cwd=place)
        assert "encrypted for 2 keys" in told
    return place


def test_python_reads_an_encrypted_contribution(sites: Path) -> None:
    plain = (sites / "0.plain").read_bytes()
    assert plain[8:40] not in (sites / "0.age").read_bytes()
    for key in (sites / "server.key", str(sites / "own.key"), read_key(sites / "server.key")):
        assert Contribution.load(sites / "0.age", key).to_bytes() == plain
    assert Contribution.load(sites / "0.plain", sites / "server.key").to_bytes() == plain
    with pytest.raises(UsageError, match=r"0\.age is encrypted: give the private key"):
        mosaic_fl.Contribution.load(sites / "0.age")


def test_the_global_model_is_that_of_plain_files(sites: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["--student", "mlp:4", *QUICK]
    line = fails(capsys, "distill", sites / "0.age", sites / "1.age", *rest, "--out", sites / "none")
    assert line.startswith(f"{sites / '0.age'} is encrypted: give the private key that it is for, --key FILE")
    assert not (sites / "none").exists()
    mosaic("distill", "0.plain", "1.plain", *rest, "--out", "plain", cwd=sites)
    vacate()
    mosaic("distill", "0.age", "1.age", "--key", "server.key", *rest, "--out", "secret", cwd=sites)
    vacate()
    assert (sites / "secret" / MODEL).read_bytes() == (sites / "plain" / MODEL).read_bytes()
    assert not list((sites / "secret").rglob("*.contribution"))


def test_a_client_withdraws_from_encrypted_contributions(sites: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(2):
        shutil.copy(sites / f"{k}.age", sites / f"{k}.gone")
    files = ["0.gone", "1.gone", "--key", "server.key", "--student", "mlp:4"]
    mosaic("distill", *files, *QUICK, "--out", "left", cwd=sites)
    vacate()
    (sites / "1.gone").unlink()
    assert "0.gone is encrypted" in fails(capsys, "withdraw", sites / "left", "1", "--force")
    vacate()
    mosaic("withdraw", "left", "1", "--force", "--key", "server.key", cwd=sites)
    vacate()
    assert (sites / "left" / MODEL).is_file()


def test_a_region_s_contribution_is_encrypted_too(sites: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["0.age", "1.age", "--key", "server.key", "--student", "mlp:4", *QUICK, "--out", "region"]
    told = mosaic(
        "distill", *words, "--as-contribution", "7.age", "--client", "7", "--encrypt-for", "server.pub", cwd=sites
    )
    vacate()
    assert "encrypted for 1 key" in told
    assert Contribution.load(sites / "7.age", sites / "server.key").client == 7
    lone = fails(capsys, "distill", sites / "0.plain", "--out", sites / "x", "--encrypt-for", sites / "server.pub")
    assert "--as-contribution" in lone


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--encrypt-for", "nobody.pub"], "cannot read nobody.pub: No such file"),
        (["--encrypt-for", "server.key"], "is a private key, which stays where it is"),
        (["--encrypt-for", "server.pub", "--encrypt-for", "server.pub"], "the same key twice"),
        (["--encrypt-for", ""], "is no public key"),
    ],
)
def test_a_wrong_reader_is_told_before_work(
    words: list[str], told: str, sites: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sites)
    base = ["contribute", "--data", "0.parquet", "--model", "mlp:4", "--client", "0", "--out", "new.contribution"]
    assert told in fails(capsys, *base, *words)
    assert not (sites / "new.contribution").exists()


def test_a_black_box_answers_by_its_encrypted_contribution(
    sites: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sites)
    words = ["--data", "1.parquet", "--model", "answers", "--client", "2", "--generator", "none", *FEW]
    mosaic("contribute", *words, "--out", "2.box", cwd=sites)
    err = io.StringIO()
    with pytest.raises(AssertionError, match="exit code 3"):
        mosaic("distill", "0.plain", "2.box", "--student", "mlp:4", *QUICK, "--out", "asks", cwd=sites, err=err)
    vacate()
    query = next((sites / "asks").rglob("*.query"))
    base = ["answer", query, "--model", "1.age", "--out", "2.answer"]
    assert "1.age is encrypted" in fails(capsys, *base)
    mosaic(*base, "--key", "own.key", cwd=sites)
    assert (sites / "2.answer").is_file()


def test_a_site_audits_what_it_encrypted_for_itself_too(
    sites: Path, digits: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sites)
    save_parquet(digits.subset(range(300, 360)), sites / "others.parquet")
    words = ["audit", "0.age", "--data", "0.parquet", "--holdout", "others.parquet", *FEW]
    assert "0.age is encrypted" in fails(capsys, *words)
    assert "0.age: Contribution(client 0" in mosaic(*words, "--key", "own.key", cwd=sites)
