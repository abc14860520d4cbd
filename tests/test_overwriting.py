"""What is not ours, or is being read, is never overwritten or deleted, not even with --force."""

from pathlib import Path

import pytest

from command import fails
from mosaic_fl.cli.main import main
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_an_export_deletes_nothing_that_is_not_its_own(capsys: pytest.CaptureFixture[str], digits: Dataset) -> None:
    def export(*words: str, clients: int = 3) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["data", "--clients", str(clients), "--alpha", "5", *words, "--out", "picture.png", "--force"])
        assert ended.value.code == 0, capsys.readouterr().err

    export("--export", "sites")
    Path("sites/client-list-2024.parquet").write_bytes(b"of a hospital")
    export("--export", "sites", clients=2)
    assert sorted(path.name for path in Path("sites").iterdir()) == [
        *("client-000.parquet", "client-001.parquet", "client-list-2024.parquet", "mosaic-split.json", "test.parquet"),
    ]
    theirs = Path("theirs/client-007.parquet")
    theirs.parent.mkdir()
    save_parquet(digits.subset(range(50)), theirs)
    before = theirs.read_bytes()
    assert "is of no earlier split here" in fails(capsys, "data", "--export", "theirs", "--force", "--out", "p.png")
    own = fails(capsys, "data", "--data", str(theirs), "--export", "theirs", "--force", "--out", "p.png")
    assert "holds theirs/client-007.parquet, which is to be split" in own
    assert theirs.read_bytes() == before
    assert "is a file: --export names a folder" in fails(capsys, "data", "--export", str(theirs), "--out", "p.png")
    theirs.unlink()
    Path("theirs/mosaic-split.json").write_text('{"ids": [1, 2, 3]}')
    assert "is of no earlier split here" in fails(capsys, "data", "--export", "theirs", "--force", "--out", "p.png")


def test_an_export_to_where_one_stands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", "--clients", "2", "--alpha", "5", "--export", ".", "--out", "../picture.png", "--force"])
    assert ended.value.code == 0
    assert Path("client-001.parquet").exists()
    Path("sites").mkdir()
    Path("client-001.parquet").rename("sites/client-001.parquet")
    with pytest.raises(SystemExit) as ended:  # a folder below is not written to
        main(
            ["data", "--data", "sites", "--clients", "2", "--alpha", "5", "--export", ".", "--out", "p.png", "--force"]
        )
    assert ended.value.code == 0


def test_what_a_command_reads_is_not_overwritten_even_with_force(
    capsys: pytest.CaptureFixture[str], digits: Dataset
) -> None:
    private = Path("ward/private.parquet")
    private.parent.mkdir()
    save_parquet(digits.subset(range(50)), private)
    before = private.read_bytes()
    words = ["contribute", "--model", "mlp:4", "--client", "0", "--out", str(private), "--force"]
    for data in ("ward/private.parquet", "ward"):
        assert "is what this command reads" in fails(capsys, *words, "--data", data)
    assert private.read_bytes() == before
    look = ["data", "--data", str(private), "--clients", "2", "--split", "iid", "--out", str(private), "--force"]
    assert "is what this command reads" in fails(capsys, *look)
    assert private.read_bytes() == before
    missing = [*words[:-3], "--data", "nowhere.parquet", "--out", str(private)]
    assert "nowhere.parquet" in fails(capsys, *missing, "--force")
    assert "add --force" in fails(capsys, *missing)


def test_no_more_is_a_list_of_labels_or_what_is_named_otherwise(
    capsys: pytest.CaptureFixture[str], digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CSV in the folder, by way of ~ or the beginning of its name, is data as any other."""
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("ward").mkdir()
    save_parquet(digits.subset(range(50)), Path("ward/x-train.parquet"))
    for name in ("labels.csv", "labels.TSV"):
        Path("ward", name).write_text("file,label\n")
    describe = ["data", "--describe", "--force", "--data"]
    for data, out in (
        ("ward", "ward/labels.csv"),
        ("ward", "ward/labels.TSV"),
        ("~/ward", "ward/x-train.parquet"),
        ("ward/x", "ward/x-train.parquet"),
    ):
        before = Path(out).read_bytes()
        assert f"{out} is what this command reads" in fails(capsys, *describe, data, "--out", out)
        assert Path(out).read_bytes() == before


def test_an_export_is_not_written_over_what_it_splits(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["data", "--clients", "2", "--alpha", "5", "--export", "sites", "--force", "--out", "p.png"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    for source in ("sites", "~/sites", "~/sites/test.parquet", "sites/client"):
        assert f"sites holds {source.replace('~', str(tmp_path))}, which is to be split" in fails(
            capsys, *words, "--data", source
        )
