"""What mkdocs calls while it builds the site (mkdocs.yml): pages from outside of docs/, reference from code, links."""

import logging
import re
from pathlib import Path

import reference
import repository
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
GENERATED = re.compile(r"<!-- generated: (\w+) -->.*", re.DOTALL)
log = logging.getLogger("mkdocs.plugins.site")  # warnings under this name end a strict build


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site: those of docs/, and those outside of it that are pages."""
    for path, place in repository.OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page as the site has it: what code says in place of its mark, and the site's links."""
    text = GENERATED.sub(lambda match: reference.PAGES[match[1]](), markdown)
    return repository.for_site(text, page.file.src_uri, log.warning)
