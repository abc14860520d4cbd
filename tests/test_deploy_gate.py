"""A hostile server and a client behind the gate, as real processes: its code runs at a bare node, and not there."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from flower_processes import place, wait_for

pytest.importorskip("flwr")

from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from mosaic_fl.deploy import flower
from mosaic_fl.deploy.bundle import CLIENT_APP, SERVER_APP, pyproject
from mosaic_fl.deploy.gate import write_gate
from mosaic_fl.deploy.processes import Processes, call, free_port

SERVER = """
import json, os, time
from pathlib import Path
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    while len(nodes := list(grid.get_node_ids())) < 2:
        time.sleep(0.2)
    replies = grid.send_and_receive([Message(RecordDict(), node, "query") for node in nodes], timeout=40)
    said = {str(r.metadata.src_node_id): r.error.reason if r.has_error() else "done" for r in replies}
    out = Path(os.environ["EVIL_OUT"]) / "NAME.json"
    out.with_suffix(".partial").write_text(json.dumps(said))
    out.with_suffix(".partial").rename(out)
"""
CLIENT = """
import os
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

(Path(os.environ["FLWR_HOME"]) / "NAME-was-here").write_text("")
app = ClientApp()

@app.query()
def query(message, context):
    return Message(RecordDict({}), reply_to=message)
"""


def _bundle(folder: Path, client: str) -> bytes:
    """A bundle whose client app is the module `client`, which leaves a file when it is imported."""
    name = folder.name
    app = folder / "mosaic-fl-app"
    app.mkdir(parents=True)
    text = pyproject().replace(SERVER_APP, f"{name}_server:app").replace(CLIENT_APP, f"{client}:app")
    (app / "pyproject.toml").write_text(text)
    (app / f"{name}_server.py").write_text(SERVER.replace("NAME", name))
    module = app / f"{client.replace('.', '/')}.py"
    for package in reversed(module.relative_to(app).parents):
        (app / package).mkdir(exist_ok=True)
        if str(package) != ".":
            (app / package / "__init__.py").write_text("")
    module.write_text(CLIENT.replace("NAME", name))
    return build_fab_from_disk(app)


def _submit(address: str, ca: Path, content: bytes) -> None:
    """Start a run of a bundle as `flwr run` does, without its looking at the modules first."""
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    version = RuntimeVersionHttpInterceptor(component_name="flwr CLI")
    with ControlHttpClient.from_server_address(address, False, str(ca), [version]) as control:
        assert control.StartRun(StartRunRequest(fab=fab_to_proto(fab), federation="", app_spec="")).HasField("run_id")


def test_a_hostile_servers_code_runs_at_a_node_without_the_gate_and_not_behind_it(tmp_path: Path) -> None:
    port = free_port()
    with place(tmp_path, clients=2) as made, Processes() as processes:
        keys = made.folder / "server"
        tls = (keys / "server.pem", keys / "server.key", keys / "ca.crt")
        python = {"PATH": f"{Path(sys.executable).parent}:{flower.SYSTEM_PATH}"}  # no gate: what Flower does by itself
        hub_home, open_home, gated_home = (tmp_path / name for name in ("hub", "open", "gated"))
        hub_env = flower.environment(hub_home, None, {**python, "EVIL_OUT": str(tmp_path)})
        processes.start(
            "hub", flower.superlink("127.0.0.1", port, tmp_path / "state.db", tls, hub_env), tmp_path / "hub.log"
        )
        address = f"127.0.0.1:{port}"
        flower.write_connection(hub_home, address, tls[2])
        wait_for(lambda: "Uvicorn running" in (tmp_path / "hub.log").read_text(), 30, "the hub runs")
        nodes = []
        for k in range(2):
            said = _register(tmp_path / "clients" / f"client-{k}.pub", hub_env)
            nodes.append(str(said["node-id"]))
        gate = write_gate(tmp_path / "gate", "client")
        for k, home, env in (
            (0, open_home, flower.environment(open_home, None, python)),
            (1, gated_home, flower.environment(gated_home, gate)),
        ):
            home.mkdir()
            safety = (tls[2], tmp_path / f"site-{k}" / "client.key")
            node = flower.supernode(address, free_port(), tmp_path / f"site-{k}" / "site.toml", safety, env)
            processes.start(f"node-{k}", node, tmp_path / f"node-{k}.log")

        shadow = _bundle(
            tmp_path / "shadow", "mosaic_fl.engines.flower.client_app"
        )  # in the place of the installed one
        _submit(address, tls[2], shadow)
        wait_for((tmp_path / "shadow.json").exists, 60, "the replies")
        replies = json.loads((tmp_path / "shadow.json").read_text())
        assert "refused" in replies[nodes[1]]
        assert replies[nodes[0]] == "done"
        assert (open_home / "shadow-was-here").exists()  # so the bundle would have done it
        assert [path.name for path in gated_home.iterdir()] == ["source"]  # Flower's own, of its start
        log = (tmp_path / "node-1.log").read_text()
        assert "mosaic: the server's app bundle was refused: it brings " in log
    assert not made.left()


def _register(key: Path, env: Mapping[str, str]) -> dict[str, object]:
    text = call(flower.flwr("supernode", "register", key, flower.CONNECTION, "--format", "json", env=env))
    return json.loads(text[text.index("{") :])


def test_commands_of_flowers_other_apps_are_refused(tmp_path: Path) -> None:
    gate = write_gate(tmp_path / "gate", "client")
    assert gate.stat().st_mode & 0o077 == 0
    for name in ("flwr-agentapp", "flwr-serverapp", "flwr-simulation", "flwr-connector", "flwr-model", "flwr"):
        assert shutil.which(name, path=str(gate))
        assert os.system(f"{gate / name} 2>/dev/null") != 0  # noqa: S605
