"""Where a file of the repository stands in the site, and the links between them.

The Markdown files have links that work in the repository. Pages under `docs/` keep their paths in the site; a few files
from outside of it are pages, too. So each link is looked up in the repository and written for the site.
"""

import posixpath
import re
from collections.abc import Callable

OUTSIDE = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "results.md",
    "LICENSE": "LICENSE",
}
"""Files outside of `docs/` that are in the site, with their names there."""

LINK = re.compile(r"(\]\()([^)\s]+)(\))")
SCHEME = re.compile(r"[a-z]+:|#")


def in_site(path: str) -> str | None:
    """The place in the site of a file of the repository; None if it has none."""
    return OUTSIDE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)


def in_repository(page: str) -> str:
    """The file of the repository that is this page of the site."""
    inverse = {site: path for path, site in OUTSIDE.items()}
    return inverse.get(page, f"docs/{page}")


def target(source: str, link: str) -> tuple[str, str]:
    """The file of the repository that `link` in the file `source` means, and its anchor (with #, or empty)."""
    path, sign, anchor = link.partition("#")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path)), sign + anchor


def for_site(markdown: str, page: str, tell: Callable[[str], None]) -> str:
    """`markdown` of a page with the links of the site; `tell` is called for a link to what is not in the site."""
    source = in_repository(page)

    def rewrite(match: re.Match[str]) -> str:
        link = match[2]
        if SCHEME.match(link):
            return match[0]
        path, anchor = target(source, link)
        place = in_site(path)
        if place is None:
            tell(f"{source}: the link {link} means {path}, which is not in the site")
            return match[0]
        return f"{match[1]}{posixpath.relpath(place, posixpath.dirname(page) or '.')}{anchor}{match[3]}"

    return LINK.sub(rewrite, markdown)
