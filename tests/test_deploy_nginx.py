"""The documented nginx.conf, with a real nginx before the server's own proxy: the same doors, shut twice."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("flwr")

from flower_processes import wait_for
from mosaic_fl.deploy.processes import Command, Processes, free_port
from mosaic_fl.deploy.proxy import FLEET
from proxy_bench import CALL, OTHERS, Bench, listens, proxied

CONFIGURATION = Path(__file__).parents[1] / "docs" / "deploy" / "nginx.conf"
PLACES = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin"
# `.ci/run` hides it to see what a newcomer sees.
NGINX = None if os.environ.get("MOSAIC_TESTS_WITHOUT_NGINX") else shutil.which("nginx", path=PLACES)


def test_the_documented_configuration_lets_the_same_calls_through() -> None:
    (calls,) = re.findall(r"\^/v1/fleet/\(([a-z|-]+)\)\$", CONFIGURATION.read_text())
    assert tuple(calls.split("|")) == FLEET


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """nginx before a proxy and its hub; the bench asks at nginx's port."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    with proxied(folder) as behind, Processes() as processes:
        text = CONFIGURATION.read_text()
        for there, here in (
            ("/var/lib/mosaic/nginx", str(folder)),
            ("/etc/mosaic/server", str(folder / "server")),
            ("0.0.0.0:8443", f"127.0.0.1:{port}"),
            ("127.0.0.1:18000", f"127.0.0.1:{behind.face.port}"),
            ("mosaic.example.org", "localhost"),
        ):
            assert there in text
            text = text.replace(there, here)
        (folder / "nginx.conf").write_text(text)
        words = (str(NGINX), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf"))
        nginx = processes.start("nginx", Command(words), folder / "nginx.log")
        wait_for(lambda: nginx.process.poll() is not None or listens(port), 20, "nginx listens")
        assert nginx.process.poll() is None, nginx.output()
        yield replace(behind, face=replace(behind.face, port=port))


@pytest.mark.nginx
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx-light), or hidden")
class TestNginx:
    """All that needs a real nginx."""

    @pytest.mark.parametrize("target", OTHERS)
    def test_no_other_address_passes_even_signed(self, front: Bench, target: str) -> None:
        front.came.clear()
        for method in ("POST", "GET", "CONNECT"):
            head = front.head(f"{method} {target} HTTP/1.1", "Content-Length: 0")
            # nginx joins slashes and dots before it compares, and looks at no host in a target: what it takes for one
            # of the ten calls goes on as that call, written anew.
            assert front.says(f"{head}\r\n".encode()) in (400, 403, 405, 422)
        assert {path for _, path, _, _ in front.came} <= {CALL}

    def test_a_nodes_calls_reach_the_hub_and_need_a_signature(self, front: Bench) -> None:
        for call in FLEET:
            front.came.clear()
            body = call.encode() * 100_000
            assert front.ask("POST", f"/v1/fleet/{call}", front.signed(), body) == (422, b"hub")
            assert [(path, content) for _, path, _, content in front.came] == [(f"/v1/fleet/{call}", body)]
            assert front.ask("POST", f"/v1/fleet/{call}", front.signed("unknown"), b"x")[0] == 401

    def test_a_client_learns_whether_its_key_is_known(self, front: Bench) -> None:
        (mark,) = front.face.clients
        status, body = front.ask("GET", "/mosaic/hello")
        assert status == 200
        assert mark.encode() in body
