"""Where a run stands: a value, and its JSON in `status.json`. How events change it is in `rules`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from mosaic_fl.watch.fields import check_fields

RunState = Literal["waiting", "running", "finished", "failed"]
ClientState = Literal["expected", "joined", "working", "received", "left out", "gone"]
RUN_STATES: tuple[RunState, ...] = get_args(RunState)
CLIENT_STATES: tuple[ClientState, ...] = get_args(ClientState)


@dataclass(frozen=True)
class Client:
    """One client: its `state` since `since`, the `bytes` received from it in all, and a `note` with the reason."""

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

    `stage` is the running stage; after a failure, the stage that failed. `since` is when it began, in UTC seconds, or
    without a stage when the run entered its state. `limit` is how many seconds the stage may take (0: no limit). `done`
    of `total` is the progress of a stage of the server's own. `expected` are the clients whose answers the stage waits
    for. `left_out` forgets a client whose answer comes after all; `times_left_out` still counts it.
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
        """How often the run was resumed."""
        return max(self.starts - 1, 0)

    @property
    def received(self) -> tuple[int, ...]:
        """The clients that have answered in this stage."""
        return tuple(k for k in self.expected if self.clients[k].state == "received")

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """The clients that the run waits for.

        Before the first stage they are the clients that have not joined; in a stage, those that have not answered.
        """
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
        """Which client was left out of which stage and why, as in `result.json`."""
        return [asdict(entry) for entry in self.left_out]

    def to_json(self) -> dict[str, Any]:
        """The content of `status.json`."""
        return {
            **{item.name: getattr(self, item.name) for item in fields(self)},
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
        """The inverse of `to_json`. Unknown names are ignored. Raises ValueError for anything else than a status."""
        try:
            status = cls(**check_fields(cls, content))
            clients = {int(entry["client"]): Client(**check_fields(Client, entry)) for entry in content["clients"]}
            states = [status.state in RUN_STATES, *(client.state in CLIENT_STATES for client in clients.values())]
            if not all(states) or not all(isinstance(stage, str) for stage in content["finished"]):
                raise ValueError("no state of a run or a client")
            return replace(
                status,
                clients=clients,
                expected=tuple(k for k in content["expected"] if k in clients),
                left_out=tuple(LeftOut(**check_fields(LeftOut, entry)) for entry in content["left_out"]),
                finished=tuple(content["finished"]),
            )
        except (TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ValueError(f"no status of a run: {error}") from error
