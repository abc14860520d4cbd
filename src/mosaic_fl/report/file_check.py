"""The report of `mosaic check` for the terminal: a table of files, and a line for all that is wrong or odd."""

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from mosaic_fl.report.tables import NONE
from mosaic_fl.runs.file_check import CheckReport, FileReport
from mosaic_fl.server.trust.report import Verdict

HEADERS = ("file", "client", "samples", "model", "generator", "encrypted", "signed", "agreement", "")


def file_table(report: CheckReport) -> Table:
    """A row for each file."""
    table = Table(box=box.SIMPLE_HEAD)
    for header in HEADERS:
        table.add_column(header, justify="right" if header in ("client", "samples") else "left", overflow="fold")
    for file in report.files:
        table.add_row(*map(Text, _cells(file, report.verdict(file))))
    return table


def _cells(file: FileReport, verdict: Verdict | None) -> list[str]:
    c = file.contribution
    encrypted = NONE if file.encrypted is None else "yes" if file.encrypted else "no"
    if c is None:
        return [file.path.name, NONE, NONE, NONE, NONE, encrypted, file.signed, NONE, "refused"]
    generator = c.generator_spec.family if c.generator_spec else "none"
    return [
        file.path.name, str(c.client), f"{int(c.class_counts.sum()):,}", c.architecture, generator, encrypted,
        file.signed, _agreement(verdict), "ok",
    ]  # fmt: skip


def _agreement(verdict: Verdict | None) -> str:
    """How model and samples agree with the others', beyond chance, as "97 % / 95 %"."""
    if verdict is None or (verdict.model is None and verdict.samples is None):
        return NONE
    return " / ".join(NONE if part is None else f"{100 * part:.0f} %" for part in (verdict.model, verdict.samples))


def check_lines(report: CheckReport) -> Iterator[str]:
    """A line for each file that is refused, then for each doubt, then the sum."""
    yield from (f"refused: {file.defect}" for file in report.files if file.defect)
    yield from (f"odd: {doubt.text}" for doubt in report.doubts)
    refused = sum(bool(file.defect) for file in report.files)
    if report.is_clean:
        yield f"{len(report.files)} of {len(report.files)} files count, and nothing is odd by these rules"
        return
    yield f"{len(report.files) - refused} of {len(report.files)} files count, {len(report.doubts)} odd"
