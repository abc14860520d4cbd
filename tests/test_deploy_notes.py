"""What is told of data in the processes of a deployment reaches who started it."""

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_files import write
from mosaic_fl.config import Config
from mosaic_fl.config.toml import to_toml
from mosaic_fl.deploy import serving
from mosaic_fl.deploy.logs import Tail
from mosaic_fl.deploy.prepare import prepare
from mosaic_fl.deploy.serving import Deployment, serve
from mosaic_fl.engines.flower.limits import Limits
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note, print_notes

pytest.importorskip("flwr")


@pytest.mark.parametrize("label", [0, 7])
def test_a_client_s_notes_are_told_by_the_command_that_starts_it(tmp_path: Path, label: int) -> None:
    """Whether its data can be used or not."""
    file = write(tmp_path / "x.parquet", [label, 1])
    pq.write_table(pq.read_table(file).append_column("age", pa.array([5, 6])), file)
    site = tmp_path / "site.toml"
    site.write_text('client = 0\ndata = "x.parquet"\nmodel = "mlp:4"\nclasses = 2\n[server]\naddress = "host:1"\n')
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with nullcontext() if label < 2 else pytest.raises(UsageError, match="has label 7"):
            prepare(site)
    assert [str(warning.message) for warning in told] == [f"columns of {file} that are not read: age"]


def test_a_server_s_notes_are_lines_that_its_command_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(to_toml(Config()))
    Deployment(2, Limits()).save(tmp_path)

    def run(*_: Any) -> dict[str, Any]:
        note("a remark")
        return {}

    monkeypatch.setattr(serving, "_run", run)
    serve(None, tmp_path)  # type: ignore[arg-type]
    assert "\nmosaic: note: a remark\n" in f"\n{capsys.readouterr().err}"


def test_a_note_that_was_told_is_not_told_again_by_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What test data a server reads is looked at before it starts, and read by its app."""
    tail = Tail(tmp_path / "log")
    (tmp_path / "log").write_text("mosaic: note: a remark\nmosaic: note: another\nmosaic: a line\nno line\n")
    with print_notes():
        note("a remark")
        assert len(tail.relay()) == 4
    assert capsys.readouterr().err == "mosaic: note: a remark\nmosaic: note: another\nmosaic: a line\n"
