"""`mosaic evaluate` at two sites with files, and `mosaic collect` at the server, on real rows."""

import hashlib
import io
import json
from pathlib import Path

import pytest

from command import QUICK, fails, mosaic
from mosaic_fl.storage.folder_lock import vacate
from mosaic_fl.storage.keys import make_key

LIMITS = "[limits]\nfigures = true\njudged = 1\nmin_cluster = 4\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites' rows, their contributions and the run `global` at the server."""
    from sklearn.datasets import load_breast_cancer

    folder = tmp_path_factory.mktemp("sites")
    frame = load_breast_cancer(as_frame=True).frame.iloc[:, [0, 1, 2, 3, 4, -1]].sample(frac=1, random_state=0)
    for name, part in (("a", frame[:200]), ("b", frame[200:400]), ("new", frame[400:])):
        part.to_csv(folder / f"{name}.csv", index=False)
    mosaic("schema", "a.csv", "--label-column", "target", "--out", "s.toml", cwd=folder)
    for client, name in enumerate("ab"):
        words = ["contribute", "--data", f"{name}.csv", "--schema", "s.toml", "--model", "mlp:8"]
        mosaic(*words, "--client", client, "--out", f"{name}.contribution", *QUICK, cwd=folder)
    mosaic("distill", "a.contribution", "b.contribution", "--out", "global", *QUICK[4:], cwd=folder)
    vacate()
    return folder


@pytest.fixture(autouse=True)
def _in_their_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for path in place.glob("*.scores"):
        path.unlink()
    vacate()


def scores(place: Path, *words: str) -> dict[str, object]:
    content: dict[str, object] = json.loads(mosaic("evaluate", *words, "--json", cwd=place))
    return content


def test_a_site_sees_what_it_gains_and_the_server_gets_figures_alone(place: Path) -> None:
    text = mosaic(
        "evaluate", "global", "a.contribution", "--data", "a.csv", "--held-back", "--out", "a.scores", cwd=place
    )
    assert "19 samples held back" in text
    assert "global model" in text
    assert "its own model" in text
    assert "points of accuracy" in text
    told = scores(place, "global", "b.contribution", "--data", "b.csv", "--held-back", "--out", "b.scores")["scores"]
    assert isinstance(told, dict)
    digest = hashlib.sha256((place / "global" / "global_model.safetensors").read_bytes()).hexdigest()
    assert [(model["model"], model["digest"] == digest) for model in told["models"]] == [
        ("global", True),
        ("own", False),
    ]
    table = mosaic("collect", "a.scores", "b.scores", "--run", "global", cwd=place)
    assert "client 0" in table
    assert "client 1" in table
    entry = json.loads((place / "global" / "result.json").read_text())["cross_site"]
    assert entry["classes"] == ["0", "1"]
    assert [(site["client"], site["samples"]) for site in entry["sites"]] == [(0, 19), (1, 19)]
    assert entry["sites"][1]["models"] == told["models"]


def test_other_data_are_scored_whole_and_need_no_number(place: Path) -> None:
    told = scores(place, "global", "--data", "new.csv", "--least", "100")
    found = told["scores"]
    assert isinstance(found, dict)
    assert found["samples"] == 169
    assert [group["samples"] for group in found["models"][0]["recall"]] == [169]  # 104 of one class, 65 of the other
    assert told["gain"] is None


def test_a_model_on_its_own_training_samples_is_told(place: Path) -> None:
    err = io.StringIO()
    mosaic("evaluate", "a.contribution", "--data", "a.csv", cwd=place, err=err)
    assert "--held-back takes those alone that it held back" in err.getvalue()
    err = io.StringIO()
    mosaic("evaluate", "a.contribution", "--data", "new.csv", cwd=place, err=err)
    assert "held-back" not in err.getvalue()


def test_limits_of_the_site_decide_and_its_log_has_what_left(place: Path) -> None:
    Path("limits.toml").write_text(LIMITS)
    words = ["evaluate", "global", "--client", "0", "--data", "new.csv", "--out", "x.scores", "--limits", "limits.toml"]
    mosaic(*words, cwd=place)
    read, line = [
        json.loads(line)
        for line in mosaic("audit-log", "show", "new.csv.site-log.jsonl", "--json", cwd=place).splitlines()
    ]
    assert (read["event"], read["samples"]) == ("read", 169)
    assert (line["kind"], line["fields"]) == ("judgement", ["scores"])
    assert line["content"] == hashlib.sha256(Path("x.scores").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("limits", "more", "words"),
    [
        ("figures = false", (), "limits.figures = false"),
        ("figures = true\njudged = 0", (), "limits.judged = 0"),
        ("figures = true", ("--least", "4"), "--least 4 is below limits.min_cluster = 5"),
        ("figures = true\nepsilon = 1.0", (), "limits.epsilon = 1 is a budget"),
        ("figures = true\nleast_samples = 500", (), "limits.least_samples = 500"),
    ],
)
def test_limits_refuse(
    place: Path, capsys: pytest.CaptureFixture[str], limits: str, more: tuple[str, ...], words: str
) -> None:
    Path("other.toml").write_text(f"[limits]\n{limits}\n")
    line = ["evaluate", "global", "--client", "0", "--data", "b.csv", "--out", "y.scores", "--limits", "other.toml"]
    assert words in fails(capsys, *line, *more)
    assert not Path("y.scores").exists()


def test_signed_scores_count_by_their_key(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("signers").mkdir()
    Path("signers/0.pub").write_text(make_key(place / "0.key").line + "\n")
    words = ["evaluate", "global", "--client", "0", "--data", "new.csv", "--force"]
    mosaic(*words, "--out", "signed.scores", "--sign", "0.key", "--run-id", "r", cwd=place)
    mosaic(*words, "--out", "plain.scores", cwd=place)
    assert "client 0" in mosaic("collect", "signed.scores", "--signers", "signers", "--run-id", "r", cwd=place)
    why = fails(capsys, "collect", "plain.scores", "--signers", "signers", "--run-id", "r")
    assert "plain.scores is not signed: its client makes it with mosaic evaluate --sign" in why


def test_wrong_uses_end_in_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = ["--data", "new.csv"]
    assert "Give --client N" in fails(capsys, "evaluate", "global", *new, "--out", "z.scores")
    assert "the contribution is of client 0" in fails(capsys, "evaluate", "a.contribution", *new, "--client", "3")
    assert "two contributions" in fails(capsys, "evaluate", "a.contribution", "b.contribution", *new)
    assert "give it once" in fails(capsys, "evaluate", "global", "global", *new)
    assert "made of other data" in fails(capsys, "evaluate", "a.contribution", "--data", "b.csv", "--held-back")
    assert "--sign is for the file of --out" in fails(
        capsys, "evaluate", "global", *new, "--sign", "k", "--run-id", "r"
    )
    mosaic("evaluate", "a.contribution", *new, "--out", "own.scores", cwd=place)
    assert "are of another model" in fails(capsys, "collect", "own.scores", "--run", "global")
    mosaic("evaluate", "global", "--client", "0", *new, "--out", "x.scores", cwd=place)
    assert "both of client 0" in fails(capsys, "collect", "x.scores", "own.scores")
    assert "a.contribution" in fails(capsys, "collect", "a.contribution")
    assert "is a folder without" in fails(capsys, "collect", "x.scores", "--run", "signers")
