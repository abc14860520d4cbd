"""What all sites compare: printed, written, read back within bounds, and held against a site's own data."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command import fails, mosaic
from image_files import folder, grey, png, write
from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.schema_file import load_own, read_schema, schema_text
from mosaic_fl.deploy.prepare import check_data
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.errors import UsageError

GREY = image_schema((1, 4, 4), ("a", "b", "c"))


def written(tmp_path: Path, schema: Schema) -> Path:
    """A schema file."""
    file = tmp_path / "schema.json"
    file.write_text(schema_text(schema), "utf-8")
    return file


class TestSchema:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        for schema in (GREY, image_schema((3, 4, 5), ("Katze", "Hündin"), "crop")):
            assert read_schema(written(tmp_path, schema)) == schema

    def test_the_usual_fit_is_not_written_so_that_what_was_stored_before_is_the_same(self) -> None:
        values = {"kind": "image", "shape": [1, 4, 4], "classes": ["a", "b", "c"], "range": [0, 255]}
        assert GREY.to_json() == values
        assert Schema.from_json(values) == GREY
        assert Schema.from_json({**values, "fit": "crop"}).kind.fit == "crop"

    @pytest.mark.parametrize("fit", ["squash", 3, None, ["pad"]])
    def test_a_fit_that_is_none(self, fit: Any) -> None:
        with pytest.raises(UsageError, match="fit is .*: it can be pad, crop, stretch"):
            Schema.from_json({**GREY.to_json(), "fit": fit})

    def test_differences_in_words(self) -> None:
        assert GREY.difference(image_schema((3, 4, 4), GREY.classes)) == "images of 1×4×4, not 3×4×4"
        assert GREY.difference(image_schema((1, 4, 4), GREY.classes, "crop")) == "images fitted by pad, not by crop"
        assert GREY.difference(image_schema((1, 4, 4), ("a", "b"))) == "3 classes (a, b, c), not 2 (a, b)"

    def test_two_classes_of_one_name(self) -> None:
        with pytest.raises(UsageError, match="class name 'a' is there twice"):
            image_schema((1, 4, 4), ("a", "b", "a"))


class TestFile:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is no schema: it is not JSON"),
            (b"\xff\xfe{}", "it is not JSON"),
            (b"[" * 100_000, "it is not JSON"),
            (b"9" * 10_000, "it is not JSON"),
            (b"{}", "it is no schema"),
            (
                b'{"kind": "image", "shape": [1, 9e9, 1], "classes": ["a", "b"], "range": [0, 255]}',
                "images are none of 8 bits",
            ),
            (b'{"kind": "image", "shape": [1, 4, 4096], "classes": ["a", "b"], "range": [0, 255]}', "out of bounds"),
            (b" " * (4 * 2**20 + 1), "at most 4,194,304 are read"),
        ],
    )
    def test_what_is_none(self, tmp_path: Path, content: bytes, message: str) -> None:
        file = tmp_path / "schema.json"
        file.write_bytes(content)
        with pytest.raises(UsageError, match=rf"schema\.json.*{message}") as caught:
            read_schema(file)
        assert "\n" not in str(caught.value)

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        for path, message in (
            (tmp_path, "it is a folder, not a file"),
            (Path("/dev/zero"), "it is a device, not a file"),
            (tmp_path / "gone", "cannot read .*gone: No such file"),
            (tmp_path / "\0", "cannot read"),
            (tmp_path / ("x" * 5000), "cannot read"),
        ):
            with pytest.raises(UsageError, match=message):
                read_schema(path)

    def test_a_byte_order_mark(self, tmp_path: Path) -> None:
        file = tmp_path / "schema.json"
        file.write_bytes(b"\xef\xbb\xbf" + schema_text(GREY).encode())
        assert read_schema(file) == GREY


# (what it is, the site's pictures, its options, what is said; "" where it fits)
RED = png(np.full((4, 4, 3), (200, 0, 0), np.uint8))
SITES: list[tuple[str, Schema, bytes, dict[str, Any], str]] = [
    ("the same", GREY, png(grey(1)), {}, ""),
    ("grey stored as RGB", GREY, png(np.full((4, 4, 3), 7, np.uint8)), {}, ""),
    ("of another size", GREY, png(grey(1, 9, 9)), {}, ""),
    ("grey where all others are coloured", image_schema((3, 4, 4), GREY.classes), png(grey(1)), {}, ""),
    ("coloured where all others are grey", GREY, RED, {}, r"is coloured \(mode RGB\), where grey images are wanted"),
    ("the same, to be made grey", GREY, RED, {"channels": "grey"}, ""),
    ("another size asked for", GREY, png(grey(1)), {"image_size": 8}, "says images of 1×4×4, not 1×8×8: leave out"),
    ("other channels asked for", GREY, RED, {"channels": "colour"}, "says images of 1×4×4, not 3×4×4: leave out"),
    ("another fit asked for", GREY, png(grey(1)), {"fit": "crop"}, "says images fitted by pad, not by crop: leave"),
    ("no square", image_schema((1, 4, 6), GREY.classes), png(grey(1, 4, 6)), {}, ""),
    ("a square for none", image_schema((1, 4, 6), GREY.classes), png(grey(1)), {}, "are 1×4×4, not 1×4×6"),
]


@pytest.mark.filterwarnings("ignore::mosaic_fl.notes.Note")
@pytest.mark.parametrize(("name", "schema", "picture", "options", "said"), SITES, ids=[row[0] for row in SITES])
def test_a_site_is_held_against_the_schema(
    tmp_path: Path, name: str, schema: Schema, picture: bytes, options: dict[str, Any], said: str
) -> None:
    file, reading = write(tmp_path / "x.parquet", [0, 2], [picture] * 2), ReadingConfig(**options)
    if said:
        with pytest.raises(UsageError, match=said):
            load_own(file, reading, schema_file=written(tmp_path, schema))
    else:
        assert load_own(file, reading, schema_file=written(tmp_path, schema)).schema == schema


def test_the_fit_of_the_schema_is_that_of_the_site(tmp_path: Path) -> None:
    # The middle 2×2 of a row of 10, 20, 30, 40.
    picture = png(np.array([[10, 20, 30, 40]] * 2, np.uint8))
    schema = image_schema((1, 2, 2), GREY.classes, "crop")
    data = load_own(write(tmp_path / "x.parquet", [0], [picture]), ReadingConfig(), None, written(tmp_path, schema))
    assert data.images[0, 0].tolist() == [[20, 30], [20, 30]]


def test_a_deployed_client_s_own_file_may_name_it(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", [0, 2])
    written(tmp_path, GREY)
    text = 'client = 0\ndata = "x.parquet"\nmodel = "mlp:4"\nschema_file = "{}"\n[server]\naddress = "host:1"\n'
    (tmp_path / "site.toml").write_text(text.format("schema.json"))
    check_data(load_site(tmp_path / "site.toml"))
    (tmp_path / "site.toml").write_text(text.format("gone.json"))
    with pytest.raises(UsageError, match=r"site\.toml: schema_file names .*gone\.json, which does not exist"):
        load_site(tmp_path / "site.toml")
    written(tmp_path, image_schema((1, 4, 4), ("a", "b")))
    (tmp_path / "site.toml").write_text(text.format("schema.json"))
    with pytest.raises(UsageError, match="has label 2"):
        check_data(load_site(tmp_path / "site.toml"))


class TestCommand:
    def test_describe_prints_the_schema_and_shows_figures_apart(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = folder(tmp_path / "site", cat=3, dog=2)
        assert mosaic(
            "data", "--data", site, "--describe", "--classes", "cat,dog,owl", "--image-size", "6", cwd=tmp_path
        ) == ('{"kind": "image", "shape": [1, 6, 6], "classes": ["cat", "dog", "owl"], "range": [0, 255]}\n')
        file = tmp_path / "schema.json"
        mosaic("data", "--data", site, "--describe", "--out", file, cwd=tmp_path)
        assert json.loads(file.read_text("utf-8")) == image_schema((1, 4, 4), ("cat", "dog")).to_json()
        assert "exists: add --force" in fails(capsys, "data", "--data", site, "--describe", "--out", file)

    def test_digits_are_those_that_are_built_in(self, tmp_path: Path) -> None:
        """As in a run: a folder of that name is ./digits."""
        folder(tmp_path / "digits", a=1, b=1)
        err = io.StringIO()
        built_in = json.loads(mosaic("data", "--describe", cwd=tmp_path, err=err))
        assert "for the file or folder of that name write ./digits" in err.getvalue()
        own = json.loads(mosaic("data", "--data", "./digits", "--describe", cwd=tmp_path))
        assert (len(built_in["classes"]), len(own["classes"])) == (10, 2)

    def test_a_home_that_is_none_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("~no.such.user/x", "x" * 5000):
            fails(capsys, "data", "--describe", "--data", name)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--describe", "--clients", "3"), "--describe splits nothing: leave out partition.clients"),
            (("--describe", "--export", "x"), "--describe exports nothing"),
            (("--classes", "3"), "--classes 3 goes with --describe"),
            (("--describe", "--classes", "3"), "--classes goes with a file or folder of one client; digits names its"),
        ],
    )
    def test_options_that_do_not_go_together(
        self, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
    ) -> None:
        assert message in fails(capsys, "data", *words)

    def test_contribute_takes_the_classes_from_it_and_refuses_before_any_work(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        schema = written(tmp_path, image_schema((1, 8, 8), ("cat", "dog", "owl")))
        words = ["contribute", "--schema", schema, "--model", "mlp:4", "--client", "0", "--out", tmp_path / "c"]
        quick = ["--generator", "none", "--set", "train.min_steps=1", "--set", "train.max_steps=1"]
        mosaic(*words, *quick, "--data", folder(tmp_path / "site", cat=9, dog=9), cwd=tmp_path)
        site = folder(tmp_path / "other", cat=2, cow=2)
        assert "cow" in fails(capsys, *words, "--force", "--data", site)
        assert "leave out the other ones" in fails(capsys, *words, "--force", "--data", site, "--classes", "3")
