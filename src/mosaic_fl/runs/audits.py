"""What sites say of their own audits, in a result and on the screen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mosaic_fl.exchange.audited import Audited
from mosaic_fl.exchange.contribution import Contribution


def contributed_audits(contributions: Sequence[Contribution]) -> dict[str, Any]:
    """The figure "audit": what each site that says it has found, by client; empty where none does."""
    return stated_audits({one.client: one.audit for one in contributions if one.audit is not None})


def stated_audits(audits: Mapping[int, Audited]) -> dict[str, Any]:
    """The figure "audit" of these statements by client; empty without any."""
    rows = [{"client": client, **audits[client].to_json()} for client in sorted(audits)]
    return {"audit": rows} if rows else {}


def audit_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """One line for each site that says of its own audit that it does not pass, and one for all that pass."""
    rows = result.get("audit") or []
    stated = {row["client"]: Audited(**{key: row[key] for key in row if key != "client"}) for row in rows}
    passing = [client for client, one in stated.items() if one.passes]
    if passing:
        yield f"Audits of their own that pass: {len(passing)} of {len(stated)} sites that say so"
    for client, one in stated.items():
        if not one.passes:
            reason = f"; its site took the risk: {one.accepted}" if one.accepted else ""
            yield f"Client {client}: its contribution {one.summary}{reason}"
