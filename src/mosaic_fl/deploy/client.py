"""`mosaic deploy client`: a node that works for one server behind the gate, and comes back after every fault."""

import contextlib
import fcntl
import itertools
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mosaic_fl.deploy import flower
from mosaic_fl.deploy.checks import check_client_key, is_loopback
from mosaic_fl.deploy.logs import Tail
from mosaic_fl.deploy.prepare import prepare
from mosaic_fl.deploy.processes import Child, Command, Processes, ended_by_sigterm, free_port, last_line
from mosaic_fl.deploy.reach import Answer, UnreachableError, ask
from mosaic_fl.engines.flower.site import SiteFile
from mosaic_fl.errors import MosaicError, UsageError

LOOK = 0.3  # seconds between looks at the node
SLOW = 30.0  # seconds without a connection, after which the user is told
CHECK = 20.0  # seconds between looks whether the server is still there
ONCE = 2.0  # the same, for a client that is to end with it
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds before the next attempt; the last one from then on
# Flower marks a node offline 50 to 60 s after its last sign of life; a key refused for longer is used elsewhere.
REFUSED_FOR = 150.0
LOCK = "lock"  # the file in a client's folder that shows that it is one
MISSED = 3  # questions in a row that the server leaves without an answer before it is called gone
CONNECTED = "SuperNode ID:"
REFUSED = "[code: 2004]"
UNAUTHORISED = "401"


@dataclass(frozen=True)
class ClientPlan:
    """One start of a client; `wait` is the seconds that the server has to answer at first."""

    path: Path
    site: SiteFile
    insecure: bool = False
    once: bool = False
    wait: float = 60.0

    @property
    def safety(self) -> tuple[Path, Path] | None:
        """The authority's certificate and this client's key; None without TLS."""
        server = self.site.server
        return None if self.insecure or not server.certificate or not server.key else (server.certificate, server.key)


def check_client(plan: ClientPlan) -> str | None:
    """The fingerprint of this client's key (None without TLS); raises UsageError with the first thing wrong."""
    server = plan.site.server
    if plan.insecure and not is_loopback(server.host):
        raise UsageError(f"--insecure sends everything in clear: only to 127.0.0.1, not {server.host}")
    if not plan.insecure and not (server.certificate and server.key):
        raise UsageError(f"{plan.path}: [server] needs certificate (the server's ca.crt) and key (this client's own)")
    for name in ("flower-supernode", "flower-superexec"):
        flower.program(name)
    return None if plan.insecure or server.key is None else check_client_key(server.key)


def command(plan: ClientPlan, port: int) -> Command:
    """The node's command, which serves its own processes on `port` of loopback."""
    home = plan.site.folder / "flower"
    env = flower.environment(home, plan.site.folder / "gate", {"OMP_NUM_THREADS": "1"})
    return flower.supernode(plan.site.server.address, port, plan.path.resolve(), plan.safety, env)


def work(plan: ClientPlan) -> None:
    """Work for the server until SIGTERM or Ctrl-C; with `once`, until the server has gone.

    Raises UsageError for what is wrong before the node starts; MosaicError where the server does not answer for
    `wait` seconds at first, has another version, does not know the key, or refuses it for long.
    """
    mark = check_client(plan)
    with contextlib.suppress(UnreachableError):  # a wrong server is found in no time; its data take some
        _accept(_ask(plan), plan, mark)
    with _sole(plan.site.folder), ended_by_sigterm(), Processes() as processes:
        prepare(plan.path.resolve())
        shutil.rmtree(plan.site.folder / "flower", ignore_errors=True)  # of an earlier start: nothing in it is needed
        (plan.site.folder / "flower").mkdir(mode=0o700)
        _accept(_first_answer(plan), plan, mark)
        Supervisor(plan, mark, processes).run()


@contextlib.contextmanager
def _sole(folder: Path) -> Iterator[None]:
    """Hold the client's folder against a second process of the same client.

    Raises UsageError where there is one, and where the folder is somebody else's: what is in it would be replaced.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()) and not (folder / LOCK).exists():
            raise UsageError(f"{folder} is not empty, and not the folder of a client: name another one as its folder")
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise UsageError(f"{folder} cannot be the client's folder: {error.strerror}") from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"another mosaic deploy client works in {folder}: end it first") from error
        yield


def _first_answer(plan: ClientPlan) -> Answer:
    """What the server says; it has `wait` seconds to be there. Raises UnreachableError (exit code 1) after them."""
    deadline = time.monotonic() + plan.wait
    pauses = _pauses()
    while True:
        try:
            return _ask(plan)
        except UnreachableError as error:
            pause = next(pauses)
            if time.monotonic() + pause > deadline:
                raise UnreachableError(f"{error}; is it started, and the address right?") from error
            tell(f"{error}; trying again in {pause:.0f} s")
            time.sleep(pause)


def _ask(plan: ClientPlan) -> Answer:
    server = plan.site.server
    return ask(server.host, server.port, plan.safety[0] if plan.safety else None)


def _accept(answer: Answer, plan: ClientPlan, mark: str | None) -> None:
    """Raise MosaicError where the server has another version, or does not know this client's key."""
    here = version("mosaic-fl")
    if answer.version not in (None, here):
        theirs = (answer.version or "")[:20]
        raise MosaicError(f"the server runs mosaic-fl {theirs}, this client {here}: install the same version")
    if mark and answer.keys is not None and mark not in answer.keys:
        raise MosaicError(
            f"the server does not know the key {plan.site.server.key}: give its .pub file to the server's operator, "
            "who puts it into the folder of --clients-keys and starts the server again"
        )


class Supervisor:
    """Keeps one node running and says in plain words what becomes of it."""

    def __init__(self, plan: ClientPlan, mark: str | None, processes: Processes) -> None:
        self.plan = plan
        self.mark = mark
        self.processes = processes
        self.where = plan.site.server.address
        self.log = plan.site.folder / "logs" / "supernode.log"
        self.refused_since: float | None = None
        self.pauses = _pauses()
        # known: it was connected once; over: the server has gone
        self.warned = ""
        self.known = False
        self.over = False

    def run(self) -> None:
        """Start the node again and again; returns only with `once`, when a server that was there has gone."""
        while True:
            was_connected = self._live()
            self.processes.stop()
            if was_connected:
                self.known = True
                self.refused_since = None
                self.pauses = _pauses()
            if self._ends():
                return
            pause = next(self.pauses)
            tell(f"the node starts again in {pause:.0f} s")
            time.sleep(pause)
            self._until_there()
            if self.over:
                return

    def _live(self) -> bool:
        """One life of the node; returns whether it was ever connected."""
        tail = Tail(self.log)
        node = self.processes.start("flower-supernode", command(self.plan, free_port()), self.log)
        every = ONCE if self.plan.once else CHECK
        connected = False
        there = True
        check_at = time.monotonic() + every
        slow_at: float | None = time.monotonic() + SLOW
        while node.process.poll() is None:
            if not connected and any(CONNECTED in line for line in tail.relay()):
                connected = True
                tell(f"connected to {self.where} as client {self.plan.site.client}; waiting for work")
            tail.relay()
            if not connected and slow_at and time.monotonic() > slow_at:
                slow_at = None
                tell(f"{self.where} answers, but takes no node yet; the node keeps trying (see {self.log})")
            self.known |= connected
            if self.known and time.monotonic() > check_at:
                check_at = time.monotonic() + every
                there = self._still_there(there)
                if not there and self._ends():
                    return connected
            time.sleep(LOOK)
        tail.relay()
        self._explain(node, connected)
        return connected

    def _still_there(self, before: bool) -> bool:
        try:
            _ask(self.plan)
        except UnreachableError as error:
            if before:
                tell(f"{error}; the node keeps trying")
            return False
        except UsageError as error:  # it is there, and something else is wrong
            if self.warned != str(error):
                self.warned = str(error)
                tell(self.warned)
            return True
        if not before:
            tell(f"{self.where} answers again")
        return True

    def _ends(self) -> bool:
        """Whether this client is to end: a server that was there is silent to a few questions, as one may be lost."""
        if self.over or not (self.plan.once and self.known):
            return self.over
        for _ in range(MISSED):
            try:
                _ask(self.plan)
                return False
            except UnreachableError:
                time.sleep(ONCE)
            except UsageError:
                return False
        tell(f"{self.where} has gone, so this is the end")
        self.over = True
        return True

    def _until_there(self) -> None:
        """Wait for the server to answer, or to be given up; raises what `_accept` and `ask` find wrong with it."""
        silent = False
        while True:
            try:
                _accept(_ask(self.plan), self.plan, self.mark)
                return
            except UnreachableError as error:
                if not silent:
                    tell(f"{error}; trying until it does")
                silent = True
                if self._ends():
                    return
                time.sleep(PAUSES[-1] / 3)

    def _explain(self, node: Child, connected: bool) -> None:
        """Say why the node ended; raises MosaicError where starting it again is of no use."""
        said = node.output()
        if REFUSED in said:
            self._refused()
        elif connected:
            tell(f"the connection to {self.where} ended")
        elif UNAUTHORISED in said:
            tell(f"{self.where} does not accept this client's signature: is the clock right, and the key known there?")
        else:
            tell(f"the node ended: {last_line(said)} (see {self.log})")

    def _refused(self) -> None:
        key = self.plan.site.server.key
        self.refused_since = self.refused_since or time.monotonic()
        if time.monotonic() - self.refused_since > REFUSED_FOR:
            raise MosaicError(
                f"{self.where} still refuses the key {key}: another client uses it (every client makes its own with "
                "mosaic deploy keys client), or the server does not know it (give it the .pub)"
            )
        tell(f"{self.where} refuses the key {key}: it counts as online, here a moment ago or elsewhere")


def _pauses() -> Iterator[float]:
    return itertools.chain(PAUSES, itertools.repeat(PAUSES[-1]))


def tell(line: str) -> None:
    """One line for the user."""
    print(f"mosaic: {line}", file=sys.stderr, flush=True)
