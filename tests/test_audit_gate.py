"""The gate: what does not pass does not leave, in whatever way contributions travel."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from image_files import png
from mosaic_fl.client.audit_gate import examine, is_narrow, pass_gate, trainer
from mosaic_fl.client.audited import audit_file, sides
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.audited import Audited, not_audited, require_reason
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.methods import METHODS
from mosaic_fl.notes import Note
from mosaic_fl.privacy.audit.figures import Estimate
from mosaic_fl.privacy.audit.halves import mean_estimate
from mosaic_fl.runs.audits import audit_lines, contributed_audits

CPU = torch.device("cpu")
FEW = {
    "train.max_steps": 20, "train.min_steps": 5, "generator.steps": 20, "generator.width": 4, "generator.perceptual": 0,
    "audit.seconds": 2,
}  # fmt: skip
LONG = FEW | {"generator.steps": 300, "generator.width": 16, "train.max_steps": 200}
STATED = Audited("lira", "expert", 0.7, 0.6, 0.8, 0.6, 100, 50, "the validation split")


@pytest.fixture(scope="module")
def mixed(digits: Dataset) -> Dataset:
    """The digits in no order: they are sorted by writers."""
    return digits.subset(torch.randperm(len(digits), generator=torch.Generator().manual_seed(0)))


def config(**settings: object) -> Config:
    return Config().with_values(LONG | {name.replace("__", "."): value for name, value in settings.items()})


def made(data: Dataset, settings: Config) -> tuple[Site, Contribution]:
    site = Site(1, data, "cnn:4")
    return site, trainer(CPU)(site, settings)


def test_a_gate_that_refuses(mixed: Dataset) -> None:
    """60 samples and 300 steps: by two halves, since nothing like a narrow interval comes from what is held back."""
    settings = config(audit__gate="refuse")
    site, sent = made(mixed.subset(range(60)), settings)
    with pytest.raises(
        MosaicError, match=r"nothing leaves: .* does not pass: .* on the generator .*fewer generator\.steps"
    ):
        pass_gate(site, sent, settings, trainer(CPU), "off")
    passed, found = pass_gate(site, sent, settings, trainer(CPU), "off", "a test")
    assert found is not None
    assert found.basis.startswith("the other half")
    assert found.accepted == "a test"
    assert found.members + found.strangers == 2 * 60
    assert Contribution.from_bytes(passed.to_bytes()).audit == found
    assert [line for line in audit_lines(contributed_audits([passed])) if "took the risk: a test" in line]


def test_what_tells_nothing_passes(mixed: Dataset) -> None:
    """A model after one step, and no generator: two halves of 150 are enough to say so."""
    settings = config(audit__gate="refuse", train__max_steps=1, train__min_steps=1, generator__family="none")
    site, sent = made(mixed.subset(range(300)), settings)
    passed, found = pass_gate(site, sent, settings, trainer(CPU), "off")
    assert found is not None
    assert found.passes
    assert found.high < 0.6
    assert passed.audit == found


def test_a_gate_that_warns_says_what_it_found(mixed: Dataset) -> None:
    settings = config(audit__gate="warn")
    site, sent = made(mixed.subset(range(300)), settings)
    passed, found = pass_gate(site, sent, settings, trainer(CPU), "off")
    assert passed.audit == found
    assert found is not None
    assert found.basis == "the validation split"


def test_a_gate_that_is_off_changes_nothing(mixed: Dataset) -> None:
    settings = config()
    site, sent = made(mixed.subset(range(60)), settings)
    assert pass_gate(site, sent, settings, trainer(CPU), "off") == (sent, None)
    warned, found = pass_gate(site, sent, settings, trainer(CPU), "warn")
    assert warned.to_bytes() == sent.to_bytes()
    assert found is not None
    assert found.summary == (
        "was not audited: fewer than 20 samples are held back, or trained on; audit.strangers = halves takes two "
        "trainings more"
    )
    few_site, few = made(mixed.subset(range(30)), config(train__max_steps=1, train__min_steps=1, generator__steps=1))
    unaudited = examine(few_site, few, settings, trainer(CPU), thorough=False)
    assert unaudited is not None
    assert unaudited.basis == "fewer than 20 samples are held back, or trained on"


def test_too_few_samples_for_halves(mixed: Dataset) -> None:
    settings = config(audit__gate="refuse")
    site, sent = made(mixed.subset(range(30)), settings)
    with pytest.raises(MosaicError, match="not audited: 30 samples are too few for two halves of 20"):
        pass_gate(site, sent, settings, trainer(CPU), "off")


def test_noise_is_its_own_bound(mixed: Dataset) -> None:
    settings = config()
    site, sent = made(mixed.subset(range(30)), settings)
    private = replace(sent, privacy=object())  # type: ignore[arg-type]
    assert examine(site, private, settings, trainer(CPU), thorough=True) is None


def test_who_the_members_are(mixed: Dataset) -> None:
    settings = config()
    site, sent = made(mixed.subset(range(300)), settings)
    members, strangers = sides(sent, site.data, settings)
    assert len(members) + len(strangers) == 300
    assert members.class_counts().equal(sent.class_counts)
    with pytest.raises(UsageError, match="give the data and the settings that it was made with"):
        sides(sent, mixed.subset(range(1, 301)), settings)
    found = audit_file(sent, site.data, settings, mixed.subset(range(400, 600)))
    assert found.basis == "the hold-out"
    assert 100 < found.findings[0].strangers <= 200  # as often of each class as the members


def test_a_narrow_interval() -> None:
    """Around 0.5 it is ± 1.96·√((m + n + 1)/(12mn)): ± 0.036 of 900 and 450, ± 0.113 of 270 and 30."""
    assert is_narrow(900, 450, 0.6)
    assert not is_narrow(270, 30, 0.6)
    assert not is_narrow(900, 19, 0.6)


def test_the_mean_of_two_halves() -> None:
    """(0.6 + 0.8)/2, and half of √(0.3² + 0.4²) to either side."""
    found = mean_estimate([Estimate(0.6, 0.3, 0.9), Estimate(0.8, 0.4, 1.2)])
    assert found.value == pytest.approx(0.7)
    assert (found.low, found.high) == pytest.approx((0.45, 0.95))


@pytest.mark.parametrize(
    "change", [{"auc": 2}, {"on": "a\nb"}, {"members": -1}, {"accepted": "x" * 201}, {"low": True}, {"more": 1}]
)
def test_a_statement_from_anywhere(change: dict[str, object]) -> None:
    assert Audited.from_json(STATED.to_json()) == STATED
    with pytest.raises(UsageError, match="statement of an audit"):
        Audited.from_json(STATED.to_json() | change)


def test_what_passes() -> None:
    assert not STATED.passes
    assert replace(STATED, high=0.6).passes
    assert not not_audited("too few", 0.6).passes
    with pytest.raises(UsageError, match="one line"):
        require_reason("a\nb")


def test_a_method_without_the_gate() -> None:
    gated = Config().with_values({"audit.gate": "refuse"})
    with pytest.raises(UsageError, match="fedavg has no gate"):
        METHODS["fedavg"].check_settings(gated.with_values({"run.method": "fedavg"}))
    with pytest.raises(UsageError, match="rounds of averaging send weights that no audit has seen"):
        METHODS["mosaic"].check_settings(gated.with_values({"rounds.warm_up": 1}))


def test_a_simulation_says_what_its_clients_found(mixed: Dataset) -> None:
    settings = FEW | {
        "partition.clients": 2, "partition.alpha": 100.0, "meta.steps": 5, "meta.samples": 40, "distill.steps": 5,
        "distill.pool": 60, "distill.prior_pool": 40, "distill.terms": 1, "audit.gate": "warn", "run.workers": 1,
    }  # fmt: skip
    result = mosaic_fl.run("mosaic", mixed.subset(range(600)), settings=settings).result
    assert [row["client"] for row in result["audit"]] == [0, 1]
    assert all(row["attack"] and row["basis"] == "the validation split" for row in result["audit"])


def test_in_python_the_gate_is_there_too(mixed: Dataset) -> None:
    with pytest.raises(MosaicError, match="nothing leaves"):
        mosaic_fl.contribute(mixed.subset(range(60)), model="cnn:4", client=0, settings=LONG | {"audit.gate": "refuse"})
    with pytest.warns(Note, match="not audited"):
        mosaic_fl.contribute(mixed.subset(range(60)), model="cnn:4", client=0, settings=FEW | {"audit.gate": "warn"})


def files(data: Dataset, path: Path) -> Path:
    """A file of images for the command."""
    rows = [{"bytes": png(image[0].numpy()), "path": None} for image in data.images]
    pq.write_table(pa.table({"image": rows, "label": data.labels.tolist()}), path)
    return path


def test_the_commands(mixed: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is refused is not written; what is written can be audited, and the server is told of a risk."""
    own = files(mixed.subset(range(60)), tmp_path / "own.parquet")
    words = [word for name, value in FEW.items() for word in ("--set", f"{name}={value}")]
    command = ["contribute", "--data", own, "--classes", "10", "--model", "cnn:4", "--client", "3", *words]
    warned = mosaic(*command, "--out", "a", cwd=tmp_path)
    assert "Audit: the contribution was not audited: fewer than 20 samples" in warned
    gate = ["--set", "audit.gate=refuse", "--out", "b"]
    assert "nothing leaves" in fails(capsys, *command, *gate[:2], "--out", tmp_path / "b", code=1)
    assert not (tmp_path / "b").exists()
    said = mosaic(*command, *gate, "--accept-risk", "a test", cwd=tmp_path)
    assert "does not pass" in said
    assert Contribution.load(tmp_path / "b").audit is not None
    others = files(mixed.subset(range(100, 200)), tmp_path / "others.parquet")
    audit = ["audit", "b", "--data", own, *words]
    report = mosaic(*audit, "--holdout", others, cwd=tmp_path)
    assert "of the hold-out" in report
    assert "does not pass" in report
    content = json.loads(mosaic(*audit, "--holdout", others, "--json", cwd=tmp_path))
    assert content["passes"] is False
    assert {row["attack"] for row in content["findings"]} >= {"nearest", "loss", "lira"}
    sent = tmp_path / "b"
    told = fails(capsys, "audit", sent, "--data", own, *words)
    assert "are held back, and an interval needs 20 strangers" in told
    assert "in the training data" in fails(capsys, "audit", sent, "--data", own, "--holdout", own, *words)
    quick = [word for word in QUICK if word.startswith(("meta", "distill")) or word == "--set"]
    quick = [word for name in quick if name != "--set" for word in ("--set", name)]
    assert "took the risk: a test" in mosaic("distill", "b", *quick, "--out", "global", cwd=tmp_path)
