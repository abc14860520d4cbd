"""The documents of the repository, taken apart: command lines, blocks of code, links and headings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[1]
NOTES = sorted((ROOT / "docs" / "notes").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
"""What users read. The notes are of past commits."""
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
DOCUMENTS = [*PAGES, *NOTES, *sorted((ROOT / "docs" / "reference").glob("*.md")), RESULTS]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def name(path: Path) -> str:
    """The path of a document in the repository: how a failing test names it."""
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [code for kind, code in FENCE.findall(text) if kind == language]


def shell_lines(text: str) -> Iterator[str]:
    """The commands of a document: lines of indented and fenced blocks, without comments; continued ones are joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    fenced = "".join(code for kind, code in FENCE.findall(joined) if kind in ("", "bash", "sh"))
    indented = "\n".join(line for line in FENCE.sub("", joined).splitlines() if line.startswith("    "))
    for line in f"{fenced}\n{indented}".splitlines():
        for part in re.split(r"&&|\|| > ", re.sub(r"(^|\s)#.*", "", line)):
            if part.strip():
                yield re.sub(r"^\w*\$\s+", "", part.strip())


PROGRAMS = r"mosaic|make|pip|python3?|uv|helm|docker|kubectl|ls|cat|jq|tensorboard|until|for|ssh|nginx|curl|git"


@dataclass(frozen=True)
class Step:
    """A command line or a block of Python as a document has it; `machine` is the prompt before it, as north, or ""."""

    kind: Literal["shell", "python"]
    text: str
    machine: str = ""
    shown: tuple[str, ...] = ()
    """The lines below a command, up to the next one: what it prints, or of `cat` what the file holds."""


def steps(text: str) -> list[Step]:
    """What a reader of a document types, in order: command lines without comments, and blocks of Python."""
    found: list[Step] = []
    fence: str | None = None
    code: list[str] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if mark := re.match(r"```(\w*)", line):
            if fence == "python":
                found.append(Step("python", "\n".join(code)))
            fence = mark[1] if fence is None else None
            code = []
        elif fence == "python":
            code.append(line)
        elif fence in ("", "bash", "sh") or (fence is None and line.startswith("    ")):
            typed = re.match(rf"\s*(?:(\w*)\$\s+)?((?:{PROGRAMS})\s.*)", line)
            if typed:
                found.append(Step("shell", re.sub(r"\s#.*", "", typed[2]).strip(), typed[1] or ""))
            elif found and found[-1].kind == "shell":
                found[-1] = replace(found[-1], shown=(*found[-1].shown, line[4:]))
    return found


def mosaic_lines(text: str) -> list[list[str]]:
    """The words of each command line of `mosaic`, without that."""
    return [shlex.split(line)[1:] for line in shell_lines(text) if re.match(r"mosaic\s", line)]


def inline_commands(text: str) -> list[list[str]]:
    """The words of each `mosaic …` within a sentence. They may be cut short."""
    prose = "\n".join(line for line in FENCE.sub("", text).splitlines() if not line.startswith("    "))
    return [code.split()[1:] for code in re.findall(r"`(mosaic [a-z][^`]*)`", prose)]


def links(text: str) -> list[str]:
    """The targets of links and pictures that are files or anchors here."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}
