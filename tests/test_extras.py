"""What works without any extra, as where `pip install mosaic-fl` was all, and what names the extra that it lacks."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from command import ENVIRONMENT
from image_files import folder
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.extras import EXTRAS

ABSENT = (*EXTRAS, "flwr_datasets", "pandas", "seaborn", "tqdm", "requests", "httpx", "uvicorn")
"""What a bare installation has not, and what came with it."""
BARE = f"""
import json, os, sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
from mosaic_fl.cli.main import main

def code(words):
    try:
        main(words)
    except SystemExit as end:
        return end.code or 0
"""
PROGRAM = f"""{BARE}
for words in json.loads(sys.argv[1]):
    if failed := code(words):
        sys.exit(failed)
"""
FORKS = f"""{BARE}
for i, words in enumerate(json.loads(sys.argv[1])):
    os.mkdir(str(i))
    if not os.fork():
        sys.stderr = open(f"{{i}}.err", "w")
        os.chdir(str(i))
        failed = code(words.split())
        print("torch" if "torch" in sys.modules else "", file=sys.stderr, flush=True)
        open(f"../{{i}}.code", "w").write(str(failed))
        os._exit(0)
    os.wait()
"""
FEW = [
    word
    for setting in ("train.min_steps", "train.max_steps", "generator.steps", "meta.steps", "distill.steps")
    for word in ("--set", f"{setting}=3")
]


def bare(place: Path, *commands: list[str]) -> "subprocess.CompletedProcess[str]":
    """`mosaic` with each of these words in turn, up to the first that fails, in a Python without any extra."""
    words = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    return subprocess.run(words, cwd=place, env=ENVIRONMENT, text=True, capture_output=True, timeout=240)


def test_sites_and_a_server_need_no_extra(tmp_path: Path) -> None:
    for site in "ab":
        folder(tmp_path / site, cat=30, dog=30)
    contribute = ["contribute", "--classes", "cat,dog", "--model", "mlp:4", *FEW]
    done = bare(
        tmp_path,
        [*contribute, "--data", "a", "--client", "0", "--out", "0.contribution"],
        [*contribute, "--data", "b", "--client", "1", "--out", "1.contribution"],
        ["distill", "0.contribution", "1.contribution", "--student", "mlp:4", "--test", "a", "--out", "global", *FEW],
        ["predict", "global", "--data", "b", "--out", "predictions.csv"],
        ["predict", "global", "--data", "b", "--out", "predictions.parquet"],
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 61
    assert "extra" not in done.stderr
    assert "not installed" not in done.stderr


def test_a_simulation_goes_without_pictures_and_says_so(tmp_path: Path) -> None:
    quick = ["--clients", "2", "--models", "mlp:4", "--student", "mlp:4", "--set", "data.max_train=200", *FEW]
    done = bare(
        tmp_path,
        ["run", *quick, "--split", "iid", "--out", "run"],
        ["compare", "--methods", "fedavg", *quick[:6], *quick[-12:], "--architectures", "equal", "--seeds", "0"],
        ["data", "--clients", "2"],
    )
    assert done.returncode == 0, done.stderr
    told = "mosaic: note: drawing pictures needs matplotlib, which is not installed: pip install 'mosaic-fl[report]'"
    assert done.stderr.splitlines().count(told) == 3
    assert not list(tmp_path.rglob("*.png"))
    assert "png" not in done.stdout
    assert (tmp_path / "run" / "result.json").exists()


LACKING = [
    ("run --data hub:org/name", "the Hugging Face hub needs datasets, which", "hub"),
    ("data --data org/name", "the Hugging Face hub needs datasets, which", "hub"),
    ("compare --data org/name", "the Hugging Face hub needs datasets, which", "hub"),
    ("data --out split.png", "drawing pictures needs matplotlib, which", "report"),
    ("run --models cnn:8,random_forest", "model random_forest needs onnx, which", "trees"),
    ("run --models xgboost:20", "model xgboost:20 needs onnx, which", "trees"),
    ("run --engine flower", "Flower's simulation needs flwr, which", "flower"),
    ("deploy server --clients 2", "mosaic deploy needs flwr, which", "flower"),
    ("deploy keys client", "mosaic deploy needs flwr, which", "flower"),
    ("deploy keys server --host localhost", "mosaic deploy needs flwr, which", "flower"),
    ("run --track mlflow", "--track mlflow needs mlflow, which", "track"),
    ("distill a.contribution --track tensorboard", "--track tensorboard needs tensorboard, which", "track"),
    ("compare --track tensorboard", "--track tensorboard needs tensorboard, which", "track"),
    ("keys new a.key", "a key needs pyrage, which", "keys"),
    ("deploy client site.toml", "mosaic deploy needs flwr, which", "flower"),
]


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, list[str]]]:
    """Of each command of `LACKING` its exit code, its stderr, and what it left: all in forks of one Python."""
    place = tmp_path_factory.mktemp("lacking")
    commands = [words for words, *_ in LACKING]
    words = [sys.executable, "-c", FORKS, json.dumps(commands)]
    subprocess.run(words, cwd=place, env=ENVIRONMENT, check=True, timeout=240)
    return {
        command: (
            int((place / f"{i}.code").read_text()),
            (place / f"{i}.err").read_text(),
            [path.name for path in (place / str(i)).iterdir()],
        )
        for i, command in enumerate(commands)
    }


@pytest.mark.parametrize(("words", "told", "extra"), LACKING, ids=[words for words, *_ in LACKING])
def test_what_needs_an_extra_names_it_before_any_work(
    words: str, told: str, extra: str, lacking: dict[str, tuple[int, str, list[str]]]
) -> None:
    code, said, left = lacking[words]
    *lines, loaded = said.splitlines()
    assert code == 2, said
    assert len(lines) == 1, lines
    assert lines[0].startswith("mosaic: ")
    assert f"{told} is not installed: pip install 'mosaic-fl[{extra}]'" in lines[0]
    assert not loaded
    assert not left


def test_an_architecture_of_timm_names_its_extra(tmp_path: Path) -> None:
    folder(tmp_path / "a", cat=30, dog=30)
    words = "contribute --data a --model timm:resnet18 --client 0 --out 0.contribution"
    done = bare(tmp_path, words.split())
    assert done.returncode == 2
    assert "pip install 'mosaic-fl[timm]'" in done.stderr
    assert not (tmp_path / "0.contribution").exists()


def test_a_received_onnx_model_names_its_extra(tmp_path: Path) -> None:
    schema = image_schema((1, 4, 4), ("cat", "dog"))
    state = {"model": torch.ones(3, dtype=torch.uint8)}
    sent = Contribution(0, schema, "onnx:forest", state, torch.tensor([3, 3]), no_prototypes(), {})
    (tmp_path / "0.contribution").write_bytes(sent.to_bytes())
    done = bare(tmp_path, ["distill", "0.contribution", "--out", "global"])
    assert done.returncode == 2
    told = "an ONNX model needs onnx, which is not installed: pip install 'mosaic-fl[trees]'"
    assert f"mosaic: 0.contribution: contribution of client 0: {told}" in done.stderr
    assert not (tmp_path / "global").exists()


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = {name: " ".join(packages) for name, packages in project["optional-dependencies"].items()}
    for package, extra in EXTRAS.items():
        name = {"ray": "flwr[simulation]"}.get(package, package)  # which brings it
        names = (name, name.replace("_", "-"))
        assert any(name in extras[extra] for name in names), package
        assert not any(base.startswith(names) for base in project["dependencies"]), package
    for whole in ("all", "dev"):
        assert all(
            extra in extras[whole] for extra in set(EXTRAS.values()) - ({"timm", "track"} if whole == "dev" else set())
        )


def test_development_needs_nothing_for_graphics_cards() -> None:
    """On Linux `xgboost` brings 500 MB of NVIDIA's libraries; `xgboost-cpu` is the same without them."""
    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert "mosaic-fl[hub,report,flower,trees-cpu,encoders,privacy,keys]" in extras["dev"]
    on_linux = [package for package in extras["trees-cpu"] if "!= 'Linux'" not in package]
    others = {package for package in extras["trees"] if not package.startswith("xgboost")}
    assert {package for package in on_linux if not package.startswith("xgboost")} == others
    assert not [package for package in on_linux if package.startswith("xgboost>")]
