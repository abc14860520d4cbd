"""What a release holds: every file of the source is in the wheel, and its metadata are complete."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from command import ENVIRONMENT

ROOT = Path(__file__).parents[1]
BUILD = """
from setuptools import build_meta
build_meta.build_wheel("dist")
build_meta.build_sdist("dist")
"""
PARTS = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md")
PARTS += ("SECURITY.md", "Makefile", "constraints.txt")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
RELEASE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def sources(top: Path) -> set[str]:
    """All files below `top` that are no caches, as paths relative to it."""
    files = (path for path in top.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(top)) for path in files if not any("egg-info" in part for part in path.parts)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a wheel and an sdist of a copy of this source."""
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip(f"setuptools {version('setuptools')} builds no such package: 77 or newer does")
    place = tmp_path_factory.mktemp("package")
    for name in PARTS:
        shutil.copy(ROOT / name, place)
    shutil.copytree(ROOT / "src" / "mosaic_fl", place / "src" / "mosaic_fl", ignore=shutil.ignore_patterns("*.pyc"))
    (place / "docs").mkdir()
    (place / "docs" / "design.md").write_text("the map")
    words = [sys.executable, "-c", BUILD]
    done = subprocess.run(words, cwd=place, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return place / "dist"


def wheel(built: Path) -> zipfile.ZipFile:
    """The wheel in `built`."""
    return zipfile.ZipFile(next(built.glob("*.whl")))


@pytest.fixture
def metadata(built: Path) -> Message:
    """The wheel's METADATA."""
    file = wheel(built)
    return message_from_bytes(file.read(next(name for name in file.namelist() if name.endswith("/METADATA"))))


def test_every_file_of_the_source_is_in_the_wheel(built: Path) -> None:
    """Templates, style, script and the encoders' weights, too; and nothing else but the metadata."""
    files = {name for name in wheel(built).namelist() if ".dist-info/" not in name}
    assert files == {f"mosaic_fl/{name}" for name in sources(ROOT / "src" / "mosaic_fl")}
    assert {"mosaic_fl/encoders/gabor.safetensors", "mosaic_fl/report/page/style.css", "mosaic_fl/py.typed"} <= files


def test_the_sdist_has_the_source_and_what_says_how_to_use_it(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/mosaic_fl/{name}" for name in sources(ROOT / "src" / "mosaic_fl")} <= files
    assert {*PARTS, "docs/design.md"} - {"MANIFEST.in"} <= files


def test_metadata_are_complete_and_name_no_machine(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("mosaic-fl", RELEASE)
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Author"]
    assert metadata["Keywords"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert metadata.get_all("Project-URL") == ["Paper, https://arxiv.org/abs/2505.19699"]
    assert str(metadata.get_payload()).lstrip().startswith("# mosaic-fl")


def test_every_dependency_has_a_lower_bound(metadata: Message) -> None:
    own = [line for line in metadata.get_all("Requires-Dist", []) if not line.startswith("mosaic-fl[")]
    assert [line for line in own if ">=" not in line] == []


def test_the_release_has_one_number_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == RELEASE
    heads = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(head for head in heads if head != "Unreleased") == RELEASE


def test_a_citation_has_what_the_format_asks_for() -> None:
    """Citation File Format 1.2.0: these fields are required, of the software and of the paper."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors"} <= paper.keys()
    assert all(author.keys() == {"given-names", "family-names"} for author in paper["authors"])
    assert "2505.19699" in paper["url"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_a_form_of_an_issue_is_one(path: Path) -> None:
    """What GitHub asks of a form: a name, a description, and fields with an id each."""
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form == {"blank_issues_enabled": False}
        return
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)
