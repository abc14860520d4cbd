"""Every wrong input ends in one clear line on stderr, exit code 2 (1 for a fault while running), never a traceback."""

import re
import tomllib
from pathlib import Path

import pytest

from command import QUICK, fails
from mosaic_fl.cli.main import main
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.notes import Note


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--data", "digit"], ["unknown data set 'digit'", "digits"]),
        (["--data", "no/such/file.parquet"], ["no/such/file.parquet"]),
        (["--models", "cmn:16"], ["unknown model 'cmn'", "cnn"]),
        (["--models", "cnn:0"], ["cnn:0", "1..1024"]),
        (["--models", "cnn:16,,mlp"], ["empty part"]),
        (["--models", "no.such:factory"], ["no.such:factory", "cannot be imported"]),
        (["--student", "resnet19"], ["resnet19", "resnet18"]),
        (["--generator", "cvea"], ["generator.family", "'cvea'", "cvae"]),
        (["--method", "fedavgg"], ["run.method", "fedavg"]),
        (["--split", "iiid"], ["partition.split", "iid"]),
        (["--alpha", "0"], ["partition.alpha", "greater than 0"]),
        (["--alpha", "-1"], ["partition.alpha", "-1"]),
        (["--alpha", "nan"], ["partition.alpha"]),
        (["--clients", "0"], ["partition.clients"]),
        (["--clients", "2.5"], ["partition.clients is '2.5', but it should be a whole number"]),
        (["--set", "distill.choose=maybe"], ["distill.choose is 'maybe', but it should be true or false or 'auto'"]),
        (["--set", "models.clients=3"], ["models.clients is 3, but it should be a list"]),
        (["--set", "data.name=3"], ["data.name is 3, but it should be text"]),
        (["--clients", "5000"], ["5000", "clients"]),
        (["--clients", "100", "--alpha", "0.01"], ["min_samples"]),
        (["--seed", "-1"], ["run.seed"]),
        (["--workers", "many"], ["run.workers", "many"]),
        (["--device", "tpu"], ["device 'tpu'"]),
        (["--set", "distil.steps=3"], ["unknown section 'distil'", "distill"]),
        (["--set", "distill.step=3"], ["unknown setting 'distill.step'", "distill.steps"]),
        (["--set", "distill.temperature=0"], ["distill.temperature", "greater than 0"]),
        (["--set", "distill.steps"], ["SECTION.KEY=VALUE"]),
        (["--set", "train.lr=quick"], ["train.lr is 'quick', but it should be a number"]),
        (["--method", "fedavg", "--models", "cnn:8,mlp:8"], ["one architecture", "cnn:8"]),
        (["--method", "fedprox", "--set", "train.proximal=0"], ["train.proximal is 0", "0.01"]),
        (["--method", "fedrs", "--set", "train.absent=1"], ["train.absent is 1", "0.5"]),
        (["--method", "fedbn", "--models", "cnn:8,mlp:8"], ["FedBN", "one architecture"]),
        (["--method", "fedcvae", "--generator", "cdcgan"], ["not cdcgan", "--generator cvae"]),
        (["--method", "fens", "--set", "data.validation=0"], ["data.validation is 0"]),
        (["--method", "best_local", "--set", "data.validation=0"], ["data.validation is 0"]),
        (["--nosuch"], ["--nosuch"]),
        (["--preset", "papr"], ["unknown preset", "paper"]),
        (["--preset", "paper", "--models", "cnn:4,mlp:4"], ["experts.kind", "one architecture"]),
        (["--set", "meta.source=prototypes", "--set", "prototypes.per_class=5"], ["meta.source", "one built-in arch"]),
        (["--generator", "none"], ["generator.family is none", "--prior"]),
        (["--prior", "photo"], ["photo", "photos"]),
        (["--set", "distill.fresh=true", "--prior", "photos"], ["distill.fresh"]),
        (["--set", "distill.teacher=meta", "--set", "meta.kind=none"], ["distill.teacher is meta"]),
        (["--choose", "--set", "data.validation=0"], ["distill.choose", "data.validation is 0"]),
        (["--generator", "none", "--prior", "photos", "--set", "distill.teacher=meta"], ["learns from generators"]),
        (["--set", "meta.width=62"], ["meta.width 62 is not a multiple"]),
        (["--set", "distill.kl=0", "--set", "distill.label=0"], ["nothing would teach"]),
        (["--set", "rounds.kind=fedrolex", "--rounds", "1", "--models", "vit:8"], ["vit:8"]),
        (["--method", "fedrolex", "--models", "vit:8"], ["vit:8"]),
        (["missing.toml"], ["missing.toml"]),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]) -> None:
    line = fails(capsys, "run", *words)
    assert all(part in line for part in parts), line
    assert not Path("runs").exists()  # before any work is spent


def test_wrong_toml(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.toml").write_text("[run\n")
    assert "a.toml is not TOML" in fails(capsys, "run", "a.toml")
    Path("a.toml").write_text("run = 3\n")
    assert fails(capsys, "run", "a.toml") == "a.toml: run is 3, but it should be a section with settings"
    Path("b.toml").write_text("[train]\nlearning_rate = 1\n")
    assert "b.toml: unknown setting 'train.learning_rate'" in fails(capsys, "run", "b.toml")
    Path("c.toml").write_text('[run]\nmethod = ["mosaic"]\n')
    assert "c.toml: run.method is ['mosaic'], but it should be text" in fails(capsys, "config", "c.toml")


def test_a_file_that_is_no_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.parquet").write_text("hello")
    assert "x.parquet" in fails(capsys, "run", "--data", "x.parquet")


def test_an_existing_folder_is_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    for words in ([], ["--force"]):
        assert "mine" in fails(capsys, "run", "--out", "mine", *words)
    assert Path("mine/thesis.txt").read_text() == "years of work"


def test_resuming_with_other_settings(capsys: pytest.CaptureFixture[str]) -> None:
    from mosaic_fl.config import Config
    from mosaic_fl.runs.folder import claim
    from mosaic_fl.runs.runner import prepare

    prepared = prepare(Config())
    claim(Path("run"), "run", prepared.inputs, prepared.config, resume=False, force=False)
    line = fails(capsys, "run", "--out", "run", "--resume", "--seed", "3")
    assert "run.seed = 0, not 3" in line
    assert "--resume" in fails(capsys, "run", "--out", "run")


def test_a_place_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert "cannot write file/below/inputs.json: " in fails(capsys, "run", "--out", "file/below")


def test_contributions(capsys: pytest.CaptureFixture[str], digits: Dataset) -> None:
    save_parquet(digits.subset(range(30)), Path("a.parquet"))
    made = ["contribute", "--data", "a.parquet", "--client", "0", "--out", "a.contribution"]
    assert "unknown model 'mpl'" in fails(capsys, *made, "--model", "mpl:3")
    assert "name --model, too" in fails(capsys, *made, "--generator", "cvae")
    assert "--client" in fails(capsys, "contribute", "--data", "a.parquet", "--model", "mlp", "--out", "x")
    assert "nowhere.parquet" in fails(
        capsys, "contribute", "--data", "nowhere.parquet", "--client", "0", "--model", "mlp", "--out", "x"
    )
    for classes in ("1", "cat", "cat,", "-3"):
        assert f"--classes '{classes}'" in fails(capsys, *made, "--model", "mlp:3", "--classes", classes)
    Path("a.contribution").write_text("precious")
    below = [*made[:-1], "a.contribution/x", "--model", "mlp:3"]  # found before any training, of which there is a lot
    assert "cannot write a.contribution/x: File exists; choose another" in fails(
        capsys, *below, "--set", "train.min_steps=100000"
    )
    assert "--force" in fails(capsys, *made, "--model", "mlp:3")
    assert "not a mosaic-fl file" in fails(capsys, "distill", "a.contribution", "--out", "g")
    assert "cannot read b.contribution" in fails(capsys, "distill", "b.contribution", "--out", "g")
    assert "not a mosaic-fl file" in fails(capsys, "predict", "a.contribution", "--data", "a.parquet")
    for command in (["distill", "a.contribution", "--out", "g"], ["predict", "a.contribution", "--data", "a.parquet"]):
        for spec in ("foo", "cnn:16"):
            assert fails(capsys, *command, "--trust", spec) == f"--trust '{spec}': write MODULE:FACTORY"
        assert "'no.such:factory' cannot be imported" in fails(capsys, *command, "--trust", "no.such:factory")
    assert not Path("g").exists()


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(Exception, match="unknown data set"):
        main(["run", "--data", "digit", "--debug"])


def test_help_of_run_fits_a_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit:
        main(["run", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert exit.value.code == 0
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80


def test_config_prints_every_setting_and_reads_it_back(capsys: pytest.CaptureFixture[str]) -> None:
    from mosaic_fl.config import Config
    from mosaic_fl.config.toml import from_toml

    with pytest.raises(SystemExit):
        main(["config", "--set", "distill.steps=7"])
    text = capsys.readouterr().out
    Path("c.toml").write_text(text)
    assert from_toml(Path("c.toml")) == Config().with_values({"distill.steps": 7})
    settings = [line for line in text.splitlines() if "=" in line]
    assert all("#" in line for line in settings)


def test_the_defaults_in_comments_are_toml(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["config", "--preset", "paper", "--set", "distill.choose=true"])
    text = capsys.readouterr().out
    defaults = re.findall(r"\(default: (.*)\)$", text, re.MULTILINE)
    assert {"[]", '""', '"adamw"', "false"} <= set(defaults)
    for default in defaults:
        tomllib.loads(f"x = {default}")
        assert "'" not in default


def test_a_look_at_the_data_draws_over_its_own_picture_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["data", "--clients", "2"])
        assert ended.value.code == 0
    assert Path("runs/split.png").stat().st_size > 1000
    Path("mine.png").write_text("precious")
    assert "mine.png exists: add --force" in fails(capsys, "data", "--clients", "2", "--out", "mine.png")


def test_a_file_that_leaves_out_the_settings_of_its_methods_paper_gets_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mosaic_fl.cli.options import configure

    Path("dense.toml").write_text('[run]\nmethod = "dense"\n[synthesis]\nlatent = 7\n')
    read = configure(Path("dense.toml"), {}, None)
    assert (read.synthesis.batch_size, read.synthesis.temperature, read.synthesis.latent) == (256, 20.0, 7)
    Path("some.toml").write_text("[distill]\nsteps = 7\n")
    assert configure(Path("some.toml"), {"run.method": "dense"}, None).synthesis.batch_size == 256
    assert capsys.readouterr().err == ""


def test_a_file_that_says_everything_keeps_it_and_another_method_is_told_what(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mosaic_fl.cli.options import configure

    with pytest.raises(SystemExit):
        main(["config"])
    Path("all.toml").write_text(capsys.readouterr().out)
    with pytest.warns(Note) as notes:
        read = configure(Path("all.toml"), {"run.method": "dense"}, ["synthesis.latent=256"])
    assert (read.synthesis.batch_size, read.synthesis.latent) == (128, 256)
    told = str(notes[0].message)
    assert "synthesis.batch_size = 128, not 256" in told
    assert "latent" not in told
    assert "mosaic config --method dense" in told


def test_options_that_a_method_has_no_use_for_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--clients", "2", "--models", "mlp:4", "--workers", "1", "--set", "data.max_train=80"]

    def told(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(["run", *few, *QUICK, *words, "--out", "run", "--force"])
        return "".join(line for line in capsys.readouterr().err.splitlines() if "no use" in line)

    said = "mosaic: note: Mean logits has no use for rounds.warm_up = 3, distill.choose = true"
    assert told("--method", "mean_logits", "--rounds", "3", "--set", "distill.choose=true") == said
    # What the preset says, or is as it would be, is not asked for in vain.
    assert not told("--method", "fedavg", "--preset", "natural", "--rounds", "2", "--student", "mlp:4")
    photos = ("--set", "distill.prior=photos")
    said = "mosaic: note: FedAvg has no use for models.student = mlp, generator.family = cvae, distill.prior = photos"
    assert told("--method", "fedavg", "--student", "mlp", "--generator", "cvae", *photos) == said
    assert not told("--method", "mean_logits", "--student", "mlp:5", "--centralised", "--generator", "none")
    said = "mosaic: note: FedCVAE-Ens has no use for distill.prior = photos"
    assert told("--method", "fedcvae", "--student", "mlp:5", *photos, "--generator", "cvae") == said


def test_settings_that_a_contribution_has_no_use_for_are_told(
    capsys: pytest.CaptureFixture[str], digits: Dataset
) -> None:
    save_parquet(digits.subset(range(30)), Path("a.parquet"))
    told = ["--set", "data.max_train=10", "--set", "partition.alpha=1", "--set", "data.validation=0.2"]
    with pytest.raises(SystemExit) as ended:
        main(["contribute", "--data", "a.parquet", "--model", "mlp:4", "--client", "0", "--out", "a", *told, *QUICK])
    said = "mosaic: note: contribute reads all of --data: it has no use for data.max_train, partition.alpha"
    assert (ended.value.code, capsys.readouterr().err.splitlines()[0]) == (0, said)


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("rounds.warm_up=3", "rounds.warm_up = 3: that asks clients again"),
        ("distill.choose=true", "distill.choose = true: that asks clients again"),
    ],
)
def test_files_cannot_be_asked_again(
    capsys: pytest.CaptureFixture[str], digits: Dataset, setting: str, part: str
) -> None:
    save_parquet(digits.subset(range(60)), Path("a.parquet"))
    with pytest.raises(SystemExit):
        main(["contribute", "--data", "a.parquet", "--model", "mlp:4", "--client", "0", "--out", "a.bin", *QUICK])
    capsys.readouterr()
    assert part in fails(capsys, "distill", "a.bin", "--set", setting, "--out", "global")
    assert not Path("global").exists()


def test_by_files_the_method_is_mosaic_whatever_a_file_of_settings_says(
    capsys: pytest.CaptureFixture[str], digits: Dataset
) -> None:
    """DENSE's clients make no generator, on which all that follows here lives."""
    Path("dense.toml").write_text('[run]\nmethod = "dense"\n[generator]\nwidth = 4\n')
    save_parquet(digits.subset(range(100)), Path("a.parquet"))
    with pytest.raises(SystemExit):
        main(
            [
                "contribute",
                "dense.toml",
                "--data",
                "a.parquet",
                "--model",
                "mlp:4",
                "--client",
                "0",
                "--out",
                "a",
                *QUICK,
            ]
        )
    assert "generator cvae" in capsys.readouterr().out
