"""Whom a run left out or did not believe, in words, from its `result.json`. The report and the live page use them."""

from collections.abc import Iterable, Mapping
from typing import Any


def trust_lines(result: Mapping[str, Any]) -> list[str]:
    """Why clients do not count, or not in full, one line a client."""
    rows = ((result.get("choice") or {}).get("trust") or {}).get("clients", [])
    return [
        f"client {row['client']} is {row['state'].replace('_', '-')}: {'; '.join(row.get('reasons', []))}"
        for row in rows
        if row["state"] != "accepted"
    ]


def left_out_lines(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Who was left out of a stage, and why, one line an entry."""
    return [
        f"client {entry['client']} was left out{_of(entry)}: {entry.get('reason') or 'it is not told why'}"
        for entry in entries
    ]


def _of(entry: Mapping[str, Any]) -> str:
    return f" of {entry['stage']}" if entry.get("stage") else ""
