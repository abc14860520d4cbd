"""`mosaic withdraw`: nothing of the client is left, what only it knew is gone, and a kill loses no step."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.cli.main import main
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.runs import removal, withdraw
from mosaic_fl.storage.container import read
from mosaic_fl.storage.folder_lock import vacate

TINY = [
    word
    for setting in ("train.max_steps=5", "train.min_steps=5", "generator.steps=5", "generator.width=4")
    for word in ("--set", setting)
]
SPLIT = ["--clients", "3", "--split", "pathological", "--set", "partition.classes_per_client=4"]
MODEL = "global_model.safetensors"


@pytest.fixture(autouse=True)
def _free() -> Iterator[None]:
    yield
    vacate()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulation of three clients with its stages, of few steps; copy it before it is changed."""
    place = tmp_path_factory.mktemp("simulation")
    few = ["--models", "mlp:8", "--student", "mlp:8", "--keep-stages"]
    mosaic("run", *SPLIT, *few, *QUICK, *TINY, "--set", "distill.steps=20", "--out", "run", cwd=place)
    vacate()
    return place / "run"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def slices(contribution: Path) -> list[bytes]:
    """Bytes that only this client's weights have."""
    _, tensors = read(contribution, "contribution")
    weights = [t for n, t in tensors.items() if n.startswith(("expert/", "generator/")) and t.is_floating_point()]
    values = [tensor.flatten() for tensor in weights if len(tensor.unique()) > 8]
    parts = [part[middle : middle + 8].numpy().tobytes() for part in values for middle in (0, len(part) // 2)]
    others = [path.read_bytes() for path in contribution.parent.iterdir() if path != contribution]
    return [part for part in parts if not any(part in other for other in others)]  # not a row of zeros


def recalls(folder: Path) -> torch.Tensor:
    return torch.tensor(json.loads((folder / "result.json").read_text())["recall"])


def counts(folder: Path) -> torch.Tensor:
    return torch.stack([Contribution.load(p).class_counts for p in sorted((folder / "contributions").iterdir())])


def test_a_client_leaves_a_simulation_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    few = ["--set", "train.max_steps=150", "--set", "generator.steps=300", "--set", "distill.steps=300"]
    mosaic("run", *SPLIT, *QUICK, *few, "--models", "mlp:32", "--student", "mlp:64", "--out", "run", cwd=tmp_path)
    run = tmp_path / "run"
    held = counts(run) > 0
    client = int((held & (held.sum(0) == 1)).sum(1).argmax())
    alone = held[client] & (held.sum(0) == 1)
    assert alone.any()
    own = run / "contributions" / f"client-{client:03d}.contribution"
    (run / "copy.bin").write_bytes(own.read_bytes())
    (run / "notes.txt").write_text("mine")
    traces = slices(own)
    before = files(run)
    assert len(traces) > 8
    assert all(any(trace in content for content in before.values()) for trace in traces)
    assert recalls(run)[alone].mean() > 0.6

    mosaic("withdraw", "run", str(client), "--force", cwd=tmp_path)
    after = files(run)
    assert not [name for name, content in after.items() if any(trace in content for trace in traces)]
    digest = hashlib.sha256(before[str(own.relative_to(run))]).hexdigest()
    assert digest not in {hashlib.sha256(content).hexdigest() for content in after.values()}
    assert {"copy.bin", str(own.relative_to(run))}.isdisjoint(after)
    assert after["notes.txt"] == b"mine"
    assert f'"client-{client:03d}"' not in after["metrics.jsonl"].decode()
    assert '"client-' in after["metrics.jsonl"].decode()
    assert recalls(run)[alone].mean() <= 0.1
    result = json.loads(after["result.json"])
    assert client not in result["contributors"]
    assert len(result["local_accuracy"]) == 2

    [entry] = json.loads(after["withdrawals.json"])["withdrawals"]
    assert entry["client"] == client
    assert entry["command"] == f"mosaic withdraw run {client} --force"
    assert entry["removed"][str(own.relative_to(run))] == entry["removed"]["copy.bin"] == digest
    assert entry["removed"][MODEL] == hashlib.sha256(before[MODEL]).hexdigest()
    assert entry["global_model"]["sha256"] == hashlib.sha256(after[MODEL]).hexdigest()

    others = sorted((run / "contributions").iterdir())
    mosaic("distill", *others, "--config", run / "config.toml", "--out", "anew", cwd=tmp_path)
    assert (tmp_path / "anew" / MODEL).read_bytes() == after[MODEL]


STEPS = {
    "nothing was removed": (withdraw, "write_curves", False),
    "all was removed": (withdraw, "to_toml", False),
    "the settings were written": (withdraw, "_now", False),
    "a new model is made": (withdraw, "run_distillation", True),
    "the new model is there": (withdraw, "_record", False),
    "the record is there": (withdraw, "_record", True),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_two_steps_loses_none(
    run: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    mosaic("withdraw", "whole", "1", "--force", cwd=tmp_path)
    part = tmp_path / "part"
    shutil.copytree(run, part)
    module, name, late = STEPS[step]
    work = getattr(module, name)

    def killed(*arguments: object, **options: object) -> None:
        if late:
            work(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, name, killed)
        assert "the same command ends it" in fails(capsys, "withdraw", part, 1, "--force", code=1)
    record = part / "withdrawals.json"
    if record.exists():
        model = json.loads(record.read_text())["withdrawals"][0]["global_model"]["sha256"]
        assert hashlib.sha256((part / MODEL).read_bytes()).hexdigest() == model
    assert "end" in fails(capsys, "withdraw", part, 2, "--force")
    vacate()
    mosaic("withdraw", "part", "1", cwd=tmp_path)
    assert (part / MODEL).read_bytes() == (whole / MODEL).read_bytes()
    assert (part / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert files(part).keys() == files(whole).keys()
    assert len(json.loads(record.read_text())["withdrawals"]) == 1


def test_half_of_the_files_removed_is_no_end(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part"
    shutil.copytree(run, part)
    with monkeypatch.context() as patch:
        patch.setattr(removal, "remove_partial", lambda _: (_ for _ in ()).throw(OSError(5, "broken", "disk")))
        assert "cannot remove disk: broken" in fails(capsys, "withdraw", part, 1, "--force", code=1)
    vacate()
    mosaic("withdraw", "part", "1", cwd=tmp_path)
    assert (part / "withdrawals.json").exists()


def test_two_leave_one_after_the_other(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "run")
    mosaic("withdraw", "run", "1", "--force", cwd=tmp_path)
    mosaic("withdraw", "run", "0", "--force", cwd=tmp_path)
    record = json.loads((tmp_path / "run" / "withdrawals.json").read_text())["withdrawals"]
    assert [entry["client"] for entry in record] == [1, 0]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["accuracy"] is not None
    assert "is the only one" in fails(capsys, "withdraw", tmp_path / "run", 2, "--force")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["1"], "add --force to do so"),
        (["7", "--force"], "takes no part"),
    ],
)
def test_what_cannot_be_withdrawn_changes_nothing(
    run: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(run)
    assert reason in fails(capsys, "withdraw", run, *words)
    vacate()
    with pytest.raises(SystemExit) as ended:
        main(["withdraw", str(run), "1", "--dry-run"])
    assert ended.value.code == 0
    assert "would remove contributions/client-001.contribution" in capsys.readouterr().out
    assert files(run) == before


def test_a_run_from_which_nobody_can_be_withdrawn_stays(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part"
    shutil.copytree(run, part)
    (part / "contributions" / "client-002.contribution").unlink()
    before = files(part)
    assert "client-002.contribution, the contribution of client 2, is missing" in fails(
        capsys, "withdraw", part, 1, "--force"
    )
    assert files(part) == before
    settings = (part / "config.toml").read_text()
    for old, new, reason in (
        ("warm_up = 0", "warm_up = 1", "averaging put this client's weights into"),
        ('method = "mosaic"', 'method = "fedavg"', "a run of FedAvg"),
    ):
        (part / "config.toml").write_text(settings.replace(old, new))
        assert reason in fails(capsys, "withdraw", part, 1, "--force")
    (part / "result.json").unlink()
    assert "has not ended" in fails(capsys, "withdraw", part, 1, "--force")
    assert "is not the folder of a run" in fails(capsys, "withdraw", tmp_path / "none", 1, "--force")


def test_a_client_leaves_a_distillation_by_files(
    digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"train.max_steps": 5, "train.min_steps": 5, "generator.steps": 5, "generator.width": 4}
    paths = [tmp_path / f"{k}.contribution" for k in range(3)]
    for k, path in enumerate(paths):
        made = mosaic_fl.contribute(digits.subset(range(k, 200, 3)), model="mlp:4", client=k, settings=few)
        path.write_bytes(made.to_bytes())
    mosaic("distill", *paths, "--student", "mlp:4", *QUICK, "--out", "global", cwd=tmp_path)
    run = tmp_path / "global"
    before = files(run)
    assert f"is {paths[1]}, outside" in fails(capsys, "withdraw", run, 1, "--force")
    assert files(run) == before
    vacate()
    digest = hashlib.sha256(paths[1].read_bytes()).hexdigest()
    paths[1].unlink()
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[:-1])
    assert "client 2, has changed" in fails(capsys, "withdraw", run, 1, "--force")
    paths[2].write_bytes(content)
    vacate()
    mosaic("withdraw", "global", "1", "--force", cwd=tmp_path)
    [entry] = json.loads((run / "withdrawals.json").read_text())["withdrawals"]
    assert entry["outside"] == {"file": str(paths[1]), "sha256": digest}
    mosaic("distill", paths[0], paths[2], "--student", "mlp:4", *QUICK, "--out", "anew", cwd=tmp_path)
    assert (tmp_path / "anew" / MODEL).read_bytes() == (run / MODEL).read_bytes()
    assert "other data" in fails(capsys, "distill", paths[0], "--out", run, "--resume", "--student", "mlp:4", *QUICK)
