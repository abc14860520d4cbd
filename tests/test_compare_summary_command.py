"""`mosaic summary` from folders to its tables and files: what is read, what is the same data, what is refused."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mosaic_fl
from command import ENVIRONMENT, fails, mosaic
from grids import TINY

METHODS = {"mosaic": "method", "fedavg": "method", "centralised": "reference"}


def comparison(
    folder: Path,
    accuracies: dict[str, list[float | None]],
    data: str = "digits",
    inputs: str = "",
    settings: str = "",
    **axes: object,
) -> Path:
    """The folder of a comparison with one point: for each method its accuracies by seed; None: it could not run."""
    seeds = range(len(next(iter(accuracies.values()))))
    axes = {"clients": 5, "alpha": 0.1, "architectures": "equal", **axes}
    rows = [
        {**axes, "split": "niid_bench", "table_rounds": 1, "method": method, "kind": METHODS[method], "rounds": 1}
        for method in accuracies
    ]
    cells = [
        {**axes, "seed": seed, "method": method, "rounds": 1, "status": "cannot" if value is None else "done",
         "reason": "needs equal architectures" if value is None else "", "accuracy": value}
        for method, values in accuracies.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    options = {"seeds": ",".join(map(str, seeds)), "methods": ",".join(accuracies)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.json").write_text(json.dumps({"tables": rows, "cells": cells}))
    marker = {"mosaic_fl": mosaic_fl.__version__, "command": "compare", "inputs": inputs or data, "options": options}
    (folder / "inputs.json").write_text(json.dumps(marker))
    (folder / "config.toml").write_text(f'[data]\nname = "{data}"\n{settings}')
    return folder


def content(*folders: Path | str, cwd: Path) -> dict[str, Any]:
    """`--json` of these folders."""
    shown: dict[str, Any] = json.loads(mosaic("summary", *folders, "--json", cwd=cwd))
    return shown


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny comparisons of other clients (a, b), and the first one again with other settings (c)."""
    place = tmp_path_factory.mktemp("summary")
    words = ["compare", "--methods", "fedavg,mean_logits,centralised", "--alpha", "1", "--models", "cnn:4,mlp:8",
             "--student", "cnn:8", *TINY, "--seeds", "0", "--workers", "1"]  # fmt: skip
    mosaic(*words, "--clients", "2", "--out", "a", cwd=place)
    mosaic(*words, "--clients", "3", "--out", "b", cwd=place)
    mosaic(*words, "--clients", "2", "--set", "train.lr=0.01", "--out", "c", cwd=place)
    return place


def accuracy(folder: Path, method: str, architectures: str = "equal") -> float:
    """The figure in the comparison's own table, in percent."""
    rows = json.loads((folder / "table.json").read_text())["tables"]
    figure: float = next(r["accuracy"] for r in rows if (r["method"], r["architectures"]) == (method, architectures))
    return figure


def test_two_real_comparisons(grids: Path, tmp_path: Path) -> None:
    shown = mosaic("summary", "a", "b", "--out", tmp_path / "sum", cwd=grids)
    assert "1 data set, 4 cells" in shown
    assert "digits: max_train 200, max_test 60" in shown
    assert "fedavg: no result in 2 of 4 cells, ranked last there: needs equal architectures" in shown.replace("\n", " ")
    found = json.loads((tmp_path / "sum" / "summary.json").read_text())
    assert found == content("a", "b", cwd=grids)
    fedavg = found["rows"][0]
    assert (fedavg["method"], fedavg["cells"], fedavg["rank"]["mean"]) == ("fedavg", 2, 1)
    gaps = [accuracy(grids / name, "fedavg") - accuracy(grids / name, "centralised") for name in "ab"]
    assert fedavg["gap"]["mean"] == pytest.approx(sum(gaps) / 2)
    assert fedavg["worst"]["gap"] == pytest.approx(min(gaps))
    text = (tmp_path / "sum" / "summary.md").read_text()
    assert "| mean_logits | 4 | – | – | – |" in text
    assert "| fedavg | 2 of 4 | 1.00 |" in text


def test_two_real_variants(grids: Path) -> None:
    found = content("old=a", "new=c", cwd=grids)
    assert {(row["method"], row["variant"]) for row in found["rows"][:2]} == {("fedavg", "old"), ("fedavg", "new")}
    fedavg = next(difference for difference in found["differences"] if difference["method"] == "fedavg")
    expected = accuracy(grids / "c", "fedavg") - accuracy(grids / "a", "fedavg")
    assert (fedavg["variant"], fedavg["against"]["variant"]) == ("new", "old")
    assert fedavg["points"]["mean"] == pytest.approx(expected, abs=1e-6)
    assert fedavg["points"]["count"] == 1


def test_the_same_cells_twice_are_refused(grids: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fails(capsys, "summary", grids / "a", grids / "c")
    assert line.startswith(f"{grids / 'a'} and {grids / 'c'} both have the cell digits · 2 clients · α = 1 · equal")
    assert "NAME=FOLDER" in line


def test_what_is_the_same_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the hash of the data, and by their name where hashes of other seeds cannot say."""
    two = {"mosaic": [0.8, 0.9], "centralised": [0.9, 0.9]}
    one = {"mosaic": [0.8], "centralised": [0.9]}
    first = comparison(tmp_path / "first", two, "data/pets", "1" * 64)
    moved = comparison(tmp_path / "moved", one, "elsewhere/pets", "1" * 64)
    assert "both have the cell pets" in fails(capsys, "summary", first, moved)
    seeds = comparison(tmp_path / "seeds", one, "data/pets", "2" * 64)
    assert "both have the cell pets" in fails(capsys, "summary", first, seeds)
    changed = comparison(tmp_path / "changed", two, "data/pets", "3" * 64)
    assert content(first, changed, cwd=tmp_path)["sets"] == {"pets": 1, "pets 33333333": 1}
    fewer = comparison(tmp_path / "fewer", two, "data/pets", "4" * 64, "max_train = 9")
    found = content(first, fewer, cwd=tmp_path)
    assert found["sets"] == {"pets": 2}  # one set in two sizes: two cells, but no second set for an interval
    assert found["rows"][0]["worst"]["cell"] == "pets · 5 clients · α = 0.1 · equal · 1 round"
    twin = comparison(tmp_path / "twin", two, "other/pets", "5" * 64)
    assert content(first, twin, cwd=tmp_path)["sets"] == {"data/pets": 1, "other/pets": 1}
    noisy = comparison(tmp_path / "noisy", two, "data/pets", "1" * 64, "[partition]\nmin_samples = 3")
    assert content(first, noisy, cwd=tmp_path)["sets"] == {"pets": 2}


def test_variants_count_where_all_of_them_have_the_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"mosaic": [0.8], "fedavg": [0.7], "centralised": [0.9]}
    old = comparison(tmp_path / "old", figures)
    more = comparison(tmp_path / "more", figures, "pets")
    new = comparison(tmp_path / "new", {"mosaic": [0.85], "centralised": [0.9]})
    found = content(f"old={old}", f"old={more}", f"new={new}", cwd=tmp_path)
    assert found["sets"] == {"digits": 1}
    assert "1 of 2 cells of old are not in every variant, and left out" in found["notes"]
    assert [(row["method"], row["variant"], row["rank"]["mean"]) for row in found["rows"][:3]] == [
        ("mosaic", "new", 1), ("mosaic", "old", 2), ("fedavg", "old", 3),
    ]  # fmt: skip
    assert "old and the folders without a name have no cell in common" in fails(capsys, "summary", f"old={old}", more)


def test_a_folder_whose_name_has_an_equals_sign(tmp_path: Path) -> None:
    comparison(tmp_path / "a=b", {"mosaic": [0.8], "centralised": [0.9]})
    assert content("a=b", cwd=tmp_path)["rows"][0]["variant"] == ""
    assert content("x=a=b", cwd=tmp_path)["rows"][0]["variant"] == "x"
    assert content("./a=b", cwd=tmp_path)["rows"][0]["variant"] == ""


def test_a_comparison_that_is_not_finished(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "grid", {"mosaic": [0.8, 0.8], "fedavg": [0.7, 0.7], "centralised": [0.9, 0.9]})
    table = json.loads((folder / "table.json").read_text())
    table["cells"] = [cell for cell in table["cells"] if cell["method"] != "fedavg" and cell["seed"] == 0]
    (folder / "table.json").write_text(json.dumps(table))
    notes = content(folder, cwd=tmp_path)["notes"]
    assert f"{folder}: 4 of 6 runs are still to come" in notes
    assert "fedavg: no result in 1 of 1 cells, ranked last there: not run yet" in notes
    assert "mosaic, centralised: results of some seeds alone in 1 of 1 cells" in notes


def test_a_split_without_alpha(tmp_path: Path) -> None:
    folder = comparison(
        tmp_path / "grid", {"mosaic": [0.8], "centralised": [0.9]}, settings='[partition]\nsplit = "iid"'
    )
    table = json.loads((folder / "table.json").read_text())
    table["tables"] = [{**row, "alpha": None, "split": "iid"} for row in table["tables"]]
    (folder / "table.json").write_text(json.dumps(table))
    assert content(folder, cwd=tmp_path)["rows"][0]["worst"]["cell"] == "digits · 5 clients · iid · equal · 1 round"


Harm = Callable[[Path], object]
COMPARED = "name what --out of mosaic compare was"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "inputs.json").unlink(), f"{{}} is not the folder of a comparison: {COMPARED}"),
        (lambda folder: (folder / "inputs.json").write_text("{"), f"{{}}/inputs.json is damaged: {COMPARED}"),
        (lambda folder: (folder / "inputs.json").write_text('{"mosaic_fl": "1", "command": "run"}'),
         f"{{}} is the folder of mosaic run: {COMPARED}"),
        (lambda folder: (folder / "table.json").unlink(),
         "{}: no cell has a result yet; mosaic compare with --resume goes on with it"),
        (lambda folder: (folder / "table.json").write_text('{"tables": [], "cells": []}'),
         "{}: no cell has a result yet; mosaic compare with --resume goes on with it"),
        (lambda folder: (folder / "table.json").write_text("[" * 100_000),
         "{}/table.json is damaged: the same command with --resume writes it again"),
        (lambda folder: (folder / "table.json").write_bytes(b"\xff"),
         "{}/table.json is damaged: the same command with --resume writes it again"),
        (lambda folder: change(folder, accuracy=float("nan")),
         "{}/table.json is damaged at cells.0.accuracy: the same command with --resume writes it again"),
        (lambda folder: change(folder, accuracy=7.5),
         "{}/table.json is damaged at cells.0.accuracy: the same command with --resume writes it again"),
        (lambda folder: change(folder, clients="5"),
         "{}/table.json is damaged at cells.0.clients: the same command with --resume writes it again"),
        (lambda folder: change(folder, method="fedavg"),
         "{}/table.json is damaged: it has a cell of 'fedavg' twice"),
        (lambda folder: (folder / "config.toml").unlink(),
         "{}/config.toml is missing: it says which data were compared"),
        (lambda folder: (folder / "config.toml").write_text("[data]\nname = 3"),
         "{}/config.toml: data.name is 3, which is no name"),
        (lambda folder: oversized(folder / "table.json"),
         "{}/table.json: 67,108,865 bytes; at most 67,108,864 are read"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_summed_up(
    harm: Harm, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = comparison(tmp_path / "grid", {"mosaic": [0.8], "fedavg": [0.7], "centralised": [0.9]})
    harm(folder)
    assert fails(capsys, "summary", folder) == words.format(folder)


def change(folder: Path, **values: object) -> None:
    """Other values in the first cell of the table."""
    table = json.loads((folder / "table.json").read_text())
    table["cells"][0] |= values
    (folder / "table.json").write_text(json.dumps(table))


def oversized(path: Path) -> None:
    """One byte more than is read, without writing them."""
    with path.open("r+b") as file:
        file.truncate(64 * 2**20 + 1)


def test_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "summary", tmp_path / "absent") == f"{tmp_path / 'absent'} is no folder: {COMPARED}"
    for text in ("=a", "x=", f"{'x' * 31}=a", "x\ny=a", " =a"):
        assert "write NAME=FOLDER" in fails(capsys, "summary", text)
    assert "no data-free method is in every comparison: digits has mosaic; pets has fedavg" in fails(
        capsys,
        "summary",
        comparison(tmp_path / "a", {"mosaic": [0.8], "centralised": [0.9]}),
        comparison(tmp_path / "b", {"fedavg": [0.8], "centralised": [0.9]}, "pets"),
    )


def test_out_names_a_folder_or_a_file_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = comparison(tmp_path / "grid", {"mosaic": [0.8], "centralised": [0.9]})
    shown = mosaic("summary", folder, "--out", "one.md", cwd=tmp_path)
    assert shown.endswith("Results: one.md\n")
    assert "| mosaic | 1 | 1.00 | – | 1 | −10.0 | – | −10.0 |" in Path("one.md").read_text()
    assert "one.md exists: add --force" in fails(capsys, "summary", folder, "--out", "one.md")
    mosaic("summary", folder, "--out", "one.md", "--force", cwd=tmp_path)
    mosaic("summary", folder, "--out", folder, cwd=tmp_path)  # beside the comparison's own tables
    assert {path.name for path in folder.iterdir()} >= {"summary.md", "summary.json", "table.json"}
    table = folder / "table.json"
    before = table.read_bytes()
    assert "is what this command reads" in fails(capsys, "summary", folder, "--out", table, "--force")
    assert table.read_bytes() == before
    Path("text").touch()
    assert "text is a file: --out names a folder, or a file" in fails(capsys, "summary", folder, "--out", "text")
    assert not mosaic("summary", folder, "--json", "--out", "new", cwd=tmp_path, err=io.StringIO()).endswith("new\n")


def test_it_waits_for_no_torch(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "grid", {"mosaic": [0.8], "centralised": [0.9]})
    code = (
        "import sys; from mosaic_fl.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as ended: sys.exit(ended.code or 3 * ('torch' in sys.modules))"
    )
    words = [sys.executable, "-c", code, "summary", str(folder), "--out", str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
