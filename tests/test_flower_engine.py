"""The flower engine over a grid in one process: the same bytes as the local engine, and faults of clients."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("flwr", reason="the flower extra is not installed")

from flwr.app import Array, ArrayRecord, Error, Message

from flower_bench import CPU, LIMITS, QUICK, Bench, start, three_sites
from flower_grid import Fault, InProcessGrid, Node
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.flower.wire import Answer, pack_answer, unpack_answer
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.federation import FitJob
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.registries import GENERATORS
from mosaic_fl.storage.journal import Journal


@pytest.fixture(scope="module")
def sites(digits: Dataset) -> list[Site]:
    return three_sites(digits)


@pytest.fixture(scope="module")
def local(sites: list[Site]) -> dict[str, Any]:
    """What the local engine gives."""
    with LocalFederation(sites, Config().with_values(QUICK), CPU, Journal()) as clients:
        state = start(sites)
        made = [c.to_bytes() for c in clients.contribute()]
        fitted = clients.fit([FitJob(k, "mlp:8", state, {"lr": 1e-3}) for k in range(3)], 0)
        return {"contributions": made, "fitted": fitted, "confusions": clients.evaluate("mlp:8", state)}


def test_the_same_bytes_as_the_local_engine(sites: list[Site], local: dict[str, Any], tmp_path: Path) -> None:
    bench = Bench(sites, tmp_path)
    clients, state = bench.open(), start(sites)
    assert list(clients.architectures) == ["mlp:8", "cnn:4", "mlp:8"]
    assert clients.schema == sites[0].data.schema
    assert [c.to_bytes() for c in clients.contribute()] == local["contributions"]
    fitted = clients.fit([FitJob(k, "mlp:8", state, {"lr": 1e-3}) for k in range(3)], 0)
    for ours, theirs in zip(fitted, local["fitted"], strict=True):
        assert (ours.client, ours.samples, ours.validation) == (theirs.client, theirs.samples, theirs.validation)
        assert all(torch.equal(ours.state[name], theirs.state[name]) for name in theirs.state)
        assert torch.equal(ours.class_counts, theirs.class_counts)
    for ours, theirs in zip(clients.evaluate("mlp:8", state), local["confusions"], strict=True):
        assert torch.equal(ours, theirs)
    model = GlobalModel("mlp:8", clients.schema, state)
    assert torch.equal(torch.stack(list(clients.deliver(model).values())), torch.stack(local["confusions"]))
    assert (tmp_path / "site-1" / "global_model.safetensors").read_bytes() == model.to_bytes()


def test_settings_that_are_none_are_refused_at_the_client(sites: list[Site]) -> None:
    clients = Bench(sites).open()
    with pytest.raises(MosaicError, match="0 of 3 clients"):
        clients.fit([FitJob(0, "mlp:8", start(sites), {"max_steps": -1})], 0)


def error(code: int) -> Fault:
    return lambda node, request, reply: Error(code)


def changed(change: Callable[[Answer], Answer]) -> Fault:
    def fault(node: Node, request: Message, reply: Message) -> Message:
        return Message(pack_answer(change(unpack_answer(reply.content))), reply_to=request)

    return fault


def truncated(node: Node, request: Message, reply: Message) -> Message:
    content = reply.content
    body = content["body"]["body"].data
    content["body"] = ArrayRecord({"body": Array("uint8", (10,), "mosaic-fl.bytes", body[:-10])})
    return Message(content, reply_to=request)


def nan(answer: Answer) -> Answer:
    """The answer with NaN where weights were, its hashes made anew by one who wants to."""
    import json

    from safetensors.torch import load, save

    from mosaic_fl.storage import container

    header = json.loads(answer.body[8 : 8 + int.from_bytes(answer.body[:8], "little")])
    text = json.loads(header["__metadata__"]["mosaic-fl"])["content"]
    tensors = {
        name: torch.full_like(t, torch.nan) if t.is_floating_point() else t for name, t in load(answer.body).items()
    }
    envelope = json.dumps({"content": text, "sha256": container._digest(text, tensors)})
    return replace(answer, body=save(tensors, {"mosaic-fl": envelope}))


FAULTS: dict[str, tuple[Fault, str]] = {
    "error": (error(2), "its app failed"),
    "silent": (lambda node, request, reply: None, "no answer within"),
    "late": (lambda node, request, reply: 1e6, "no answer within"),
    "failed": (changed(lambda a: replace(a, reason="its work failed: see its log", body=b"")), "its work failed"),
    "NaN": (changed(nan), "non-finite values"),
    "truncated": (truncated, "SHA-256 does not match"),
    "oversized": (changed(lambda a: replace(a, body=a.body + bytes(2**20))), "at most 1,048,576 are read"),
    "foreign run": (changed(lambda a: replace(a, run="another")), "it is of another run"),
    "foreign client": (changed(lambda a: replace(a, client=2)), "it answers another request"),
    "no answer": (lambda node, request, reply: Message(request.content, reply_to=request), "not an answer"),
    "empty": (changed(lambda a: replace(a, body=b"")), "not a mosaic-fl file"),
}


@pytest.mark.parametrize("task", ["contribute", "fit"])
@pytest.mark.parametrize("name", FAULTS)
def test_the_others_go_on(sites: list[Site], local: dict[str, Any], task: str, name: str) -> None:
    bench = Bench(sites)
    fault, said = FAULTS[name]
    bench.nodes[1].faults[task] = fault
    clients, state = bench.open(), start(sites)
    if task == "contribute":
        made = clients.contribute()
        assert [c.to_bytes() for c in made] == [local["contributions"][k] for k in (0, 2)]
    else:
        fitted = clients.fit([FitJob(k, "mlp:8", state, {"lr": 1e-3}) for k in range(3)], 0)
        assert [f.client for f in fitted] == [0, 2]
    left = clients.exchange.absences
    assert [one.client for one in left] == [1]
    assert said in left[0].reason
    assert bench.grid.time <= 610


def test_who_lied_is_not_asked_again_and_who_failed_is(sites: list[Site]) -> None:
    bench = Bench(sites)
    bench.nodes[0].faults["contribute"] = FAULTS["error"][0]
    bench.nodes[1].faults["contribute"] = FAULTS["truncated"][0]
    clients = bench.open()
    assert [c.client for c in clients.contribute()] == [2]
    assert len(clients.evaluate("mlp:8", start(sites))) == 2
    assert bench.nodes[1].asked == ["hello", "contribute"]


def test_stages_wait_less_and_less_for_who_was_silent(sites: list[Site]) -> None:
    bench = Bench(sites, limits=replace(LIMITS, evaluate=300))
    bench.nodes[1].faults = dict.fromkeys(("contribute", "evaluate"), FAULTS["silent"][0])
    clients, spent = bench.open(), []
    assert [c.client for c in clients.contribute()] == [0, 2]
    for _ in range(2):
        before = bench.grid.time
        assert len(clients.evaluate("mlp:8", start(sites))) == 2
        spent.append(bench.grid.time - before)
    assert LIMITS.gone <= spent[0] < LIMITS.gone + 2
    assert spent[1] < 3


def test_a_stage_that_nobody_answered_does_not_end_the_next_one(sites: list[Site]) -> None:
    bench = Bench(sites, limits=replace(LIMITS, fit=1000))
    for node in bench.nodes:
        node.faults["evaluate"] = FAULTS["silent"][0]
    clients, state = bench.open(), start(sites)
    assert clients.evaluate("mlp:8", state) == []
    assert [f.client for f in clients.fit([FitJob(k, "mlp:8", state) for k in range(3)], 0)] == [0, 1, 2]


def test_a_client_that_is_late_is_asked_nothing_more_until_it_has_answered(sites: list[Site]) -> None:
    bench = Bench(sites)
    bench.nodes[1].faults["contribute"] = lambda node, request, reply: LIMITS.contribute + 70.0
    clients, state = bench.open(), start(sites)
    assert [c.client for c in clients.contribute()] == [0, 2]
    assert len(clients.evaluate("mlp:8", state)) == 2  # at most 60 s: it is at its contribution still
    assert bench.nodes[1].asked == ["hello", "contribute"]
    bench.grid.sleep(30)
    assert len(clients.evaluate("mlp:8", state)) == 3  # it came too late, and shows that its client is back
    assert bench.nodes[1].asked == ["hello", "contribute", "evaluate"]
    assert not clients.exchange.silences


@pytest.mark.parametrize("away", [20.0, 1e6])
def test_a_client_that_dies_is_asked_again_when_it_is_back(sites: list[Site], tmp_path: Path, away: float) -> None:
    bench = Bench(sites, tmp_path)
    bench.nodes[1].dies["contribute"] = away
    clients = bench.open()
    made = [c.client for c in clients.contribute()]
    assert made == ([0, 1, 2] if away < LIMITS.gone else [0, 2])
    if away > LIMITS.gone:
        assert clients.exchange.absences[0].reason == "its connection was lost"
        assert bench.grid.time < LIMITS.gone + 10  # not the stage's whole limit


def test_a_client_that_comes_late_is_taken_in(sites: list[Site]) -> None:
    bench = Bench(sites)
    bench.nodes[2].joins = 31.0
    clients = bench.open()
    assert bench.grid.time == pytest.approx(30, abs=1)
    assert list(clients.architectures) == ["mlp:8", "cnn:4", "mlp:8"]  # the first one's, for want of its own
    bench.nodes[0].faults["contribute"] = lambda node, request, reply: 10.0  # somebody to wait for
    assert [c.client for c in clients.contribute()] == [0, 1, 2]


def test_too_few_clients_end_the_run_and_lose_nothing(sites: list[Site], tmp_path: Path) -> None:
    bench = Bench(sites, tmp_path, replace(LIMITS, clients=3))
    bench.nodes[1].faults["contribute"] = FAULTS["error"][0]
    with pytest.raises(MosaicError, match="contribute: 2 of 3 clients, but at least 3"):
        bench.open().contribute()
    bench.nodes[1].faults.clear()
    for node in bench.nodes:
        node.asked.clear()
    assert [c.client for c in bench.open().contribute()] == [0, 1, 2]
    assert [node.asked for node in bench.nodes] == [["hello"], ["hello", "contribute"], ["hello"]]


def test_a_server_that_was_killed_asks_nobody_twice(sites: list[Site], tmp_path: Path) -> None:
    bench, state = Bench(sites, tmp_path), start(sites)
    jobs = [FitJob(k, "mlp:8", state) for k in range(3)]
    first = bench.open()
    made, fitted = [c.to_bytes() for c in first.contribute()], first.fit(jobs, 0)
    for node in bench.nodes:
        node.asked.clear()
    again = bench.open()  # everything in memory is gone
    assert [c.to_bytes() for c in again.contribute()] == made
    for ours, theirs in zip(again.fit(jobs, 0), fitted, strict=True):
        assert torch.equal(ours.state["head.weight"], theirs.state["head.weight"])
    assert all("contribute" not in node.asked and "fit" not in node.asked for node in bench.nodes)


def test_a_client_that_was_killed_reuses_its_classifier(
    sites: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: dict[str, Any]
) -> None:
    from mosaic_fl.experts import network as module

    bench = Bench(sites, tmp_path)
    real, trained = module.train_classifier, list[str]()

    def counted(*arguments: Any, **named: Any) -> Any:
        trained.append("classifier")
        return real(*arguments, **named)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "train_classifier", counted)
        patch.setitem(GENERATORS, "cvae", replace(GENERATORS["cvae"], train=killed))
        clients = bench.open()
        with pytest.raises(KeyboardInterrupt):
            clients.contribute()
    assert trained == ["classifier"]
    monkeypatch.setattr(module, "train_classifier", counted)
    assert [c.to_bytes() for c in clients.contribute()] == local["contributions"]
    assert len(trained) == 3  # the first client's, and those of the two others


def test_a_busy_hub_is_asked_again(sites: list[Site], local: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.supercore.inflatable.inflatable_utils import ObjectPushError

    failed = dict[str, int]()

    def at_first_busy(name: str, error: Exception) -> None:
        answer = getattr(InProcessGrid, name)

        def call(self: InProcessGrid, *arguments: Any) -> Any:
            failed[name] = failed.get(name, 0) + 1
            if failed[name] in (1, 3):
                raise error
            return answer(self, *arguments)

        monkeypatch.setattr(InProcessGrid, name, call)

    at_first_busy("get_nodes", TimeoutError())
    at_first_busy("push_messages", ObjectPushError("x", 1, "y"))
    at_first_busy("pull_messages", ConnectionResetError())
    bench = Bench(sites)
    assert [c.to_bytes() for c in bench.open().contribute()] == local["contributions"]
    assert min(failed.values()) >= 3
    assert not bench.events("left_out")
