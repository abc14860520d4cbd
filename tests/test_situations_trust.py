"""Which models a received name, a command or a site may bring, and what lets them in."""

import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import mosaic_fl
from command import fails
from mosaic_fl.data.export import save_parquet
from mosaic_fl.deploy.prepare import check_data
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.flower.site import SiteFile, load_site
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import check, own, trust, trust_own

SCHEMA = image_schema((1, 8, 8), ("a", "b", "c"))


@pytest.fixture(autouse=True)
def _nothing_trusted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_own", {})
    monkeypatch.setattr(own, "_packages", set())


def net(*last: nn.Module, outputs: int = 3) -> nn.Sequential:
    """A perceptron that ends in `last`."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, outputs), *last)


def few(digits: Dataset) -> Dataset:
    return digits.subset(range(40))


FEW = {"train.max_steps": 6, "train.min_steps": 5, "generator.steps": 3, "generator.width": 4}


@pytest.fixture
def timm_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that comes to be when a package of the name timm, which is empty, is imported."""
    (tmp_path / "timm.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'imported')!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    yield tmp_path / "imported"
    sys.modules.pop("timm", None)


def as_timm(contribution: Contribution) -> bytes:
    """The contribution, whose sender says that its model is one of timm's."""
    return replace(contribution, architecture="timm:resnet18").to_bytes()


@pytest.fixture(scope="module")
def sent(digits: Dataset) -> Contribution:
    return mosaic_fl.contribute(few(digits), model="mlp:4", client=0, settings=FEW)


def test_a_received_name_of_timm_imports_nothing(
    timm_mark: Path, sent: Contribution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "needs timm, a package that is imported only where you let it in: name it with --trust timm"
    with pytest.raises(UsageError, match=told):
        Contribution.from_bytes(as_timm(sent))
    model = GlobalModel("timm:resnet18", sent.schema, sent.expert)
    with pytest.raises(UsageError, match=told):
        GlobalModel.from_bytes(model.to_bytes())
    (tmp_path / "a.contribution").write_bytes(as_timm(sent))
    (tmp_path / "m.safetensors").write_bytes(model.to_bytes())
    out = str(tmp_path / "out")
    assert told in fails(capsys, "distill", str(tmp_path / "a.contribution"), "--out", out)
    assert told in fails(capsys, "predict", str(tmp_path / "m.safetensors"), "--data", str(tmp_path))
    assert not timm_mark.exists()


@pytest.mark.parametrize("words", [["--trust", "timm"], ["--trust", "timm:resnet18"], ["--student", "timm:resnet18"]])
def test_who_names_timm_has_it_imported(
    words: list[str], timm_mark: Path, sent: Contribution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.contribution").write_bytes(as_timm(sent))
    said = fails(capsys, "distill", str(tmp_path / "a.contribution"), "--out", str(tmp_path / "out"), *words)
    assert timm_mark.exists(), said


def test_what_was_let_in_travels_to_worker_processes() -> None:
    trust_own("timm")
    name = trust(net)
    travelled = pickle.loads(pickle.dumps(own.admissions()))  # noqa: S301
    own._own.clear()
    own._packages.clear()
    own.admissions().update(travelled)
    assert own.is_admitted("timm")
    assert own.is_own(name)


def test_the_package_alone_is_no_model() -> None:
    with pytest.raises(UsageError, match="'timm' names a package: write timm:NAME"):
        check(trust("timm"), SCHEMA)


def test_no_built_in_name_is_one_to_trust() -> None:
    with pytest.raises(UsageError, match="write MODULE:FACTORY"):
        trust_own("cnn:16")


def site_file(folder: Path, digits: Dataset, model: str, *more: str) -> SiteFile:
    """The file of a site with 40 digits, and `more` lines in it."""
    save_parquet(few(digits), folder / "data.parquet")
    lines = ["client = 0", 'data = "data.parquet"', f'model = "{model}"', *more, "[server]", 'address = "localhost:9"']
    (folder / "site.toml").write_text("\n".join(lines))
    return load_site(folder / "site.toml")


def test_a_site_refuses_a_module_before_it_joins(tmp_path: Path, digits: Dataset) -> None:
    name = trust(lambda: net(nn.Softmax(1), outputs=10))
    with pytest.raises(UsageError, match="ends in a softmax"):
        check_data(site_file(tmp_path, digits, name))


def test_a_site_says_itself_what_a_global_model_may_be_of(
    tmp_path: Path, digits: Dataset, sent: Contribution, timm_mark: Path
) -> None:
    model = GlobalModel("timm:resnet18", sent.schema, sent.expert).to_bytes()
    check_data(site_file(tmp_path, digits, "mlp:4"))
    with pytest.raises(UsageError, match=r'at a site: trust = \["timm"\] in its file'):
        GlobalModel.from_bytes(model)
    assert not timm_mark.exists()
    check_data(site_file(tmp_path, digits, "mlp:4", 'trust = ["timm"]'))
    with pytest.raises(UsageError):  # this timm is empty
        GlobalModel.from_bytes(model)
    assert timm_mark.exists()
