"""`mosaic deploy` with real processes: a run over TLS and keys, the doors that stay shut, and nothing left behind."""

import http.client
import json
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from command import mosaic
from flower_processes import MODEL, TINY, Place, ended, place, wait_for
from mosaic_fl.config import Config
from mosaic_fl.deploy.certificates import make_server_keys
from mosaic_fl.deploy.plan import ServerPlan
from mosaic_fl.deploy.processes import Command, Processes, descendants, parent
from mosaic_fl.deploy.proxy import FLEET
from mosaic_fl.deploy.reach import UnreachableError, ask
from mosaic_fl.deploy.server import _wait, commands
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage.container import read_bytes
from mosaic_fl.storage.encryption import is_encrypted
from mosaic_fl.storage.keys import make_key
from proxy_bench import sign

pytest.importorskip("flwr")
WORDS = ("--test", "test.parquet", "--trust", "ward_nets:net", "--signers", "signers")
OWN = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    """A server that waits for two clients, after one that was killed."""
    with place(tmp_path_factory.mktemp("deploy")) as made:
        (made.folder / "ward_nets.py").write_text(OWN)
        (made.folder / "signers").mkdir()
        for k in range(2):
            public = make_key(made.folder / f"site-{k}" / "sign.key")
            (made.folder / "signers" / f"{k}.pub").write_text(public.line)
        killed = made.server(*TINY, *WORDS)
        wait_for(lambda: _answers(made), 180, "the server answers")
        assert len(made.left()) > 2
        killed.send_signal(signal.SIGKILL)
        wait_for(lambda: not made.left(), 30, "no process is left")
        killed.communicate()
        made.started.clear()
        made.server(*TINY, *WORDS, "--resume")
        wait_for(lambda: _answers(made), 180, "the server answers again")
        yield made
    wait_for(lambda: not made.left(), 30, "no process is left")


def _answers(made: Place) -> bool:
    assert made.started[0].poll() is None, made.started[0].communicate()[0]
    try:
        ask("127.0.0.1", made.port, made.folder / "server" / "ca.crt")
    except UnreachableError:
        return False
    return True


def _post(made: Place, path: str, headers: Mapping[str, str] | None = None) -> int:
    context = ssl.create_default_context(cafile=str(made.folder / "server" / "ca.crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", made.port, context=context, timeout=10)
    connection.putrequest("POST", path, skip_accept_encoding=True)
    for name, value in {"Content-Length": "0", **(headers or {})}.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse().status


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/control/list-runs?x=/v1/fleet/pull-messages",
        "/v1/runtime/acquire-task",
        "/v1/runtime/responses",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/pull-messages/../../control/start-run",
        "//v1/control/start-run",
        "/docs",
        "/openapi.json",
        "/",
    ],
)
def test_the_proxy_lets_nothing_through_but_what_a_node_needs(running: Place, path: str) -> None:
    assert _post(running, path) in (400, 403, 404)


def test_a_nodes_calls_reach_the_hub_and_need_a_signature(running: Place) -> None:
    for call in FLEET:
        assert _post(running, f"/v1/fleet/{call}") == 401
        # What matters is that it is the hub that answers: it wants a body in its own form.
        assert _post(running, f"/v1/fleet/{call}", sign(running.folder / "site-0" / "client.key")) == 415
        assert _post(running, f"/v1/fleet/{call}", sign(running.folder / "site-2" / "client.key")) == 401  # unknown
    assert _post(running, "/health") == 403  # Flower's own page: no node asks for it


def test_what_cannot_work_ends_in_one_line(running: Place) -> None:
    make_server_keys(["127.0.0.1"], running.folder / "other")
    running.write_site(0, certificate="../other/ca.crt")
    with running.guests():
        wrong_authority, unknown_key = running.client(0), running.client(2)
        port_in_use = running.server(out="other-run")
        same_folder = running.server(*TINY, *WORDS, "--resume")
        code, said = ended(wrong_authority)
        assert (code, said.count("\n")) == (2, 1)
        assert "was not signed by" in said
        code, said = ended(unknown_key)
        assert (code, said.count("\n")) == (1, 1)
        assert "does not know the key" in said
        code, said = ended(port_in_use)
        assert (code, said.count("\n")) == (2, 1)
        assert f"port {running.port} of 127.0.0.1 is in use" in said
        assert not (running.folder / "other-run").exists()
        code, said = ended(same_folder)
        assert (code, said.count("\n")) == (2, 1)
        assert "another process works in" in said


def test_a_deployed_run_gives_the_bytes_of_the_local_engine(running: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a server that was killed, and beside clients that were refused: the same seed, the same result.

    One site has a model of its own, which the server's operator has let in. Both sign what they say.
    """
    running.write_site(0, sign="sign.key")
    running.write_site(1, sign="sign.key", model="ward_nets:net")
    monkeypatch.syspath_prepend(running.folder)
    clients = [running.client(k, "--once") for k in range(2)]
    code, said = ended(running.started[0], 400)
    assert code == 0, said
    words = ("--clients", "2", "--split", "iid", "--models", f"{MODEL},ward_nets:net", *TINY)
    mosaic("run", *words, "--out", "local", cwd=running.folder)
    deployed, local = running.folder / "run", running.folder / "local"
    for name in ("global_model.safetensors", *(f"contributions/client-00{k}.contribution" for k in range(2))):
        assert (deployed / name).read_bytes() == (local / name).read_bytes()
    ours, theirs = (json.loads((folder / "result.json").read_text()) for folder in (deployed, local))
    same = ("accuracy", "teacher_accuracy", "validation_accuracy", "local_accuracy", "recall", "bytes_up", "samples")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert ours["left_out"] == []
    assert ours["cross_site"] == theirs["cross_site"]
    assert [model["model"] for model in ours["cross_site"]["sites"][1]["models"]] == ["global", "own"]
    for k, client in enumerate(clients):
        code, said = ended(client, 30)
        assert code == 0, said
        assert "connected to" in said
        model = running.folder / f"site-{k}" / "site-client" / "global_model.safetensors"
        assert model.read_bytes() == (local / "global_model.safetensors").read_bytes()
    assert not running.left()
    left = [deployed / "flower" / "state.db", deployed / "stages" / "x"]  # what clients sent
    assert not any(path.exists() for path in left)
    for path in left:  # as after a power cut between the result and the end
        path.parent.mkdir(exist_ok=True)
        path.touch()
    server = make_key(running.folder / "server.key").line
    assert ended(running.server(*TINY, *WORDS, "--resume", "--encrypt-for", server), 60)[0] == 0
    assert not any(path.exists() for path in left)
    sent = sorted((deployed / "contributions").iterdir())
    assert all(is_encrypted(path.read_bytes()) for path in sent)
    private = running.folder / "server.key"
    assert [read_bytes(path, private) for path in sent] == [
        (local / "contributions" / path.name).read_bytes() for path in sent
    ]


@pytest.mark.parametrize(("code", "kind"), [(1, MosaicError), (2, UsageError)])
def test_a_failure_of_the_app_is_this_commands(tmp_path: Path, code: int, kind: type[MosaicError]) -> None:
    (tmp_path / "failure.json").write_text(json.dumps({"error": "1 of 2 clients joined", "exit_code": code}))
    plan = ServerPlan(Config(), tmp_path, 2, 2, "127.0.0.1", 1)
    with Processes() as processes, pytest.raises(MosaicError, match="^1 of 2 clients joined$") as caught:
        _wait(plan, commands(plan, {}, 1), processes, None, lambda: None)
    assert type(caught.value) is kind


def test_a_process_that_ends_by_itself_is_named(tmp_path: Path) -> None:
    plan = ServerPlan(Config(), tmp_path, 2, 2, "127.0.0.1", 1)
    with Processes() as processes:
        processes.start("hub", Command(("/bin/sh", "-c", "echo no luck")), tmp_path / "log")
        with pytest.raises(MosaicError, match="^hub ended by itself: no luck; go on with --resume"):
            _wait(plan, commands(plan, {}, 1), processes, None, lambda: None)


def test_grandchildren_that_will_not_end_are_ended(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; (trap '' TERM; sleep 97) & sleep 98"
    with Processes() as processes:
        child = processes.start("stubborn", Command(("/bin/sh", "-c", stubborn)), tmp_path / "log")
        wait_for(lambda: len(descendants(child.process.pid)) >= 2, 10, "the processes run")
        family = {child.process.pid, *descendants(child.process.pid)}
        child.process.kill()
    assert not [pid for pid in family if parent(pid) is not None]
