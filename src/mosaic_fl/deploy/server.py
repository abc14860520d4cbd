"""`mosaic deploy server`: start the hub, the proxy and the run, wait for the result, and end all processes."""

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
from mosaic_fl.deploy.leftovers import clear, remove_database
from mosaic_fl.deploy.logs import Tail
from mosaic_fl.deploy.plan import ServerPlan, check_plan, check_port
from mosaic_fl.deploy.processes import Child, Command, Processes, call, free_port, interrupt_on_sigterm, last_line
from mosaic_fl.deploy.serving import Deployment
from mosaic_fl.engines.flower.limits import Limits
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.runs.ending import earlier_result
from mosaic_fl.runs.folder import claim
from mosaic_fl.runs.result import FILE, final_result
from mosaic_fl.storage.files import read_bytes, sha256
from mosaic_fl.storage.folder_lock import occupy

START_TIMEOUT = 60.0  # seconds for a process to listen
POLL = 0.3  # seconds between checks of the run's folder
HUB_INTERVAL = 15.0  # seconds between requests to the hub for the state of the run
USER_LINES = r"mosaic: |\{\"|\d\d:\d\d:\d\d "  # the beginnings of lines of the app's log for the user
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  addresses at which a server that listens everywhere answers
GRACE = 5.0  # seconds for the app's files to appear after the hub calls the run finished


@dataclass(frozen=True)
class Commands:
    """Every command of one start, in the order in which they run."""

    hub: Command
    register: tuple[Command, ...]
    face: Command | None
    run: Command
    listing: Command

    def shell_lines(self) -> str:
        """One line for each command."""
        face = [self.face] if self.face else []
        return "\n".join(command.shell_line() for command in (self.hub, *self.register, *face, self.run, self.listing))


def commands(plan: ServerPlan, client_keys: dict[str, Path], hub_port: int) -> Commands:
    """The commands of one start, with the hub on `hub_port` of loopback; `client_keys` are paths by fingerprint."""
    home = plan.flower
    tool_env = flower.environment(home)
    more = {"MOSAIC_RUN": str(plan.out), LOG: str(home / "serverapp.log")}
    hub_env = flower.environment(home, home / "gate", more)
    name = flower.CONNECTION
    return Commands(
        flower.superlink(plan.hub_host, hub_port, home / "state.db", plan.tls(), hub_env),
        tuple(
            flower.flwr("supernode", "register", path, name, "--format", "json", env=tool_env)
            for path in client_keys.values()
        ),
        None if plan.insecure else proxy.command(home / "proxy.json", {}),
        flower.flwr("run", home / NAME, name, "--format", "json", env=tool_env),
        flower.flwr("ls", name, "--format", "json", env=tool_env),
    )


def command_lines(plan: ServerPlan) -> str:
    """Check the plan; returns every command that `serve` would run, with its environment, one a line."""
    client_keys = check_plan(plan)
    return commands(plan, client_keys, _hub_port(plan)).shell_lines()


def serve(plan: ServerPlan, *, resume: bool, force: bool, beat: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run the federation to its end; returns the content of its `result.json`. `beat` is called during the wait.

    If the run has its result already, nothing is started.

    Raises UsageError for wrong options or files before anything starts. Raises MosaicError if a process dies or the run
    fails, with the message and exit code of the run. All processes end with this function, for any reason.
    """
    occupy(plan.out)  # before the check of the port, which another server of this folder would hold
    client_keys = check_plan(plan)
    options = {"clients": str(plan.clients), "test": str(plan.test) if plan.test else ""}
    if plan.signers:  # what came without signatures stays out of a run that asks for them
        options["signed"] = "yes"
    sources = [path for path in (plan.test, plan.keys, plan.clients_keys, plan.signers) if path]
    claim(plan.out, "deploy", sha256(b"deploy"), plan.config, sources, options, resume=resume, force=force)
    if (previous := earlier_result(plan.out)) is not None:
        clear(plan)  # the run may have been killed between its result and its end
        return previous
    hub_port = _hub_port(plan)
    _write(plan, client_keys, hub_port)
    earlier_stamp = _stamp(plan.out / FILE)
    steps = commands(plan, client_keys, hub_port)
    try:
        with interrupt_on_sigterm(), Processes() as processes:
            _start(plan, steps, processes, hub_port)
            result = _wait(plan, steps, processes, earlier_stamp, beat)
    finally:
        remove_database(plan)  # however it ended: what was received is in the run's stages
    clear(plan)
    return result


def _hub_port(plan: ServerPlan) -> int:
    return plan.port if plan.insecure else free_port()


def _write(plan: ServerPlan, client_keys: dict[str, Path], hub_port: int) -> None:
    """Write all files that the processes read; those of an earlier start are replaced."""
    home = plan.flower
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    remove_database(plan)
    (plan.out / "failure.json").unlink(missing_ok=True)
    limits = Limits.of(dict(plan.limits), plan.min_clients)
    settings = (plan.test, plan.json_logs, plan.metrics_port, plan.max_answer, plan.trusted, plan.signers)
    Deployment(plan.clients, limits, *settings).save(plan.out)
    if not plan.insecure:
        _write_face(plan, client_keys, hub_port)
    tls = plan.tls()
    host = f"[{plan.hub_host}]" if ":" in plan.hub_host else plan.hub_host
    flower.write_connection(home, f"{host}:{hub_port}", tls[2] if tls else None)
    write_bundle(home / NAME)
    write_gate(home / "gate", "server")


def _write_face(plan: ServerPlan, client_keys: dict[str, Path], hub_port: int) -> None:
    """Write the hub's own certificate, for loopback only, and the settings of the proxy in front of it."""
    loopback = plan.flower / "loopback"
    keys = plan.keys
    assert keys is not None
    shutil.rmtree(loopback, ignore_errors=True)
    make_server_keys(["127.0.0.1", "localhost"], loopback)
    (loopback / CA_KEY).unlink()  # it signs no other certificate
    clients = {mark: proxy.public_pem(path) for mark, path in client_keys.items()}
    own = (str(keys / CERTIFICATE), str(keys / KEY))
    proxy.Face(plan.host, plan.port, *own, hub_port, str(loopback / CA), clients).write(plan.flower / "proxy.json")


def _start(plan: ServerPlan, steps: Commands, processes: Processes, hub_port: int) -> None:
    """Start the hub, register the keys, start the proxy and then the run."""
    log = plan.flower / "superlink.log"
    # SIGKILL: the hub has nothing to save, and its own children end with it.
    _wait_for_port(processes.start("flower-superlink", steps.hub, log, signal.SIGKILL), plan.hub_host, hub_port)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_answer, steps.register))
    if steps.face:
        check_port(plan.host, plan.port, "--port")
        face = processes.start("proxy", steps.face, plan.flower / "proxy.log", signal.SIGKILL)
        _wait_for_port(face, ANY.get(plan.host, plan.host), plan.port)
    print(f"mosaic: waiting for {plan.clients} clients at {plan.host}:{plan.port}", file=sys.stderr, flush=True)
    _answer(steps.run)


def _wait_for_port(child: Child, host: str, port: int) -> None:
    """Wait until `child` listens; raises MosaicError if it ends or does not listen in time."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if child.process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
            return
        time.sleep(0.05)
    raise MosaicError(f"{child.name} does not listen on {host}:{port}: {last_line(child.output())} (see {child.log})")


def _answer(command: Command) -> dict[str, Any]:
    """Run a `flwr` command; returns its answer, a JSON object. Raises MosaicError with its message if it fails."""
    text = call(command)
    try:
        answer = json.loads(text[text.index("{") :])
    except (ValueError, RecursionError) as error:
        raise MosaicError(f"{' '.join(command.words[:3])} gave no answer: {last_line(text)}") from error
    if not isinstance(answer, dict) or not answer.get("success"):
        raise MosaicError(f"{' '.join(command.words[1:3])} failed: {answer.get('error-message', text)}")
    return answer


def _stamp(path: Path) -> tuple[int, int] | None:
    """The inode and the time of a file, which differ after it is written anew; None without a file."""
    with contextlib.suppress(OSError):
        stat = path.stat()
        return stat.st_ino, stat.st_mtime_ns
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is no file, or no complete object in it."""
    with contextlib.suppress(UsageError, ValueError, RecursionError):
        content = json.loads(read_bytes(path))
        return content if isinstance(content, dict) else None
    return None


def _wait(
    plan: ServerPlan,
    steps: Commands,
    processes: Processes,
    earlier_stamp: tuple[int, int] | None,
    beat: Callable[[], None],
) -> dict[str, Any]:
    """Wait for the result.json or failure.json of this start, and print the app's lines for the user."""
    failure = plan.out / "failure.json"
    tail = Tail(plan.flower / "serverapp.log", USER_LINES)
    ask_at = time.monotonic() + HUB_INTERVAL
    end_time = None
    while True:
        time.sleep(POLL)
        tail.relay()
        beat()
        if content := _read(failure):
            raise (UsageError if content.get("exit_code") == 2 else MosaicError)(str(content.get("error")))
        if _stamp(plan.out / FILE) not in (None, earlier_stamp) and (result := final_result(plan.out)) is not None:
            return result
        if child := processes.dead():
            raise MosaicError(f"{child.name} ended by itself: {last_line(child.output())}; go on with --resume")
        if end_time is not None and time.monotonic() - end_time > GRACE:
            raise MosaicError(f"the server's app ended without a result: see {plan.flower / 'serverapp.log'}")
        if end_time is None and time.monotonic() > ask_at:
            ask_at = time.monotonic() + HUB_INTERVAL
            if _runs_ended(steps.listing):
                end_time = time.monotonic()


def _runs_ended(listing: Command) -> bool:
    """Whether the hub says that every run is finished."""
    try:
        runs = _answer(listing).get("runs") or []
    except MosaicError:
        return False  # the hub is busy: the next request will show it
    return bool(runs) and all(str(run.get("status", "")).startswith("finished") for run in runs)
