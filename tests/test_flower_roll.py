"""Who is let in to a run over Flower, and who is not: in one line that names the way out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("flwr", reason="the flower extra is not installed")

from flwr.app import Message

from flower_grid import Fault, InProcessGrid, Node, settled
from mosaic_fl.client.contribute import Site
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.flower.exchange import Exchange
from mosaic_fl.engines.flower.limits import Limits
from mosaic_fl.engines.flower.roll import Roll
from mosaic_fl.engines.flower.wire import Answer, pack_answer, unpack_answer


def saying(**facts: Any) -> Fault:
    """A client that says these facts of itself."""
    return changed(lambda answer: replace(answer, facts={**answer.facts, **facts}))


def changed(change: Callable[[Answer], Answer]) -> Fault:
    def fault(node: Node, request: Message, reply: Message) -> Message:
        return Message(pack_answer(change(unpack_answer(reply.content))), reply_to=request)

    return fault


@pytest.fixture
def sites(digits: Dataset) -> list[Site]:
    return [Site(k, digits.subset(range(50 * k, 50 * k + 50)), "mlp:8") for k in range(3)]


def gather(nodes: list[Node], limits: Limits = Limits(join=30)) -> tuple[Roll, list[str]]:  # noqa: B008
    """(the roll, why nodes were refused) once the time for joining is over."""
    told: list[Any] = []
    grid = InProcessGrid(nodes)
    roll = Roll(grid, "a run", 3, settled(told), grid.now)
    Exchange(grid, roll, limits, settled(told), grid.now, grid.sleep).gather()
    return roll, [facts["reason"] for kind, _, facts in told if kind == "refused"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (saying(mosaic_fl="9.9"), "client 1 has mosaic-fl 9.9, this server"),
        (saying(time=0), "the clock of client 1 differs by -"),
        (saying(client=7), "client 7: this run has clients 0 to 2; correct its site file"),
        (saying(client=0), "client 0 is here already: two sites have this number"),
        (saying(architecture="evil:3"), "evil"),
        (saying(samples=-1), "does not say who it is"),
        (saying(samples="many"), "does not say who it is"),
        (saying(time=10**400), "does not say who it is"),
        (saying(schema={"kind": "table"}), "schema"),
        (changed(lambda answer: replace(answer, run="another")), "does not say who it is"),
        (changed(lambda answer: replace(answer, reason="its site file is wrong: see its log")), "site file is wrong"),
    ],
)
def test_who_is_not_let_in(sites: list[Site], fault: Fault, message: str) -> None:
    nodes = [Node(k, site) for k, site in enumerate(sites)]
    nodes[1].faults["hello"] = fault
    nodes[1].joins = 5.0
    roll, reasons = gather(nodes)
    assert sorted(roll.members) == [0, 2]
    assert message in reasons[0]


def test_the_schema_of_most_is_the_run_s(sites: list[Site], digits: Dataset) -> None:
    other = image_dataset(digits.images[:50], digits.labels[:50] % 3, image_schema((1, 8, 8), ("a", "b", "c")))
    nodes = [Node(0, Site(0, other, "mlp:8")), *(Node(k, sites[k]) for k in (1, 2))]
    told: list[Any] = []
    grid = InProcessGrid(nodes)
    roll = Roll(grid, "a run", 3, settled(told), grid.now)
    Exchange(grid, roll, Limits(join=30), settled(told), grid.now, grid.sleep).gather()
    roll.agree()
    assert sorted(roll.members) == [1, 2]
    assert roll.schema == digits.schema
    assert 0 not in roll.keys  # nobody waits for it, and whose it was may be another's
    reasons = [facts["reason"] for kind, client, facts in told if kind == "refused" and client == 0]
    assert reasons == ["it has 3 classes (a, b, c), not 10 (0, 1, 2, 3, 4, 5, 6, 7, 8, 9) as the others"]


def test_who_comes_back_after_a_correction_is_let_in(sites: list[Site]) -> None:
    nodes = [Node(k, site) for k, site in enumerate(sites)]
    nodes[1].faults["hello"] = saying(client=9)
    grid, told = InProcessGrid(nodes), list[Any]()
    roll = Roll(grid, "a run", 3, settled(told), grid.now)

    def correct() -> None:
        if grid.time == 10:
            nodes[1].faults.clear()
            nodes[1].away_until = 12.0

    grid.on_sleep = correct
    Exchange(grid, roll, Limits(join=60), settled(told), grid.now, grid.sleep).gather()
    assert sorted(roll.members) == [0, 1, 2]
    assert grid.time < 20
