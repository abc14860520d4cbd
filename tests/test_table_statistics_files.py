"""Files of statistics: the two commands, and hostile or damaged files, which are refused with the reason."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from command import fails, mosaic
from mosaic_fl.data.schema_file import read_schema
from mosaic_fl.data.table.merging import merge
from mosaic_fl.data.table.rows import table_of
from mosaic_fl.data.table.site_statistics import KIND, MAX_BYTES, Statistics
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.container import pack
from mosaic_fl.storage.keys import make_key
from test_table_reading import write

ROWS = [
    f"{30 + i % 40},{50 + i % 60},{'yes' if i % 3 else 'no'},{1 + i % 2},{'no' if i % 2 else 'yes'}" for i in range(80)
]
STATISTICS = ("--label-column", "outcome", "--statistics", "--client")
AGE = {"name": "age", "type": "whole", "points": [20.0, 30.0, 40.0], "counts": [10, 20, 30], "absent": 1}
STAGE = {"name": "stage", "type": "category", "categories": ["I", "II"], "counts": [10, 20]}
SITE: dict[str, Any] = {
    "client": 3, "rows": 100, "label": "y", "classes": [["a", 50], ["b", 40]], "columns": [AGE, STAGE], "least": 5,
    "missing": ["NA"],
}  # fmt: skip


def received(**changed: Any) -> Statistics:
    return Statistics.from_bytes(pack(KIND, {**SITE, **changed}, {}), "x.statistics")


def test_the_commands_of_two_sites(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", *ROWS)
    write(tmp_path / "b.csv", *reversed(ROWS[:60]))
    shown = io.StringIO()
    for client, name in enumerate("ab"):
        printed = mosaic(
            "schema", f"{name}.csv", *STATISTICS, str(client), "--out", f"{name}.statistics", cwd=tmp_path, err=shown
        )
        assert printed.endswith(f"bytes · client {client}\n")
    assert "80 rows; 'outcome': no 40, yes 40" in shown.getvalue()
    assert "'smoker': boolean, 0 missing, no 27, yes 53" in shown.getvalue()
    errors = io.StringIO()
    mosaic("schema", "--merge", "a.statistics", "b.statistics", "--out", "c.toml", cwd=tmp_path, err=errors)
    assert "2 sites, 140 rows: rows of 4 columns, 2 classes" in errors.getvalue()
    assert "Knots are quantiles of all rows within 20 ranks" in errors.getvalue()
    assert (
        mosaic("schema", "--merge", "b.statistics", "a.statistics", cwd=tmp_path) == (tmp_path / "c.toml").read_text()
    )
    schema = read_schema(tmp_path / "c.toml")
    assert [column.type for column in table_of(schema).columns] == ["whole", "whole", "boolean", "whole"]
    for name in "ab":
        assert "can be used with c.toml" in mosaic("schema", f"{name}.csv", "--check", "c.toml", cwd=tmp_path)


def test_the_merge_prints_means_of_sums(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", *ROWS)
    mosaic("schema", "a.csv", *STATISTICS, "0", "--sums", "--out", "a.statistics", cwd=tmp_path)
    errors = io.StringIO()
    mosaic("schema", "--merge", "a.statistics", cwd=tmp_path, err=errors)
    assert "1 site, 80 rows" in errors.getvalue()
    assert "'stage': mean 1.5, 0 missing" in errors.getvalue()


def test_noise_is_told_on_the_screen(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", *ROWS)
    shown = io.StringIO()
    public = (
        "--public",
        "age=0:120",
        "--public",
        "weight=0:300",
        "--public",
        "stage=0:9",
        "--public",
        "outcome=no,yes",
    )
    words = ("schema", "a.csv", *STATISTICS, "0", "--epsilon", "10", *public, "--out", "a.statistics")
    mosaic(*words, cwd=tmp_path, err=shown)
    assert "ε = 10 and δ = 1e-06 in all" in shown.getvalue()
    assert "Not protected by ε: the names of columns" in shown.getvalue()
    assert Statistics.load(tmp_path / "a.statistics").epsilon == 10
    errors = io.StringIO()
    mosaic("schema", "--merge", "a.statistics", cwd=tmp_path, err=errors)
    assert "Counts are noisy, ε = 10 (client 0)" in errors.getvalue()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.csv", "b.csv", "--label-column", "outcome"), "b.csv: one table at a time; --merge makes one schema of"),
        (("a.csv", *STATISTICS, "0"), "statistics are a file of one site: say --client N"),
        (("a.csv", "--label-column", "outcome", "--statistics", "--out", "x"), "say --client N, another at each site"),
        (("a.csv", *STATISTICS, "0", "--out", "a.csv", "--force"), "a.csv is what this command reads"),
        (
            ("a.csv", *STATISTICS, "0", "--out", "x", "--epsilon", "1"),
            "noise needs a public range of age, weight, stage",
        ),
        (("a.csv", *STATISTICS, "0", "--out", "x", "--public", "age"), "--public 'age': write NAME=LOW:HIGH or NAME="),
        (("a.csv", *STATISTICS, "0", "--out", "x", "--public", "age=9:1"), "the public range of 'age' is 9.0:1.0"),
        (
            ("a.csv", "--label-column", "outcome", "--epsilon", "1"),
            "a command without --statistics has no use for --epsilon",
        ),
        (("--merge", "a.csv", "--out", "x.toml"), "a.csv: not a mosaic-fl file"),
        (("--merge", "a.csv", "--label-column", "y"), "--merge has no use for --label-column"),
        (("--merge", "a.csv", "--least-rows", "3"), "--merge has no use for --least-rows"),
        (("--merge", "a.csv", "--out", "x.json"), "a schema of tables is TOML"),
        (("--merge", "lost", "a.csv"), "lost does not exist"),
    ],
)
def test_wrong_options(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        write(tmp_path / f"{name}.csv", *ROWS)
    assert message in fails(capsys, "schema", *words)
    assert not (tmp_path / "x").exists()


def test_a_file_comes_back() -> None:
    told = received()
    assert Statistics.from_bytes(told.to_bytes(), "x") == told
    assert (told.columns[0].points, told.classes) == ((20.0, 30.0, 40.0), {"a": 50, "b": 40})
    assert merge([told]).schema.classes == ("a", "b")


NAN = float("nan")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": 10**13}, "10000000000000 for a number of rows: 0..1,000,000,000,000 can be"),
        ({"rows": -1}, "-1 for a number of rows"),
        ({"rows": 1.5}, "1.5 for a number of rows"),
        ({"rows": True}, "True for a number of rows"),
        ({"rows": 20}, "column 'age' counts 61 rows of 20"),
        ({"columns": [AGE | {"counts": [10, -20, 30]}]}, "'age' has -20 for a number of rows"),
        ({"columns": [AGE | {"counts": [10, 20, 3]}]}, "has the count 3, and 5 rows stand behind each value"),
        ({"columns": [AGE | {"counts": [10, 20]}]}, "has 3 points and 2 counts"),
        ({"columns": [AGE | {"counts": 5}]}, "its counts are no list"),
        ({"columns": [AGE | {"points": [20.0, NAN, 40.0]}]}, "has nan for a number"),
        ({"columns": [AGE | {"points": [20.0, float("inf"), 40.0]}]}, "has inf for a number"),
        ({"columns": [AGE | {"points": [20.0, 1e31, 40.0]}]}, "has 1e.31 for a number: −1e30..1e30 can be used"),
        ({"columns": [AGE | {"points": [20.0, "30", 40.0]}]}, "has '30' for a number"),
        ({"columns": [AGE | {"points": [20.0, 40.0, 30.0]}]}, "points or a range that do not increase"),
        ({"columns": [AGE | {"points": [float(i) for i in range(900)], "counts": [5] * 900}]}, "has 900 points"),
        ({"columns": [AGE | {"range": [9.0, 1.0]}]}, "points or a range that do not increase"),
        ({"columns": [AGE | {"total": NAN}]}, "has nan for a sum"),
        ({"columns": [AGE | {"total": 3}]}, "has 3 for a sum"),
        ({"columns": [STAGE | {"total": 3.0}]}, "is category, and has numbers"),
        ({"columns": [AGE | {"range": [9.0]}]}, "its range has no two ends"),
        ({"columns": [AGE | {"range": None}]}, "its range"),
        ({"columns": [AGE | {"type": "integer"}]}, "has the type 'integer'"),
        ({"columns": [AGE | {"type": ["whole"]}]}, "has the type"),
        ({"columns": [AGE | {"name": "a\u202eb"}]}, "column name 'a.*b': names are text of at most 200"),
        ({"columns": [AGE | {"name": "\x1b[2J"}]}, "names are text of at most 200"),
        ({"columns": [AGE | {"name": 3}]}, "names are text of at most 200"),
        ({"columns": [AGE | {"note": "x"}]}, "which statistics do not have"),
        ({"columns": [AGE | {"constant": 1}]}, "its constant is neither true nor false"),
        ({"columns": [AGE, AGE]}, "have one name twice"),
        ({"columns": [AGE | {"name": "y"}]}, "have one name twice"),
        ({"columns": [STAGE | {"name": f"c{i}"} for i in range(2001)]}, "no list of classes and columns"),
        ({"columns": [3]}, "which statistics do not have"),
        ({"columns": [STAGE | {"categories": ["I", "I"]}]}, "names a category, a class or a word twice"),
        ({"columns": [STAGE | {"categories": ["I", "\u2067x"]}]}, "no plain text"),
        ({"columns": [STAGE | {"categories": ["I", "x" * 201]}]}, "no plain text"),
        ({"columns": [STAGE | {"points": [1.0, 2.0]}]}, "is category, and has numbers"),
        ({"columns": [AGE | {"public": ["a"]}]}, "is whole, and has categories"),
        ({"columns": [{"type": "whole"}]}, "something lacks"),
        ({"classes": [["a", 50], ["a", 40]]}, "it names a class twice"),
        ({"classes": [["a", "50"]]}, "where a class and its rows belong"),
        ({"classes": [["a\nb", 50]]}, "no plain text"),
        ({"classes": {"a": 50}}, "no list of classes"),
        ({"client": 10_000}, "client 10000"),
        ({"client": "0"}, "client '0'"),
        ({"missing": "NA"}, "its missing are no list"),
        ({"missing": [""]}, "no plain text"),
        ({"missing": ["w"] * 101}, "has 101 names"),
        ({"decimal": ";"}, "the decimal sign is ';'"),
        ({"epsilon": -1.0}, "ε or δ is -1.0"),
        ({"epsilon": "1"}, "ε or δ is '1'"),
        ({"label": ""}, "have one name twice"),
        ({"x": 1}, "which statistics do not have"),
    ],
)
def test_a_hostile_file_is_refused_with_the_reason(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"x.statistics: .*{message}"):
        received(**changed)


def test_a_damaged_or_large_file_is_refused(tmp_path: Path) -> None:
    content = received().to_bytes()
    with pytest.raises(UsageError, match="truncated"):
        Statistics.from_bytes(content[:-9], "x")
    with pytest.raises(UsageError, match="SHA-256 does not match"):
        Statistics.from_bytes(content.replace(b"50", b"51", 1), "x")
    with pytest.raises(UsageError, match="not a mosaic-fl file"):
        Statistics.from_bytes(b"\x80\x04]", "x")
    with open(tmp_path / "x", "wb") as file:
        file.truncate(2**34)
    with pytest.raises(UsageError, match=f"17,179,869,184 bytes; at most {MAX_BYTES:,} are read"):
        Statistics.load(tmp_path / "x")


def test_the_largest_file_is_read_and_merged_at_once() -> None:
    """Names of 1,000 columns that are alike are not compared one by one."""
    columns = [{"name": f"column {i}", "type": "boolean"} for i in range(1000)]
    others = [{"name": f"colum {i}", "type": "boolean"} for i in range(1000)]
    made = merge([received(columns=columns, client=0), received(columns=others, client=1)])
    assert len(table_of(made.schema).columns) == 2000


def test_signed_statistics_count_by_their_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("signers").mkdir()
    for client in range(2):
        Path(f"signers/{client}.pub").write_text(make_key(Path(f"{client}.key")).line + "\n")
    server = make_key(Path("server.key")).line
    write(Path("a.csv"), *ROWS)
    own = ("schema", "a.csv", *STATISTICS)
    by = ("--run-id", "r", "--sign")
    mosaic(*own, "0", "--out", "0.statistics", *by, "0.key", "--encrypt-for", server, cwd=tmp_path)
    mosaic(*own, "1", "--out", "1.statistics", *by, "1.key", "--log", "site.jsonl", cwd=tmp_path)
    mosaic(*own, "1", "--out", "plain.statistics", cwd=tmp_path)
    mosaic(*own, "1", "--out", "other.statistics", *by, "0.key", cwd=tmp_path)
    (sent,) = [line for line in map(json.loads, Path("site.jsonl").read_text().splitlines()) if "content" in line]
    assert (
        sent["content"] == hashlib.sha256(Path("1.statistics").read_bytes()).hexdigest()
    )  # what leaves, with its signature
    known = ("--signers", "signers", "--run-id", "r", "--key", "server.key")
    merge_all = ("schema", "--merge", "0.statistics", "1.statistics")
    signed = mosaic(*merge_all, *known, cwd=tmp_path)
    unchecked = io.StringIO()
    assert mosaic(*merge_all, "--key", "server.key", cwd=tmp_path, err=unchecked) == signed
    assert "2 of 2 files are signed, which nobody checks here" in unchecked.getvalue()
    for file, why in {
        "plain": "plain.statistics is not signed: its client makes it with mosaic schema --statistics --sign",
        "other": "other.statistics is signed by the key",
    }.items():
        assert why in fails(capsys, "schema", "--merge", "0.statistics", f"{file}.statistics", *known)
    assert "for the run 'r', and this is 's'" in fails(
        capsys, "schema", "--merge", "1.statistics", "--signers", "signers", "--run-id", "s"
    )
    assert "is encrypted" in fails(capsys, *merge_all)
    assert "--run-id is for --sign FILE" in fails(capsys, *own, "1", "--out", "x", "--run-id", "r")
    assert "--sign" in fails(capsys, *merge_all, *by, "0.key")
    assert "--signers" in fails(capsys, *own, "1", "--out", "x", "--signers", "signers", "--run-id", "r")
    assert not Path("x").exists()
