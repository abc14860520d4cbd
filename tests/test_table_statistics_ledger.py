"""Statistics of a table are a release, too: in the site's log, against its limits and its budget."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.errors import RefusalError, UsageError
from mosaic_fl.storage.chain import read_chain
from test_table_reading import write
from test_table_statistics_files import ROWS, STATISTICS
from vector_cases import clouds

PUBLIC = [word for name in ("age=0:120", "weight=0:200", "stage=1:2", "outcome=no,yes") for word in ("--public", name)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write(tmp_path / "a.csv", *ROWS)
    (tmp_path / "own.toml").write_text("[limits]\nepsilon = 2.5\nrounds = 3\n")
    return tmp_path


def words(place: Path, out: str, *more: str) -> list[str]:
    return ["schema", str(place / "a.csv"), *STATISTICS, "0", "--out", str(place / out), *more]


def test_noisy_statistics_are_in_the_log_beside_the_table_and_epsilons_add_up(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = ["--epsilon", "1", *PUBLIC, "--limits", str(place / "own.toml")]
    mosaic(*words(place, "a.statistics", *noisy), cwd=place)
    (sent,) = read_chain(place / "a.csv.site-log.jsonl").entries
    assert (sent.values["kind"], sent.values["epsilon"], sent.values["delta"]) == ("statistics", 1.0, 1e-6)
    mosaic(*words(place, "b.statistics", *noisy), cwd=place)
    line = fails(capsys, *words(place, "c.statistics", *noisy))
    assert "own.toml: limits.epsilon = 2.5: 2 is spent in 2 releases, and with this one of ε = 1 it would be 3" in line
    assert not (place / "c.statistics").exists()
    shown = mosaic("audit-log", "show", str(place / "a.csv.site-log.jsonl"), cwd=place)
    assert "sent statistics to" in shown
    assert "ε = 2, δ = 2e-06 in 2 releases" in shown


def test_the_same_table_s_contribution_counts_against_the_same_budget(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = ["--epsilon", "1", *PUBLIC, "--limits", str(place / "own.toml")]
    mosaic(*words(place, "a.statistics", *noisy), cwd=place)
    mosaic("schema", str(place / "a.csv"), "--label-column", "outcome", "--out", str(place / "s.toml"), cwd=place)
    made = ["contribute", "--data", str(place / "a.csv"), "--schema", str(place / "s.toml"), "--model", "discriminant"]
    made += [
        "--client",
        "0",
        "--encoder",
        "encoding",
        "--epsilon",
        "2",
        "--set",
        "privacy.clip=6",
        "--limits",
        str(place / "own.toml"),
    ]
    line = fails(capsys, *made, "--out", str(place / "a.contribution"))
    assert "1 is spent in 1 release, and with this one of ε = 2 it would be 3" in line


def test_limits_refuse_statistics_before_anything_is_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for table, more, refusal in (
        ("epsilon = 2.5", (), "these statistics have no noise: give --epsilon"),
        ("least_samples = 81", (), "fewer samples than its limits.least_samples = 81"),
        ("min_cluster = 8", ("--least-rows", "5"), "--least-rows 5 is below limits.min_cluster = 8"),
        ('gate = "refuse"', (), "no audit sees what statistics tell"),
        ("rounds = 0", (), "limits.rounds = 0, and so many have left"),
    ):
        (place / "own.toml").write_text(f"[limits]\n{table}\n")
        assert refusal in fails(capsys, *words(place, "x.statistics", *more, "--limits", str(place / "own.toml")))
    assert not (place / "x.statistics").exists()


def test_without_noise_and_limits_there_is_a_log_where_one_is_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mosaic(*words(place, "a.statistics"), cwd=place)
    assert not (place / "a.csv.site-log.jsonl").exists()
    mosaic(*words(place, "b.statistics", "--log", str(place / "log.jsonl")), cwd=place)
    assert "epsilon" not in read_chain(place / "log.jsonl").entries[0].values
    drafting = ["schema", str(place / "a.csv"), "--label-column", "outcome", "--log", str(place / "log.jsonl")]
    assert "a command without --statistics has no use for --log" in fails(capsys, *drafting)


def test_statistics_and_contributions_of_python_share_one_budget(place: Path) -> None:
    """ε of 1, then another 1 of other rows, as the log stands for the place; the third would be 3, above 2.5."""
    rows = {"age": [31.0, 54.0] * 40, "stage": [1, 2] * 40}
    labels = ["no", "yes"] * 40
    own = {"limits": place / "own.toml", "log": place / "log.jsonl"}
    noisy: dict[str, Any] = {"client": 0, "epsilon": 1, "public": {"age": (0, 120), "stage": (1, 2)}}
    told = mosaic_fl.statistics(rows, labels, **noisy, **own)
    (sent,) = read_chain(place / "log.jsonl").entries
    assert (sent.values["kind"], sent.values["epsilon"]) == ("statistics", 1.0)
    assert sent.values["content"] == hashlib.sha256(told.to_bytes()).hexdigest()
    settings = {"privacy.epsilon": 1.0, "privacy.clip": 6.0}
    mosaic_fl.contribute(clouds(), model="discriminant", client=0, settings=settings, **own)
    with pytest.raises(RefusalError, match=r"limits\.epsilon = 2\.5"):
        mosaic_fl.statistics({**rows, "age": [32.0, 54.0] * 40}, labels, **noisy, **own)
    with pytest.raises(RefusalError, match=r"these statistics have no noise: give --epsilon"):
        mosaic_fl.statistics(rows, labels, client=0, **own)
    assert [entry.values["event"] for entry in read_chain(place / "log.jsonl").entries] == ["sent", "read", "sent"]
    with pytest.raises(UsageError, match="give log= as well"):
        mosaic_fl.statistics(rows, labels, client=0, limits=place / "own.toml")


def test_without_limits_nothing_is_refused_and_the_log_is_written(place: Path) -> None:
    mosaic_fl.statistics({"age": [31.0, 54.0] * 40}, ["no", "yes"] * 40, client=0, log=str(place / "log.jsonl"))
    (sent,) = read_chain(place / "log.jsonl").entries
    assert "epsilon" not in sent.values
