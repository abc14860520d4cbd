"""Where a run stands, as its events so far say."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from mosaic_fl.watch.event import Event
from mosaic_fl.watch.fields import checked_fields

RunState = Literal["waiting", "running", "finished", "failed"]
ClientState = Literal["expected", "joined", "working", "received", "left out", "gone"]
RUN_STATES: tuple[RunState, ...] = get_args(RunState)
CLIENT_STATES: tuple[ClientState, ...] = get_args(ClientState)


@dataclass(frozen=True)
class Client:
    """What is known of one client: `state` since `since`, `bytes` received in all, and why (`note`) if it is said."""

    state: ClientState = "expected"
    node: str = ""
    architecture: str = ""
    samples: int = 0
    since: float = 0.0
    note: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class LeftOut:
    """A stage went on without a client."""

    client: int
    stage: str
    reason: str


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    `stage` is the one at work, or the one that a run which ended was in; `since` when it began (or, where there is
    none, when the run got into its state), `limit` how many seconds it may take (0: as long as it takes), `done` of
    `total` its progress where it is the server's own. `expected` are the clients whose answers it waits for.
    `times_left_out` counts, where `left_out` forgets who was let in after all.
    """

    state: RunState = "waiting"
    stage: str = ""
    since: float = 0.0
    limit: float = 0.0
    done: int = 0
    total: int = 0
    expected: tuple[int, ...] = ()
    clients: Mapping[int, Client] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    times_left_out: int = 0
    finished: tuple[str, ...] = ()
    starts: int = 0
    pid: int = 0
    host: str = ""
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether the run has finished or failed."""
        return self.state in ("finished", "failed")

    @property
    def restarts(self) -> int:
        """How often the run was taken up again."""
        return max(self.starts - 1, 0)

    @property
    def received(self) -> tuple[int, ...]:
        """The clients whose answers of this stage are there."""
        return tuple(k for k in self.expected if self.clients[k].state == "received")

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """The clients that hold up the run: those not joined before its first stage, those without an answer in one."""
        if self.state == "waiting":
            return tuple(k for k, client in sorted(self.clients.items()) if client.state in ("expected", "gone"))
        if self.state != "running":
            return ()
        return tuple(k for k in self.expected if self.clients[k].state not in ("received", "left out"))

    @property
    def bytes(self) -> int:
        """Bytes received from all clients."""
        return sum(client.bytes for client in self.clients.values())

    def left_out_json(self) -> list[dict[str, int | str]]:
        """Who was left out of which stage and why, as `result.json` holds it."""
        return [asdict(one) for one in self.left_out]

    def to_json(self) -> dict[str, Any]:
        """The content of `status.json`."""
        return {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "expected": list(self.expected),
            "received": list(self.received),
            "waiting_for": list(self.waiting_for),
            "bytes": self.bytes,
            "restarts": self.restarts,
            "clients": [{"client": k, **asdict(client)} for k, client in sorted(self.clients.items())],
            "left_out": self.left_out_json(),
            "finished": list(self.finished),
        }

    @classmethod
    def from_json(cls, content: Any) -> "Status":
        """The inverse of `to_json`; names that are not known here are passed over. Raises ValueError."""
        try:
            status = cls(**checked_fields(cls, content))
            clients = {int(one["client"]): Client(**checked_fields(Client, one)) for one in content["clients"]}
            states = [status.state in RUN_STATES, *(client.state in CLIENT_STATES for client in clients.values())]
            if not all(states) or not all(isinstance(stage, str) for stage in content["finished"]):
                raise ValueError("no state of a run or a client")
            return replace(
                status,
                clients=clients,
                expected=tuple(k for k in content["expected"] if k in clients),
                left_out=tuple(LeftOut(**checked_fields(LeftOut, one)) for one in content["left_out"]),
                finished=tuple(content["finished"]),
            )
        except (TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ValueError(f"no status of a run: {error}") from error


def apply(status: Status, event: Event) -> Status:
    """The status after `event`. Pure; an event that does not fit changes nothing."""
    return RULES[event.kind](status, event) if event.kind in RULES else status


def fold(events: Iterable[Event]) -> Status:
    """The status after all `events`."""
    status = Status()
    for event in events:
        status = apply(status, event)
    return status


def _run_started(status: Status, event: Event) -> Status:
    """The first start, or a restart: then answers are kept, and every other client has to join again."""
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
    """A stage, perhaps the same one as before a restart: what it has received then stays received."""
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
        left_out=tuple(one for one in status.left_out if not (one.stage == stage and one.client in expected)),
    )


def _stage_progress(status: Status, event: Event) -> Status:
    """Progress of the server's own work, which starts its stage where nothing else did, and ends it at its total."""
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
    return replace(status, stage="", since=event.time, limit=0.0, done=0, total=0, expected=(), finished=finished)


def _run_ended(status: Status, event: Event) -> Status:
    if event.kind == "run_failed":
        return replace(status, state="failed", since=event.time, reason=event.text("reason"))
    return replace(status, state="finished", stage="", since=event.time, limit=0.0, done=0, total=0, expected=())


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
    """An answer; told twice of the same stage, or found in the folder by a resumed run, its bytes count once.

    One of another stage than that at work lets nobody wait less.
    """
    client = status.clients.get(event.client, Client())
    stage = event.text("stage") or status.stage
    again = (client.state == "received" and stage == status.stage) or event.facts.get("kept") is True
    counted = replace(client, bytes=client.bytes + (0 if again else event.count("bytes")))
    left_out = tuple(one for one in status.left_out if (one.client, one.stage) != (event.client, stage))
    client = _now(counted, "received", event) if stage == status.stage or not status.stage else counted
    return replace(_with(status, event, client), left_out=left_out)


def _refused(status: Status, event: Event) -> Status:
    """An answer that was not accepted: the client may be asked again. An answer that is there already stays."""
    client = status.clients.get(event.client, Client())
    note = f"refused: {event.text('reason')}"
    if client.state == "received":
        return _with(status, event, replace(client, note=note))
    return _with(status, event, _now(client, "joined", event, note))


def _left_out(status: Status, event: Event) -> Status:
    stage = event.text("stage") or status.stage
    reason = event.text("reason")
    others = tuple(one for one in status.left_out if (one.client, one.stage) != (event.client, stage))
    new = len(others) == len(status.left_out)
    client = status.clients.get(event.client, Client())
    client = _now(client, "left out", event, reason) if stage == status.stage or not status.stage else client
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
