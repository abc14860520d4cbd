"""What a run says of itself: a table of situations, each with what is right."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command import ENVIRONMENT, mosaic

HEAVY = ("torch", "numpy", "scipy", "sklearn", "pyarrow", "PIL", "matplotlib", "datasets", "flwr", "ray")
"""What takes seconds to import, or memory."""
PROGRAM = f"""
import sys
from mosaic_fl.cli.main import main
try:
    main()
except SystemExit as end:
    print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
    sys.exit(end.code)
"""
CONTRIBUTE = "contribute --data x.parquet --out x --client 0 --model"

# Words, the exit code, and what is said: all of it without torch, which takes seconds alone.
WORDS = [
    ("", 0, "Usage: mosaic"),
    ("--help", 0, "Usage: mosaic"),
    ("run --help", 0, "--centralised"),
    ("deploy server --help", 0, "--min-clients"),
    ("methods", 0, "fedavg"),
    ("methods --json", 0, '"mosaic"'),
    ("config", 0, "[distill]"),
    ("config --method dense --preset natural", 0, 'method = "dense"'),
    ("fly", 2, "No such command 'fly'"),
    ("run --nosuch", 2, "--nosuch"),
    ("run --data", 2, "--data"),
    ("run --method fedavgg", 2, "unknown run.method 'fedavgg'"),
    ("run --method fedprox --set train.proximal=0", 2, "train.proximal is 0"),
    ("run --choose --set data.validation=0", 2, "data.validation is 0"),
    ("run --set distill.teacher=meta --set meta.kind=none", 2, "distill.teacher is meta, but meta.kind is none"),
    ("run --set train.lr=0", 2, "train.lr"),
    ("run --preset papr", 2, "unknown preset"),
    ("run --alpha 0", 2, "partition.alpha"),
    ("run --clients many", 2, "partition.clients is 'many'"),
    ("run --set distill.step=3", 2, "unknown setting 'distill.step'"),
    ("run --set distill.steps", 2, "SECTION.KEY=VALUE"),
    ("run --models cmn:16", 2, "unknown model 'cmn'"),
    ("run --models cnn:16,,mlp", 2, "empty part"),
    ("run --student cnn:0", 2, "'0' is not a number in 1..1024"),
    ("run --student cnn:abc", 2, "'abc' is not a number in 1..1024"),
    ("run --student mlp:8:2:3:4", 2, "mlp:WIDTH:DEPTH:GROUPS"),
    ("run --device tpu", 2, "device 'tpu'"),
    ("run --data digit", 2, "unknown data set 'digit'"),
    ("run --data no/such/file.parquet", 2, "no/such/file.parquet does not exist"),
    ("run --out taken", 2, "taken is not empty, and not the folder of a run"),
    ("run --out note.txt", 2, "note.txt is a file: --out names a folder"),
    ("run --resume --force", 2, "say one of them"),
    ("run missing.toml", 2, "missing.toml"),
    ("run bad.toml", 2, "bad.toml is not TOML"),
    ("run typo.toml", 2, "unknown setting 'train.learning_rate'"),
    ("run --config", 2, "--config"),
    ("data --data nowhere.parquet", 2, "nowhere.parquet does not exist"),
    ("data --split iiid", 2, "partition.split"),
    ("compare --methods fedavgg", 2, "unknown method 'fedavgg'"),
    ("compare --seeds 0,x", 2, "whole numbers"),
    ("compare --data digit", 2, "unknown data set 'digit'"),
    ("compare --models cmn,mlp", 2, "unknown model 'cmn'"),
    ("compare --out taken", 2, "taken is not empty"),
    (f"{CONTRIBUTE} mlp:8", 2, "x.parquet does not exist"),
    (f"{CONTRIBUTE} mpl:8", 2, "unknown model 'mpl'"),
    (f"{CONTRIBUTE} mlp:8 --classes 1", 2, "--classes '1'"),
    (f"{CONTRIBUTE.replace('--out x', '--out note.txt')} mlp:8", 2, "note.txt exists"),
    ("distill a.contribution", 2, "cannot read a.contribution: No such file"),
    ("distill note.txt --set rounds.warm_up=2", 2, "rounds.warm_up = 2: that asks clients again"),
    ("distill taken", 2, "cannot read taken: it is a folder, not a file"),
    ("distill note.txt --test nowhere", 2, "nowhere does not exist"),
    ("distill note.txt --out taken", 2, "taken is not empty"),
    ("predict global_model.safetensors --data note.txt", 2, "cannot read global_model.safetensors"),
    ("predict note.txt --data nowhere", 2, "nowhere does not exist"),
    ("status nowhere", 2, "nowhere is no folder"),
    ("status taken", 2, "taken is not the folder of a run"),
    ("deploy", 2, "Missing command"),
    ("deploy keys server", 2, "--host"),
    ("deploy server", 2, "--clients"),
    ("deploy server --clients 0", 2, "--clients"),
    ("deploy server --clients 2 --method fedavgg", 2, "unknown run.method 'fedavgg'"),
    ("deploy server --clients 2 --test nowhere", 2, "nowhere does not exist"),
    ("deploy server --clients 2 --out taken", 2, "taken is not empty"),
    ("deploy client nowhere.toml", 2, "nowhere.toml"),
]


@pytest.mark.parametrize(("words", "code", "part"), WORDS, ids=[words for words, *_ in WORDS])
def test_words_are_checked_before_anything_heavy_is_imported(words: str, code: int, part: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    (tmp_path / "note.txt").write_text("a note")
    (tmp_path / "bad.toml").write_text("[run\n")
    (tmp_path / "typo.toml").write_text("[train]\nlearning_rate = 1\n")
    before = sorted(tmp_path.rglob("*"))
    asked = [sys.executable, "-c", PROGRAM, *words.split()]
    done = subprocess.run(asked, cwd=tmp_path, env=ENVIRONMENT, text=True, capture_output=True, timeout=120)
    *lines, heavy = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert heavy == "", f"imported: {heavy}"
    assert part in (done.stdout if code == 0 else "\n".join(lines)), done.stderr
    assert sorted(tmp_path.rglob("*")) == before


TINY = [
    *("--set", "train.min_steps=5", "--set", "train.max_steps=5", "--set", "generator.steps=5"),
    *("--set", "generator.width=4", "--set", "meta.steps=2", "--set", "meta.samples=50"),
    *("--set", "distill.steps=5", "--set", "distill.pool=50", "--set", "distill.prior=none"),
    *("--set", "distill.teacher=meta", "--set", "distill.choose=false", "--set", "distill.terms=1"),
]
RUN = ("run", "--clients", "3", "--alpha", "0.5", "--models", "mlp:8", "--student", "mlp:8", "--workers", "1", *TINY)


def said(*words: str | Path, cwd: Path) -> tuple[str, str]:
    """What `mosaic WORDS` says on stdout and on stderr, of which neither is a terminal."""
    err = io.StringIO()
    return mosaic(*words, cwd=cwd, err=err), err.getvalue()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[str]]:
    """A finished run without a terminal: its folder, what it said at its end, and what while it ran."""
    folder = tmp_path_factory.mktemp("told")
    out, err = said(*RUN, "--out", "run", cwd=folder)
    return folder / "run", out, err.splitlines()


def figures(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def test_a_run_says_what_it_begins_with_and_each_stage_at_its_end(told: tuple[Path, str, list[str]]) -> None:
    folder, _, lines = told
    assert lines[:2] == ["starting", "loading digits and spreading it over the clients"]
    seconds = figures(folder)["seconds"]
    stages = ["train", "generator", "trust", "recognition", "meta", "pool", "student", "assurance"]
    spoken = [line.removesuffix(" s").split(" · ") for line in lines[2:]]
    assert [name for name, _ in spoken] == stages
    # One clock: the figures of result.json, but for what a stage still counts after its line, and the rounding.
    assert [float(spent) for _, spent in spoken] == pytest.approx([seconds[name] for name in stages], abs=0.2)


def test_the_seconds_add_up_to_the_whole(told: tuple[Path, str, list[str]]) -> None:
    folder, out, _ = told
    *stages, total = figures(folder)["seconds"].items()
    assert total[0] == "total"
    assert total[1] == pytest.approx(sum(spent for _, spent in stages), abs=1e-9)
    line = next(line for line in out.splitlines() if line.startswith("Seconds: "))
    assert line == f"Seconds: {' + '.join(f'{name} {spent:.1f}' for name, spent in stages)} = {total[1]:.1f}"


def test_a_run_says_who_gains_and_who_loses(told: tuple[Path, str, list[str]]) -> None:
    folder, out, _ = told
    result = figures(folder)
    assert [len(view["points"]) for view in result["taking_part"].values()] == [3, 3]
    for place, own in enumerate(result["local_accuracy"]):
        points = 100 * (result["accuracy"] - own)
        assert result["taking_part"]["test"]["points"][place] == pytest.approx(points, abs=0.01)
    for view, words in (("test", "all sites' test data"), ("own", "their own validation data")):
        line = next(line for line in out.splitlines() if words in line)
        for key, verb in (("gain", "gains?"), ("lose", "loses?")):
            count = result["taking_part"][view][key]
            assert bool(re.search(rf"\b{count} (of 3 sites )?{verb}", line)) == bool(count), line
    sites = result["own_data"]
    for site, told in zip(sites, result["cross_site"]["sites"], strict=True):
        shown = {model["model"]: model["accuracy"] for model in told["models"]}
        assert (told["samples"] is None) == (site["samples"] < 5)
        if told["samples"] is not None:
            assert told["samples"] == site["samples"]
            assert shown["global"] == pytest.approx(site["together"])
            assert shown.get("own") == pytest.approx(site["alone"])
    right = sum(site["samples"] * site["together"] for site in sites)
    assert right / sum(site["samples"] for site in sites) == pytest.approx(result["validation_accuracy"])


def test_the_stages_go_with_the_result_and_a_finished_run_does_nothing_again(
    told: tuple[Path, str, list[str]], tmp_path: Path
) -> None:
    folder, out, _ = told
    assert {path.name for path in folder.iterdir()} == {
        "config.toml", "contributions", "global_model.safetensors", "inputs.json", "metrics.jsonl", "pictures",
        "report.html", "result.json",
    }  # fmt: skip
    shutil.copytree(folder, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.[cjs]*") if path.is_file()}
    again, err = said(*RUN, "--out", "run", "--resume", cwd=tmp_path)
    assert again == out
    assert "mosaic: note: run has its result already: nothing is done again" in err
    kept = {"result.json", "metrics.jsonl", "global_model.safetensors", "client-000.contribution"}
    assert all(path.stat().st_mtime_ns == at for path, at in before.items() if path.name in kept)
    status = mosaic("status", tmp_path / "run", cwd=tmp_path)
    assert "finished: test accuracy" in status
    assert "stages done: train, generator, trust, recognition, meta, pool, student" in status


def test_a_finished_run_whose_model_is_gone_makes_it_again(told: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    shutil.copytree(told[0], tmp_path / "run")
    model = tmp_path / "run" / "global_model.safetensors"
    content = model.read_bytes()
    model.unlink()
    mosaic(*RUN, "--out", "run", "--resume", "--keep-stages", cwd=tmp_path)
    assert model.read_bytes() == content
    assert (tmp_path / "run" / "stages" / "student.safetensors").exists()


def test_the_file_exchange_says_the_same(told: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    mosaic("data", "--clients", "3", "--export", "sites", "--out", "split.png", cwd=tmp_path)
    site = ("contribute", *TINY, "--data", "sites/client-000.parquet", "--model", "mlp:8", "--client", "0")
    out, err = said(*site, "--out", "0.contribution", cwd=tmp_path)
    assert "of its own data (" in out.splitlines()[1]
    assert [re.sub(r"[0-9.]+ s$", "", line) for line in err.splitlines()] == [
        "reading sites/client-000.parquet", "train · ", "generator · ", "attacking the contribution",
    ]  # fmt: skip
    sent = sorted(map(str, (told[0] / "contributions").iterdir()))
    distil = ("distill", *sent, *TINY, "--student", "mlp:8", "--out", "global")
    first = mosaic(*distil, "--test", "sites/test.parquet", cwd=tmp_path)
    assert "on all sites' test data: " in first
    result = figures(tmp_path / "global")
    assert f"= {result['seconds']['total']:.1f}" in first
    assert not (tmp_path / "global" / "stages").exists()
    again = mosaic(*distil, "--test", "sites/test.parquet", "--resume", cwd=tmp_path)
    assert again == first
    other = tmp_path / "sites" / "client-000.parquet"  # other test data: the result would be another
    mosaic(*distil, "--test", other, "--resume", "--keep-stages", cwd=tmp_path)
    assert figures(tmp_path / "global")["accuracy"] != result["accuracy"]
    assert (tmp_path / "global" / "stages" / "pool.safetensors").exists()
