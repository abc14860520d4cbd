"""A client of the flower engine: what it keeps on its disk, who it says it is, and what it tells nobody."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="the flower extra is not installed")

from flwr.app import Error, Message

from flower_bench import CPU, LIMITS, Bench, three_sites
from flower_grid import Node
from mosaic_fl.client.contribute import Site
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.flower.wire import Answer, pack_answer, unpack_answer
from mosaic_fl.errors import MosaicError
from mosaic_fl.numerics.states import copy_state


@pytest.fixture(scope="module")
def sites(digits: Dataset) -> list[Site]:
    return three_sites(digits)


def test_a_large_contribution(sites: list[Site], tmp_path: Path) -> None:
    """Flower's own cutting in pieces is tested with real processes; this is our side of it."""
    body = bytes(300 * 2**20)
    assert unpack_answer(pack_answer(Answer("r", "d", 0, body=body))).body == body


def test_a_client_that_lost_its_memory_is_sent_the_experts_again(sites: list[Site], tmp_path: Path) -> None:
    from mosaic_fl.models.fusion import Aggregator

    bench = Bench(sites, tmp_path)
    clients = bench.open()
    contributions = clients.contribute()
    state = copy_state(Aggregator(3, 10, 20))
    sizes = []
    for round in range(3):
        if round == 1:
            for kept in (tmp_path / "site-1").rglob("*.outputs"):
                kept.unlink()
        sizes.append([f.client for f in clients.fit_fusion(contributions, state, range(3), {"steps": 1}, round)])
    assert sizes == [[0, 1, 2]] * 3
    assert bench.nodes[0].asked.count("fusion") == 3
    assert bench.nodes[1].asked.count("fusion") == 4  # it was asked again, with the experts


def test_a_hello_that_fails_is_said_again(sites: list[Site]) -> None:
    bench = Bench(sites)
    failures = [Error(8), Error(8)]
    bench.nodes[1].faults["hello"] = lambda node, request, reply: failures.pop() if failures else reply
    bench.limits = replace(LIMITS, join=200)
    clients = bench.open()
    assert sorted(clients.exchange.roll.members) == [0, 1, 2]
    assert bench.nodes[1].asked == ["hello"] * 3


def test_two_sites_with_one_number(sites: list[Site]) -> None:
    bench = Bench(sites)
    bench.nodes.append(Node(1, sites[1], node_id=77))
    bench.grid.nodes = bench.nodes
    bench.nodes, nodes = bench.nodes[:3], bench.nodes
    clients = bench.open()
    assert clients.exchange.roll.members[1].node == 1001
    assert any("client 1 is here already" in facts["reason"] for _, facts in bench.events("refused"))
    assert nodes[3].asked == ["hello"]


def test_a_number_belongs_to_the_key_that_came_first(sites: list[Site], tmp_path: Path) -> None:
    """Also after the server was started again, and while the rightful site is away."""
    bench = Bench(sites, tmp_path)
    for k, node in enumerate(bench.nodes):
        node.public_key = bytes([k])
    bench.open()
    bench.nodes[1].away_until = 1e9
    thief = Node(1, sites[1], node_id=77, public_key=b"thief")
    bench.grid.nodes = [*bench.nodes, thief]
    again = bench.open()
    assert [c.client for c in again.contribute()] == [0, 2]
    assert any("has another key" in facts["reason"] for _, facts in bench.events("refused"))


def test_a_contribution_that_the_run_went_on_with_must_stay(sites: list[Site], tmp_path: Path) -> None:
    bench = Bench(sites, tmp_path)
    bench.open().contribute()
    (tmp_path / "server" / "contributions" / "client-001.contribution").unlink()
    with pytest.raises(MosaicError, match="contribution of client 1, with which this run went on, is gone"):
        bench.open().contribute()


def test_what_leaves_a_client_names_no_file_of_its_own(sites: list[Site]) -> None:
    from flwr.app import Context, RecordDict

    from mosaic_fl.engines.flower.app import make_app
    from mosaic_fl.engines.flower.wire import Request, pack_request
    from mosaic_fl.errors import UsageError

    def desk(_: Any) -> Any:
        raise UsageError("/home/alice/patients.parquet does not exist")

    bench = Bench(sites)  # it gives messages their sender
    message = Message(pack_request(Request("r", "fit", 1)), 5, "train")
    message.metadata.__dict__["_message_id"] = "m"
    answer = unpack_answer(make_app(desk)(message, Context(1, 5, {}, RecordDict(), {})).content)
    assert (answer.run, answer.client) == ("r", 1)
    assert answer.reason == "its site file is wrong: see its log"
    assert bench.told == []


@pytest.mark.parametrize("task", ["/etc/passwd", "../../x", "hello/.."])
def test_the_name_of_a_task_is_no_path(sites: list[Site], tmp_path: Path, task: str) -> None:
    from mosaic_fl.engines.flower.client import Desk
    from mosaic_fl.engines.flower.wire import Request

    desk = Desk(0, lambda: sites[0], CPU, tmp_path)
    assert "refuses the request" in desk.answer(Request("r", task, 0)).reason
    assert not list(tmp_path.glob("work"))


def test_a_full_disk_at_a_client_loses_no_work(
    sites: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mosaic_fl.engines.flower import answer_file

    def full(*_: object) -> None:
        raise MosaicError("cannot write: no space left")

    monkeypatch.setattr(answer_file, "write", full)
    bench = Bench(sites)
    for node in bench.nodes:
        node.folder = tmp_path / f"site-{node.client}"
    assert len(bench.open().contribute()) == 3
