"""A package of somebody else adds a kind of expert that is no network: see `tests/outside`."""

import json
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.domains.dataset import image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.registries import EXPERTS

pytestmark = pytest.mark.usefixtures("outside")
TWO = ["--clients", "2", "--models", "mlp:8,nearest_mean", "--student", "mlp:8"]
MIXED = [*TWO, "--set", "data.max_train=400", *QUICK]


def test_an_expert_from_outside_is_distilled_with_networks(tmp_path: Path) -> None:
    """Of digits, the nearest class mean alone gets nine of ten right; it has no weights, features or gradients."""
    mosaic("run", *MIXED, "--split", "iid", "--workers", "1", "--out", "run", cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["models"] == ["mlp:8", "nearest_mean"]
    assert result["local_accuracy"][1] > 0.8
    assert result["teacher_accuracy"] > 0.7  # chance is 0.1
    assert result["accuracy"] > 0.2  # after 100 steps


def test_what_an_expert_cannot_do_is_told_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--models", "nearest_mean", "--student", "mlp:8"]
    asked = "and model 'nearest_mean' has none: give its client a network, as cnn:16, or choose a method that lives on"
    for more, who in [
        (["--method", "dense"], "DENSE needs gradients with respect to samples"),
        (["--method", "best_local"], "Best local model needs weights that can be averaged and trained on"),
        (["--rounds", "2"], "averaging (rounds.warm_up, rounds.fine_tune) needs weights that can be averaged"),
        (["--generator", "dcgan"], "generator dcgan needs gradients with respect to samples"),
    ]:
        line = fails(capsys, *words, *more)
        assert line.startswith(who)
        assert asked in line
    line = fails(capsys, "run", "--models", "mlp:8", "--student", "nearest_mean")
    assert line == "model 'nearest_mean' is no network, which is needed here: take one, as cnn:16"


def test_a_received_expert_is_read_where_its_kind_is_let_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = image_schema((1, 4, 4), ("dark", "light"))
    images = torch.cat([torch.zeros(40, 1, 4, 4), torch.full((40, 1, 4, 4), 255)]).to(torch.uint8)
    labels = torch.arange(80) // 40
    made = mosaic_fl.contribute(
        image_dataset(images, labels, schema), model="nearest_mean", client=0, settings={"generator.steps": 200}
    )
    (tmp_path / "0.contribution").write_bytes(made.to_bytes())
    monkeypatch.setattr(EXPERTS, "_entries", {})  # as at a server that never heard of it
    words = ["distill", str(tmp_path / "0.contribution"), "--student", "mlp:8", *QUICK]
    line = fails(capsys, *words, "--out", str(tmp_path / "global"))
    assert line.endswith("of a package that is imported only where you let it in: name it with --trust nearest_mean")
    mosaic(*words, "--trust", "nearest_mean", "--out", "global", cwd=tmp_path)
    model = GlobalModel.load(tmp_path / "global")
    assert model.predict(images).tolist() == labels.tolist()


def test_a_state_that_is_no_expert_is_refused() -> None:
    """Its kind says what fits; whatever it answers must be finite."""
    schema = image_schema((1, 4, 4), ("dark", "light"))
    EXPERTS["nearest_mean"]
    means = torch.zeros(2, 16)
    counts, held = torch.tensor([3, 3]), torch.tensor([True, True])
    for learnt, said in [
        ({"means": means[:, :5], "held": held}, "these are not the class means of such samples"),
        ({"means": means + 1e30, "held": held}, "its expert gives non-finite outputs"),
    ]:
        sent = Contribution(0, schema, "nearest_mean", learnt, counts, no_prototypes(), {}).to_bytes()
        with pytest.raises(UsageError, match=said):
            Contribution.from_bytes(sent)
