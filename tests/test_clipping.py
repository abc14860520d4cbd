"""The public length of an encoded row: no row is longer, whatever it holds, so none is shortened."""

import json
from pathlib import Path

import pytest
import torch

from command import mosaic
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.clipping import clip_of
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.noisy_sums import clipped_share
from table_cases import COLUMNS, SCHEMA, patients, rows

ENDS = torch.tensor([[0.0, 100], [-1, 9], [0, 1], [0, 2]])
"""The ends of the ranges of COLUMNS, and their first and last codes."""


def test_it_is_the_root_of_the_number_of_columns() -> None:
    kind = make_encoder("encoding", SCHEMA.kind).kind
    assert clip_of(kind, 0.0) == 2.0  # of four columns
    assert clip_of(kind, 1.5) == 1.5
    wider = Table((*COLUMNS, Column("sex", "boolean"), Column("rare", "boolean", missing=True)))
    assert clip_of(make_encoder("encoding", wider).kind, 0.0) == pytest.approx(6**0.5)


def test_no_row_is_longer_and_some_are_as_long() -> None:
    corners = torch.cartesian_prod(*ENDS)
    absent = corners.clone()
    absent[:, [1, 3]] = torch.nan
    beyond = corners * torch.tensor([1e20, -1e20, 1, 1])
    values = torch.cat([corners, absent, beyond, patients(500).samples.only])
    vectors = encode(rows(values, torch.zeros(len(values))), "encoding").samples.only
    lengths = vectors.double().norm(dim=1)
    assert float(lengths.max()) == 2.0
    assert clipped_share(vectors, clip_of(make_encoder("encoding", SCHEMA.kind).kind, 0.0)) == 0.0
    assert torch.equal(lengths[: len(corners)], torch.full((len(corners),), 2.0).double())


def test_a_name_alone_has_no_length() -> None:
    """Whoever names the encoder of rows without their columns, as in received bytes, says no length."""
    with pytest.raises(UsageError, match="no length is known to which encoder 'encoding' can be shortened"):
        clip_of(Vector(4, "encoding", "ab" * 32), 0.0)


def test_a_private_run_on_rows_needs_no_setting(tmp_path: Path) -> None:
    words = ["--preset", "encoder", "--data", "breast_cancer", "--clients", "2", "--alpha", "5", "--workers", "1"]
    printed = mosaic("run", *words, "--epsilon", "8", "--out", "run", cwd=tmp_path)
    assert "Clipped: 0.0 % of the vectors, to the length 5.477" in printed  # √30
    privacy = json.loads((tmp_path / "run" / "result.json").read_text())["privacy"]
    assert (privacy["clip"], privacy["clipped"]) == (pytest.approx(30**0.5), 0.0)
