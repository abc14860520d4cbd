"""How each kind of event changes a run's status. Read it to see what an event does; `status` is the value."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from mosaic_fl.watch.event import Event
from mosaic_fl.watch.status import Client, ClientState, LeftOut, Status


def apply(status: Status, event: Event) -> Status:
    """The status after `event`. A pure function; an event that does not fit changes nothing."""
    return RULES[event.kind](status, event) if event.kind in RULES else status


def fold(events: Iterable[Event]) -> Status:
    """The status after all `events`."""
    status = Status()
    for event in events:
        status = apply(status, event)
    return status


def _run_started(status: Status, event: Event) -> Status:
    """The first start, or a restart: answers stay, and every other client has to join again."""
    clients = {k: Client(since=event.time) for k in event.clients("expected")} | {
        k: client if client.state in ("received", "left out") else _now(client, "expected", event)
        for k, client in status.clients.items()
    }
    return replace(
        status,
        state="waiting",
        since=event.time,
        limit=0.0,
        done=0,
        total=0,
        expected=(),
        clients=clients,
        starts=status.starts + 1,
        pid=event.count("pid"),
        host=event.text("host"),
        reason="",
    )


def _stage_started(status: Status, event: Event) -> Status:
    """A stage begins. If it is the one from before a restart, the answers received then still count."""
    stage = event.text("stage")
    expected = event.clients("expected")
    clients = dict(status.clients)
    for k in expected:
        client = clients.get(k, Client(since=event.time))
        if client.state in ("working", "left out") or (client.state == "received" and stage != status.stage):
            client = _now(client, "expected" if client.state == "left out" else "joined", event)
        clients[k] = client
    return replace(
        status,
        state="running",
        stage=stage,
        since=event.time,
        limit=event.number("limit"),
        done=0,
        total=0,
        expected=expected,
        clients=clients,
        left_out=tuple(entry for entry in status.left_out if entry.stage != stage or entry.client not in expected),
    )


def _stage_progress(status: Status, event: Event) -> Status:
    """Progress of the server's own work. Its first event starts the stage, and `done` = `total` ends it."""
    stage = event.text("stage")
    done = event.count("done")
    total = event.count("total")
    if event.client >= 0:
        return status
    if done >= total:
        return _stage_finished(status, event)
    if stage != status.stage or status.state != "running":
        status = replace(status, state="running", stage=stage, since=event.time, limit=0.0, expected=())
    return replace(status, done=done, total=total)


def _stage_finished(status: Status, event: Event) -> Status:
    stage = event.text("stage")
    finished = status.finished if stage in status.finished else (*status.finished, stage)
    if stage != status.stage:
        return replace(status, finished=finished)
    return replace(_without_stage(status, event), finished=finished)


def _run_ended(status: Status, event: Event) -> Status:
    if event.kind == "run_failed":
        return replace(status, state="failed", since=event.time, reason=event.text("reason"))
    return replace(_without_stage(status, event), state="finished")


def _joined(status: Status, event: Event) -> Status:
    client = status.clients.get(event.client, Client())
    client = replace(
        client,
        node=str(event.facts.get("node", client.node)),
        architecture=event.text("architecture") or client.architecture,
        samples=event.count("samples") or client.samples,
    )
    return _with(status, event, client if client.state == "received" else _now(client, "joined", event))


def _asked(status: Status, event: Event) -> Status:
    return _with(status, event, _now(status.clients.get(event.client, Client()), "working", event))


def _received(status: Status, event: Event) -> Status:
    """An answer. Its bytes count once, also where a second event reports it or a resumed run reads it from its folder.

    An answer to another stage than the running one does not change which clients the run waits for.
    """
    client = status.clients.get(event.client, Client())
    stage = event.text("stage") or status.stage
    again = (client.state == "received" and stage == status.stage) or event.facts.get("kept") is True
    client = replace(client, bytes=client.bytes + (0 if again else event.count("bytes")))
    if stage == status.stage or not status.stage:
        client = _now(client, "received", event)
    return replace(_with(status, event, client), left_out=_others_left_out(status, event.client, stage))


def _refused(status: Status, event: Event) -> Status:
    """A refused answer: the client may be asked again. An answer that was accepted before stays."""
    client = status.clients.get(event.client, Client())
    note = f"refused: {event.text('reason')}"
    if client.state == "received":
        return _with(status, event, replace(client, note=note))
    return _with(status, event, _now(client, "joined", event, note))


def _left_out(status: Status, event: Event) -> Status:
    stage = event.text("stage") or status.stage
    reason = event.text("reason")
    others = _others_left_out(status, event.client, stage)
    new = len(others) == len(status.left_out)
    client = status.clients.get(event.client, Client())
    if stage == status.stage or not status.stage:
        client = _now(client, "left out", event, reason)
    left_out = (*others, LeftOut(event.client, stage, reason))
    times = status.times_left_out + new
    return replace(_with(status, event, client), left_out=left_out, times_left_out=times)


def _gone(status: Status, event: Event) -> Status:
    client = status.clients.get(event.client, Client())
    if client.state in ("received", "left out"):  # the run does not wait for it
        return status
    return _with(status, event, _now(client, "gone", event, event.text("reason")))


def _returned(status: Status, event: Event) -> Status:
    client = status.clients.get(event.client, Client())
    return status if client.state == "received" else _with(status, event, _now(client, "joined", event))


def _without_stage(status: Status, event: Event) -> Status:
    """The status between two stages, since `event`."""
    return replace(status, stage="", since=event.time, limit=0.0, done=0, total=0, expected=())


def _others_left_out(status: Status, client: int, stage: str) -> tuple[LeftOut, ...]:
    """The entries of `left_out` but for that of `client` in `stage`."""
    return tuple(entry for entry in status.left_out if (entry.client, entry.stage) != (client, stage))


def _now(client: Client, state: ClientState, event: Event, note: str = "") -> Client:
    return replace(client, state=state, since=event.time, note=note)


def _with(status: Status, event: Event, client: Client) -> Status:
    return replace(status, clients={**status.clients, event.client: client}) if event.client >= 0 else status


RULES: Mapping[str, Callable[[Status, Event], Status]] = {
    "run_started": _run_started,
    "stage_started": _stage_started,
    "stage_progress": _stage_progress,
    "stage_finished": _stage_finished,
    "joined": _joined,
    "asked": _asked,
    "received": _received,
    "refused": _refused,
    "left_out": _left_out,
    "gone": _gone,
    "returned": _returned,
    "run_finished": _run_ended,
    "run_failed": _run_ended,
}
