"""`mosaic deploy server`: one federation's server, from its keys to its result, and nothing of it left behind."""

import contextlib
import json
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.deploy import flower, proxy
from mosaic_fl.deploy.bundle import NAME, write_bundle
from mosaic_fl.deploy.certificates import CA, CA_KEY, CERTIFICATE, KEY, make_server_keys
from mosaic_fl.deploy.gate import LOG, write_gate
from mosaic_fl.deploy.logs import Tail
from mosaic_fl.deploy.plan import ServerPlan, check_plan, check_port
from mosaic_fl.deploy.processes import Child, Command, Processes, call, ended_by_sigterm, free_port, last_line
from mosaic_fl.deploy.serving import Deployment
from mosaic_fl.engines.flower.limits import Limits
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.runs.ending import earlier_result
from mosaic_fl.runs.folder import claim
from mosaic_fl.runs.result import FILE, final_result
from mosaic_fl.storage.files import read_bytes, sha256
from mosaic_fl.storage.folder_lock import occupy
from mosaic_fl.storage.journal import Journal

STARTING = 60.0  # seconds that a process has until it listens
LOOK = 0.3  # seconds between looks at the run's folder
ASK = 15.0  # seconds between questions to the hub whether the run still runs
SAID = r"mosaic: |\{\"|\d\d:\d\d:\d\d "  # lines of the app's log that are for the user
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where one reaches a server that listens everywhere
GRACE = 5.0  # seconds that the app's files may come after the hub calls the run finished


@dataclass(frozen=True)
class Commands:
    """Every command of one start, in the order in which they run."""

    hub: Command
    register: tuple[Command, ...]
    face: Command | None
    run: Command
    listing: Command

    def shown(self) -> str:
        """One line a command."""
        face = [self.face] if self.face else []
        return "\n".join(command.shown() for command in (self.hub, *self.register, *face, self.run, self.listing))


def commands(plan: ServerPlan, known: dict[str, Path], hub_port: int) -> Commands:
    """What one start runs, its hub on `hub_port` of loopback."""
    home = plan.flower
    plain = flower.environment(home)
    more = {"MOSAIC_RUN": str(plan.out), LOG: str(home / "serverapp.log")}
    behind = flower.environment(home, home / "gate", more)
    name = flower.CONNECTION
    return Commands(
        flower.superlink(plan.hub_host, hub_port, home / "state.db", plan.tls(), behind),
        tuple(
            flower.flwr("supernode", "register", path, name, "--format", "json", env=plain) for path in known.values()
        ),
        None if plan.insecure else proxy.command(home / "proxy.json", {}),
        flower.flwr("run", home / NAME, name, "--format", "json", env=plain),
        flower.flwr("ls", name, "--format", "json", env=plain),
    )


def show(plan: ServerPlan) -> str:
    """Every command that `serve` would run, with its environment, once all is checked."""
    known = check_plan(plan)
    return commands(plan, known, _hub_port(plan)).shown()


def serve(plan: ServerPlan, *, resume: bool, force: bool, beat: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run the federation to its end; returns the content of its `result.json`. `beat` is called while it waits.

    Of a run that has its result, nothing is started again.

    Raises UsageError for what is wrong before anything starts; MosaicError where a process dies or the run fails, with
    the line and exit code that the run left. Every process is ended, however this ends.
    """
    occupy(plan.out)  # before the port is asked for, which a server that works there has
    known = check_plan(plan)
    options = {"clients": str(plan.clients), "test": str(plan.test) if plan.test else ""}
    sources = [path for path in (plan.test, plan.keys, plan.clients_keys) if path]
    claim(plan.out, "deploy", sha256(b"deploy"), plan.config, sources, options, resume=resume, force=force)
    if (ended := earlier_result(plan.out)) is not None:
        _remove_messages(plan)  # of a run that was killed between its result and its end
        return ended
    hub_port = _hub_port(plan)
    _write(plan, known, hub_port)
    before = _stamp(plan.out / FILE)
    steps = commands(plan, known, hub_port)
    with ended_by_sigterm(), Processes() as processes:
        _start(plan, steps, processes, hub_port)
        result = _wait(plan, steps, processes, before, beat)
    _remove_messages(plan)
    return result


def _hub_port(plan: ServerPlan) -> int:
    return plan.port if plan.insecure else free_port()


def _write(plan: ServerPlan, known: dict[str, Path], hub_port: int) -> None:
    """Everything the processes read; what an earlier start left of it is replaced."""
    home = plan.flower
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    _remove_database(plan)
    (plan.out / "failure.json").unlink(missing_ok=True)
    limits = Limits.of(dict(plan.limits), plan.min_clients)
    told = (plan.test, plan.json_logs, plan.metrics_port, plan.max_answer, plan.trusted)
    Deployment(plan.clients, limits, *told).save(plan.out)
    if not plan.insecure:
        _write_face(plan, known, hub_port)
    tls = plan.tls()
    host = f"[{plan.hub_host}]" if ":" in plan.hub_host else plan.hub_host
    flower.write_connection(home, f"{host}:{hub_port}", tls[2] if tls else None)
    write_bundle(home / NAME)
    write_gate(home / "gate", "server")


def _write_face(plan: ServerPlan, known: dict[str, Path], hub_port: int) -> None:
    """The hub's own certificate, for loopback alone, and the file of the proxy before it."""
    loopback = plan.flower / "loopback"
    keys = plan.keys
    assert keys is not None
    shutil.rmtree(loopback, ignore_errors=True)
    make_server_keys(["127.0.0.1", "localhost"], loopback)
    (loopback / CA_KEY).unlink()  # nobody signs with it again
    clients = {mark: proxy.public_pem(path) for mark, path in known.items()}
    own = (str(keys / CERTIFICATE), str(keys / KEY))
    proxy.Face(plan.host, plan.port, *own, hub_port, str(loopback / CA), clients).write(plan.flower / "proxy.json")


def _remove_messages(plan: ServerPlan) -> None:
    """Of a run that has ended: what clients sent is in Flower's database and in the stages."""
    _remove_database(plan)
    Journal(plan.out).clear()


def _remove_database(plan: ServerPlan) -> None:
    """Flower cannot go on with a run; nodes and keys of an earlier start must not outlive it either."""
    for path in plan.flower.glob("state.db*"):
        path.unlink(missing_ok=True)


def _start(plan: ServerPlan, steps: Commands, processes: Processes, hub_port: int) -> None:
    log = plan.flower / "superlink.log"
    # Its own children end when it is gone; it holds nothing that a slow end would save.
    _listening(processes.start("flower-superlink", steps.hub, log, signal.SIGKILL), plan.hub_host, hub_port)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_answer, steps.register))
    if steps.face:
        check_port(plan.host, plan.port, "--port")
        face = processes.start("proxy", steps.face, plan.flower / "proxy.log", signal.SIGKILL)
        _listening(face, ANY.get(plan.host, plan.host), plan.port)
    print(f"mosaic: waiting for {plan.clients} clients at {plan.host}:{plan.port}", file=sys.stderr, flush=True)
    _answer(steps.run)


def _listening(child: Child, host: str, port: int) -> None:
    """Wait until `child` listens; raises MosaicError where it ends or does not."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if child.process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
            return
        time.sleep(0.05)
    raise MosaicError(f"{child.name} does not listen on {host}:{port}: {last_line(child.output())} (see {child.log})")


def _answer(command: Command) -> dict[str, Any]:
    """What a `flwr` command said as JSON; raises MosaicError with its message where it failed."""
    text = call(command)
    try:
        said = json.loads(text[text.index("{") :])
    except (ValueError, RecursionError) as error:
        raise MosaicError(f"{' '.join(command.words[:3])} gave no answer: {last_line(text)}") from error
    if not isinstance(said, dict) or not said.get("success"):
        raise MosaicError(f"{' '.join(command.words[1:3])} failed: {said.get('error-message', text)}")
    return said


def _stamp(path: Path) -> tuple[int, int] | None:
    """What tells one writing of a file from another."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none, or only a part of it yet."""
    with contextlib.suppress(UsageError, ValueError, RecursionError):
        said = json.loads(read_bytes(path))
        return said if isinstance(said, dict) else None
    return None


def _wait(
    plan: ServerPlan,
    steps: Commands,
    processes: Processes,
    before: tuple[int, int] | None,
    beat: Callable[[], None],
) -> dict[str, Any]:
    """Wait for this start's result.json or failure.json, telling what the app tells."""
    failure = plan.out / "failure.json"
    tail = Tail(plan.flower / "serverapp.log", SAID)
    ask_at = time.monotonic() + ASK
    ended_at = None
    while True:
        time.sleep(LOOK)
        tail.relay()
        beat()
        if said := _read(failure):
            raise (UsageError if said.get("exit_code") == 2 else MosaicError)(str(said.get("error")))
        if _stamp(plan.out / FILE) not in (None, before) and (result := final_result(plan.out)) is not None:
            return result
        if child := processes.dead():
            raise MosaicError(f"{child.name} ended by itself: {last_line(child.output())}; go on with --resume")
        if ended_at is not None and time.monotonic() - ended_at > GRACE:
            raise MosaicError(f"the server's app ended without a result: see {plan.flower / 'serverapp.log'}")
        if ended_at is None and time.monotonic() > ask_at:
            ask_at = time.monotonic() + ASK
            if _finished(steps.listing):
                ended_at = time.monotonic()


def _finished(listing: Command) -> bool:
    """Whether the hub calls every run finished."""
    try:
        runs = _answer(listing).get("runs") or []
    except MosaicError:
        return False  # it is busy: the next question will tell
    return bool(runs) and all(str(run.get("status", "")).startswith("finished") for run in runs)
