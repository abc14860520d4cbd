"""The notebooks of `examples/` hold together, and with `make notebooks` they run from the first cell to the last."""

import json
from pathlib import Path
from typing import Any

import pytest

from documents import FENCE, ROOT, anchors, links, name
from test_docs_code import check

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SECONDS = 120
"""The most that a cell may take, on a machine that has other work, too."""


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    """The cells of a kind, in order."""
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == kind]


def test_there_are_notebooks() -> None:
    assert {path.name for path in NOTEBOOKS} >= {"first_federation.ipynb", "what_leaves.ipynb"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_the_code_compiles_and_uses_what_is_there(notebook: Path) -> None:
    code = "\n".join("".join(cell["source"]) for cell in cells(notebook, "code"))
    assert "import mosaic_fl as mosaic" in code
    check(code, name(notebook))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_no_output_is_in_the_repository(notebook: Path) -> None:
    for cell in cells(notebook, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_each_link_leads_somewhere(notebook: Path) -> None:
    for cell in cells(notebook, "markdown"):
        for link in links(FENCE.sub("", "".join(cell["source"]))):
            path, _, anchor = link.partition("#")
            there = notebook.parent / path
            assert there.exists(), link
            assert not anchor or anchor in anchors(there.read_text()), link


@pytest.mark.notebooks
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_it_runs(notebook: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: make notebooks")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: make notebooks")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: make notebooks")
    book = nbformat.read(notebook, as_version=4)
    nbformat.validate(book)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    printed = json.dumps([cell.get("outputs", []) for cell in book.cells])
    assert "image/png" in printed, "each has a picture"
    assert list(tmp_path.iterdir()) == [], "a notebook leaves no file behind"
