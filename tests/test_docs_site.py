"""The documentation holds together without building it: links and anchors, the navigation, the generated reference."""

import itertools
import re
import sys
from pathlib import Path

import pytest

from documents import DOCUMENTS, FENCE, PAGES, ROOT, anchors, links, name
from mosaic_fl.config import Config

sys.path.append(str(ROOT / "tools" / "site"))
import reference
import repository


@pytest.mark.parametrize("page", DOCUMENTS, ids=name)
def test_each_link_leads_somewhere_in_the_repository_and_in_the_site(page: Path) -> None:
    for link in links(FENCE.sub("", page.read_text())):
        path, anchor = repository.target(name(page), link) if not link.startswith("#") else (name(page), link)
        assert (ROOT / path).exists(), link
        assert repository.in_site(path) is not None, f"{link}: {path} is not in the site"
        if anchor:
            assert anchor[1:] in anchors((ROOT / path).read_text()), link


def test_links_are_written_for_the_site() -> None:
    told = list[str]()
    text = "[a](docs/audit.md#the-gate) ![b](docs/method.svg) [c](https://x.org/) [d](SECURITY.md)"
    assert repository.for_site(text, "index.md", told.append) == (
        "[a](audit.md#the-gate) ![b](method.svg) [c](https://x.org/) [d](security.md)"
    )
    assert repository.for_site("[a](../../README.md)", "notes/flower.md", told.append) == "[a](../index.md)"
    assert not told
    repository.for_site("[a](../src/x.py)", "audit.md", told.append)
    assert told == ["docs/audit.md: the link ../src/x.py means src/x.py, which is not in the site"]


def test_each_page_is_in_the_navigation_once() -> None:
    nav = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    outside = {place for place in repository.OUTSIDE.values() if place.endswith(".md")}
    assert sorted(nav) == sorted(pages | outside), "each page has one line in mkdocs.yml, under nav"


def test_the_reference_has_every_command_and_setting() -> None:
    commands = reference.commands()
    for command in ("run", "compare", "contribute", "distill", "deploy server", "config"):
        assert f"## `mosaic {command}`" in commands
    assert "| `--alpha X` | smaller is more different \\[0.1] |" in commands
    assert "| `--bundle` |" in commands, "options that --help leaves out are here"
    settings = reference.settings()
    for section, values in Config():
        for key in type(values).model_fields:
            assert f"| `{section}.{key}` |" in settings
    assert "::: mosaic_fl.api.distill\n" in reference.python()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lists_read_alike_in_both(page: Path) -> None:
    """GitHub reads a list without a blank line before it, and blocks in it indented by two; the site does not."""
    lines = FENCE.sub("", page.read_text()).splitlines()
    for before, line in itertools.pairwise(lines):
        starts = re.match(r"(- |\* |\d+\. )", line)
        assert not starts or not before.strip() or re.match(r"(- |\* |\d+\. | )", before), line
        assert before.strip() or not re.match(r" {1,3}\S", line), line
