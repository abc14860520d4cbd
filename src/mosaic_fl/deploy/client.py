"""`mosaic deploy client`: run a Flower node for one server, behind the gate, and start it again after every fault."""

import contextlib
import fcntl
import itertools
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mosaic_fl.deploy import flower
from mosaic_fl.deploy.checks import check_client_key, is_loopback
from mosaic_fl.deploy.logs import Tail
from mosaic_fl.deploy.prepare import prepare
from mosaic_fl.deploy.processes import Child, Command, Processes, free_port, interrupt_on_sigterm, last_line
from mosaic_fl.deploy.reach import Answer, UnreachableError, ask
from mosaic_fl.engines.flower.site import SiteFile
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.release import release

POLL = 0.3  # seconds between checks of the node
SLOW = 30.0  # seconds without a connection until a line says so
CHECK_INTERVAL = 20.0  # seconds between checks of the server
ONCE_INTERVAL = 2.0  # the same with --once
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds before each attempt; the last value repeats
# Seconds. Flower marks a node offline 50 to 60 s after its last message. After longer refusals, another client has
# the key.
REFUSAL_LIMIT = 150.0
LOCK = "lock"  # the file that marks the folder of a client
ATTEMPTS = 3  # requests in a row without an answer after which the server counts as gone
# in the output of Flower's node
CONNECTION_MARK = "SuperNode ID:"
REFUSAL_MARK = "[code: 2004]"
UNAUTHORISED_MARK = "401"


@dataclass(frozen=True)
class ClientPlan:
    """The options of one start of a client; the server has `wait` seconds for its first answer."""

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
    """The fingerprint of this client's key (None without TLS); raises UsageError for the first wrong option or file."""
    server = plan.site.server
    if plan.insecure and not is_loopback(server.host):
        raise UsageError(f"--insecure sends everything in clear: only to 127.0.0.1, not {server.host}")
    if not plan.insecure and not (server.certificate and server.key):
        raise UsageError(f"{plan.path}: [server] needs certificate (the server's ca.crt) and key (this client's own)")
    for name in ("flower-supernode", "flower-superexec"):
        flower.program(name)
    return None if plan.insecure or server.key is None else check_client_key(server.key)


def command(plan: ClientPlan, port: int) -> Command:
    """The command of the node; its own processes reach it on `port` of loopback."""
    home = plan.site.folder / "flower"
    env = flower.environment(home, plan.site.folder / "gate", {"OMP_NUM_THREADS": "1"})
    return flower.supernode(plan.site.server.address, port, plan.path.resolve(), plan.safety, env)


def work(plan: ClientPlan) -> None:
    """Work for the server until SIGTERM or Ctrl-C; with `once`, until the server ends.

    Raises UsageError for a wrong option, file or server before the node starts. Raises MosaicError if the server
    does not answer within `wait` seconds, has another version, does not know the key, or refuses it for long.
    """
    mark = check_client(plan)
    with contextlib.suppress(UnreachableError):  # before the data: this check takes no time
        _accept(_ask(plan), plan, mark)
    with _lock(plan.site.folder), interrupt_on_sigterm(), Processes() as processes:
        prepare(plan.path.resolve())
        shutil.rmtree(plan.site.folder / "flower", ignore_errors=True)  # of an earlier start
        (plan.site.folder / "flower").mkdir(mode=0o700)
        _accept(_first_answer(plan), plan, mark)
        Supervisor(plan, mark, processes).run()


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock the client's folder, so that a second process of the same client cannot use it.

    Raises UsageError if another process has the lock, or if the folder has files but is not a client's: they would be
    replaced.
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
    """The server's first answer; raises UnreachableError (exit code 1) after `wait` seconds without one."""
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
    """Raise MosaicError if the server has another version, or does not know the key with the fingerprint `mark`."""
    own_version = release()
    if answer.version not in (None, own_version):
        server_version = (answer.version or "")[:20]
        raise MosaicError(
            f"the server runs mosaic-fl {server_version}, this client {own_version}: install the same version"
        )
    if mark and answer.keys is not None and mark not in answer.keys:
        raise MosaicError(
            f"the server does not know the key {plan.site.server.key}: give its .pub file to the server's operator, "
            "who puts it into the folder of --clients-keys and starts the server again"
        )


class Supervisor:
    """Keeps one node running and prints what happens to it, in plain sentences."""

    def __init__(self, plan: ClientPlan, mark: str | None, processes: Processes) -> None:
        self.plan = plan
        self.mark = mark
        self.processes = processes
        self.address = plan.site.server.address
        self.log = plan.site.folder / "logs" / "supernode.log"
        self.refusal_start: float | None = None
        self.pauses = _pauses()
        self.last_warning = ""
        self.ever_connected = False
        self.over = False  # with `once`, whether the server has ended

    def run(self) -> None:
        """Start the node again and again; returns only with `once`, after the server has ended."""
        while True:
            was_connected = self._live()
            self.processes.stop()
            if was_connected:
                self.ever_connected = True
                self.refusal_start = None
                self.pauses = _pauses()
            if self._ends():
                return
            pause = next(self.pauses)
            tell(f"the node starts again in {pause:.0f} s")
            time.sleep(pause)
            self._wait_for_server()
            if self.over:
                return

    def _live(self) -> bool:
        """Start the node and watch it until it ends; returns whether it was ever connected."""
        tail = Tail(self.log)
        node = self.processes.start("flower-supernode", command(self.plan, free_port()), self.log)
        interval = ONCE_INTERVAL if self.plan.once else CHECK_INTERVAL
        connected = False
        reachable = True
        check_at = time.monotonic() + interval
        slow_at: float | None = time.monotonic() + SLOW
        while node.process.poll() is None:
            if not connected and any(CONNECTION_MARK in line for line in tail.relay()):
                connected = True
                tell(f"connected to {self.address} as client {self.plan.site.client}; waiting for work")
            tail.relay()
            if not connected and slow_at and time.monotonic() > slow_at:
                slow_at = None
                tell(f"{self.address} answers, but takes no node yet; the node keeps trying (see {self.log})")
            self.ever_connected |= connected
            if self.ever_connected and time.monotonic() > check_at:
                check_at = time.monotonic() + interval
                reachable = self._check_server(reachable)
                if not reachable and self._ends():
                    return connected
            time.sleep(POLL)
        tail.relay()
        self._explain(node, connected)
        return connected

    def _check_server(self, was_reachable: bool) -> bool:
        """Whether the server answers; prints a line if that has changed since the last check."""
        try:
            _ask(self.plan)
        except UnreachableError as error:
            if was_reachable:
                tell(f"{error}; the node keeps trying")
            return False
        except UsageError as error:  # it answers, but its TLS or a clock is wrong
            if self.last_warning != str(error):
                self.last_warning = str(error)
                tell(self.last_warning)
            return True
        if not was_reachable:
            tell(f"{self.address} answers again")
        return True

    def _ends(self) -> bool:
        """Whether this client must end: with `once`, after a connection, if a few requests have no answer."""
        if self.over or not (self.plan.once and self.ever_connected):
            return self.over
        for _ in range(ATTEMPTS):
            try:
                _ask(self.plan)
                return False
            except UnreachableError:
                time.sleep(ONCE_INTERVAL)
            except UsageError:
                return False
        tell(f"{self.address} has gone, so this client ends")
        self.over = True
        return True

    def _wait_for_server(self) -> None:
        """Wait for an answer of the server, or for the end by `once`; raises the errors of `_accept` and `ask`."""
        reported = False
        while True:
            try:
                _accept(_ask(self.plan), self.plan, self.mark)
                return
            except UnreachableError as error:
                if not reported:
                    tell(f"{error}; trying until it does")
                reported = True
                if self._ends():
                    return
                time.sleep(PAUSES[-1] / 3)

    def _explain(self, node: Child, connected: bool) -> None:
        """Print why the node ended; raises MosaicError if another start would not help."""
        output = node.output()
        if REFUSAL_MARK in output:
            self._report_refusal()
        elif connected:
            tell(f"the connection to {self.address} ended")
        elif UNAUTHORISED_MARK in output:
            tell(
                f"{self.address} does not accept this client's signature: is the clock right, and the key known there?"
            )
        else:
            tell(f"the node ended: {last_line(output)} (see {self.log})")

    def _report_refusal(self) -> None:
        """Print that the server refuses the key; raises MosaicError after `REFUSAL_LIMIT` seconds of refusals."""
        key = self.plan.site.server.key
        self.refusal_start = self.refusal_start or time.monotonic()
        if time.monotonic() - self.refusal_start > REFUSAL_LIMIT:
            raise MosaicError(
                f"{self.address} still refuses the key {key}: another client uses it (every client makes its own with "
                "mosaic deploy keys client), or the server does not know it (give it the .pub)"
            )
        tell(f"{self.address} refuses the key {key}: it counts as online, here a moment ago or elsewhere")


def _pauses() -> Iterator[float]:
    """Seconds before each attempt, without end."""
    return itertools.chain(PAUSES, itertools.repeat(PAUSES[-1]))


def tell(line: str) -> None:
    """Print one line for the user on stderr."""
    print(f"mosaic: {line}", file=sys.stderr, flush=True)
