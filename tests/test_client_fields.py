"""Clients that have some of the fields, in a simulation; and the embedded set of several."""

from pathlib import Path

import numpy as np
import pytest
import torch

from command import fails, mosaic
from mosaic_fl.config import DataConfig, PartitionConfig
from mosaic_fl.data.embedded import moments
from mosaic_fl.data.partition import partition
from mosaic_fl.data.sources import load
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.table import Table
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note
from mosaic_fl.report.fields import field_lines


@pytest.fixture(scope="module")
def views() -> Splits:
    return load(DataConfig(name="digits-views"), 0)


def split(train: Dataset, *fields: str, clients: int = 5) -> list[Dataset]:
    return partition(train, PartitionConfig(clients=clients, split="iid", fields=fields), 0)


def test_the_embedded_set_has_two_views_and_a_table(views: Splits, digits: Dataset) -> None:
    kinds = views.train.schema.fields
    assert list(kinds) == ["left", "right", "table"]
    assert kinds["left"] == kinds["right"] == Image((1, 8, 4))
    table = kinds["table"]
    assert isinstance(table, Table)
    names = [column.name for column in table.columns]
    assert names == ["ink", "ink_left", "ink_top", "ink_width", "ink_height", "ink_slant"]
    assert (len(views.train), len(views.test)) == (1442, 355)
    halves = [views.train.samples.values[name] for name in ("left", "right")]
    whole = torch.cat(halves, 3)
    originals = {image.numpy().tobytes() for image in digits.images}
    assert all(image.numpy().tobytes() in originals for image in whole)
    ink = views.train.samples.values["table"][:, 0]
    assert torch.allclose(ink, whole.float().mean((1, 2, 3)) / 255, atol=1e-6)


def test_the_numbers_of_a_picture_worked_out_by_hand() -> None:
    """One black dot at the right edge, two sevenths from the top; and two dots in opposite corners."""
    pictures = np.zeros((2, 8, 8), np.uint8)
    pictures[0, 2, 7] = 255
    pictures[1, 0, 0] = pictures[1, 7, 7] = 255
    columns = {name: values.round(6).tolist() for name, values in moments(pictures).items()}
    assert columns == {
        "ink": [1 / 64, 1 / 32],
        "ink_left": [1, 0.5],
        "ink_top": [0.285714, 0.5],
        "ink_width": [0, 0.5],
        "ink_height": [0, 0.5],
        "ink_slant": [0, 0.25],
    }


def test_clients_have_their_fields_in_turn(views: Splits) -> None:
    sites = split(views.train, "left+right", "left", "table")
    assert [site.samples.fields for site in sites] == [
        ("left", "right"), ("left",), ("table",), ("left", "right"), ("left",)
    ]  # fmt: skip
    assert all(site.schema == views.train.schema for site in sites)
    assert sum(map(len, sites)) == len(views.train)
    assert sites[1].samples.values["right"].count_nonzero() == 0


def test_a_field_of_no_client_is_told(views: Splits) -> None:
    with pytest.warns(Note, match="no client has the field right, table"):
        split(views.train, "left")


def test_without_the_setting_every_client_has_all(views: Splits) -> None:
    assert all(site.samples.fields == ("left", "right", "table") for site in split(views.train))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("left+rigth",), "unknown field 'rigth': did you mean right"),
        (("left", "right+"), r"entry 'right\+': write names with a plus"),
        (("left",) * 6, "6 entries for 5 clients"),
    ],
)
def test_what_is_no_choice_of_fields(views: Splits, fields: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split(views.train, *fields)


def test_samples_of_one_field_have_no_choice(digits: Dataset) -> None:
    with pytest.raises(UsageError, match=r"samples have one field \(image\)"):
        split(digits, "image")


def test_rows_that_a_client_would_have_without_any_field_are_left_out(views: Splits) -> None:
    partly = views.train.samples.with_fields(("left", "table"))
    rows = torch.arange(len(partly)) % 2 == 0
    samples = type(partly)(partly.kinds, partly.values, {**partly.present, "left": rows})
    train = Dataset(samples, views.train.labels, views.train.schema)
    with pytest.warns(Note, match=r"\d+ of 1442 samples of client 0 have none of its fields"):
        (site,) = split(train, "left", clients=1)
    assert len(site) == 721
    with pytest.raises(UsageError, match="no sample of client 0 has a field of its own"):
        split(train, "right", clients=1)


def test_the_command_says_who_has_which_fields(tmp_path: Path) -> None:
    words = ["--data", "digits-views", "--client-fields", "left+right,left,table", "--split", "iid"]
    out = mosaic("data", *words, cwd=tmp_path)
    lines = [line for line in out.splitlines() if line.startswith("Fields")]
    assert lines == ["Fields of clients 0, 3: left, right", "Fields of clients 1, 4: left", "Fields of client 2: table"]


def test_a_field_that_some_samples_lack_is_counted(views: Splits) -> None:
    few = views.train.samples[:4].with_fields(("left", "table"))
    partly = type(few)(few.kinds, few.values, {**few.present, "left": torch.tensor([True, False, True, True])})
    assert field_lines([partly]) == ["client 0: left (3 of 4), table"]


def test_the_command_refuses_fields_of_samples_that_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "samples have one field" in fails(capsys, "data", "--client-fields", "left")
    assert "--with-table goes with --image-column" in fails(capsys, "run", "--with-table")
    assert "named twice" in fails(capsys, "run", "--image-column", "a", "--image-column", "a")


def test_noise_of_pixels_is_for_samples_of_one_field(views: Splits) -> None:
    with pytest.raises(UsageError, match="feature_skew adds noise to samples of one field, not of 3"):
        partition(views.train, PartitionConfig(split="feature_skew"), 0)


def test_an_encoder_is_for_samples_of_one_field(capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(capsys, "data", "--data", "digits-views", "--encoder", "gabor")
    assert "makes a vector of samples of one field, and these have left, right, table: leave --encoder out" in said
