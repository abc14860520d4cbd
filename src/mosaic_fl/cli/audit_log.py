"""`mosaic audit-log`: a site's own log of what was read, what left, to whom, and what it cost."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic_fl.cli.app import App
from mosaic_fl.cli.output import results
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.chain import Chain, read_chain
from mosaic_fl.storage.files import require_file

app = App("A site's own log of what left it: docs/privacy.md.")
LogArgument = Annotated[Path, typer.Argument(metavar="FILE", help="the log, as site-log.jsonl")]
SHORT = 12  # characters of a hash on a screen


@app.command("verify")
def verify(
    file: LogArgument,
    last: Annotated[str | None, typer.Option(metavar="HASH", help="a last hash that was noted elsewhere")] = None,
) -> None:
    """Whether the log is as it was written; lines cut off at its end show by a hash noted elsewhere alone."""
    chain = _chain(file)
    if last is not None:
        _require_hash(chain, last.strip().lower(), file)
    count = len(chain.entries)
    results({"file": file, "lines": count, "last": chain.last, "cut_off": bool(chain.rest), "noted": last is not None})
    print(f"{file}: {count} line{'s' * (count != 1)}, each follows from the one before")
    if chain.rest:
        print("After them a line without an end: its writing was cut off, and nothing left the site with it")
    print(f"Last hash: {chain.last}")
    if last is None:
        print("Lines cut off at the end cannot be seen from the file: note this hash elsewhere, and give it as --last")
    else:
        print("The hash that was noted is in it: nothing up to there was changed or cut off")


@app.command("show")
def show(file: LogArgument) -> None:
    """The log in words, and what all that left has cost; with --json one object a line."""
    chain = _chain(file)
    for entry in chain.entries:
        results({"number": entry.number, "time": entry.time, **entry.values, "hash": entry.hash}, line=True)
        print(f"{entry.number:>5}  {entry.time}  {_words(entry.values)}")
    from mosaic_fl.client.budget import spending

    groups = dict[str, list[Mapping[str, Any]]]()
    for entry in chain.entries:
        if entry.values.get("event") == "sent":
            data = str(entry.values.get("data"))[:SHORT]
            groups.setdefault(str(entry.values.get("place") or f"the data {data}"), []).append(entry.values)
    for place, lines in groups.items():
        print(f"Of {place} in all: {spending(lines).summary}")


def _chain(file: Path) -> Chain:
    require_file(file)
    return read_chain(file)


def _require_hash(chain: Chain, last: str, file: Path) -> None:
    if last not in {entry.hash for entry in chain.entries}:
        raise UsageError(f"{file}: no line has the hash {last[:SHORT]}…: lines were cut off, or it is another log")


def _words(values: Mapping[str, Any]) -> str:
    """A line of the log as a sentence."""
    match values:
        case {"event": "read", "place": place, "samples": samples, "data": data}:
            return f"read {samples} samples of {place} (data {str(data)[:SHORT]})"
        case {"event": "greeting", "to": to, "samples": samples}:
            return f"told {to} the schema, the model's name and {samples} samples"
        case {"event": "refused", "to": to, "reason": reason}:
            return f"refused {to}: {reason}"
        case {"event": "sent", "kind": kind, "to": to, "bytes": size, "content": content}:
            cost = f", ε = {values['epsilon']:g}, δ = {values['delta']:g}" if "epsilon" in values else ""
            fields = f" ({', '.join(values['fields'])})" if "fields" in values else ""
            article = "" if kind == "statistics" else "an " if str(kind)[:1] in "aeiou" else "a "
            audit = f"; it {values['audit']}" if "audit" in values else ""
            return f"sent {article}{kind}{fields} to {to}: {size} bytes{cost}, SHA-256 {str(content)[:SHORT]}{audit}"
    return json.dumps(dict(values))
