"""Signed answers over Flower: with the sites' keys a server takes nothing that its client has not signed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from flower_bench import Bench, three_sites
from flower_grid import Fault, Node
from mosaic_fl.client.contribute import Site
from mosaic_fl.deploy.checks import check_signers
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.flower.signing import require_signature, sign
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.engines.flower.wire import Answer, pack_answer, unpack_answer
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.storage.keys import make_key, read_key


@pytest.fixture(scope="module")
def sites(digits: Dataset) -> list[Site]:
    return three_sites(digits)


@pytest.fixture
def bench(sites: list[Site], tmp_path: Path) -> Bench:
    """Three clients that sign, and a server that has their keys."""
    made = Bench(sites, tmp_path)
    (tmp_path / "signers").mkdir()
    for node in made.nodes:
        path = tmp_path / f"{node.client}.key"
        (tmp_path / "signers" / f"{node.client}.pub").write_text(make_key(path).line)
        node.signer = read_key(path)
    made.signers = Signers.load(tmp_path / "signers", "a run")
    return made


def changed(change: Callable[[Answer], Answer]) -> Fault:
    """The answer after `change`, with the hash that is right for it."""

    def fault(_: Node, request: Message, reply: Message) -> Message:
        return Message(pack_answer(change(unpack_answer(reply.content))), reply_to=request)

    return fault


def test_signatures_change_no_contribution(bench: Bench, sites: list[Site]) -> None:
    signed = bench.open().contribute()
    assert bench.events("refused") == []
    assert [c.to_bytes() for c in signed] == [c.to_bytes() for c in Bench(sites).open().contribute()]


@pytest.mark.parametrize("case", ["no key", "another's key", "a key of nobody"])
def test_who_does_not_sign_as_its_number_is_not_let_in(bench: Bench, tmp_path: Path, case: str) -> None:
    make_key(tmp_path / "nobody.key")
    other = {
        "no key": None,
        "another's key": bench.nodes[0].signer,
        "a key of nobody": read_key(tmp_path / "nobody.key"),
    }
    bench.nodes[1].signer = other[case]
    federation = bench.open()
    assert sorted(federation.exchange.roll.members) == [0, 2]
    told = "client 1 does not sign its answers" if case == "no key" else "its signature is not that of client 1"
    assert told in bench.events("refused")[0][1]["reason"]


CHANGES: dict[str, Callable[[Answer], Answer]] = {
    "another body": lambda a: replace(a, body=a.body[:-1] + b"\0"),
    "other figures": lambda a: replace(a, metrics=[{"loss": 0.5}]),
    "other seconds": lambda a: replace(a, seconds=a.seconds + 1),
    "no signature": lambda a: replace(a, signature=""),
    "no hexadecimal": lambda a: replace(a, signature="zz"),
    "another signature": lambda a: replace(a, signature="00" * 64),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_contribution_that_was_altered_on_its_way_is_refused(bench: Bench, name: str) -> None:
    bench.nodes[2].faults["contribute"] = changed(CHANGES[name])
    assert [c.client for c in bench.open().contribute()] == [0, 1]
    reason = bench.events("refused")[0][1]["reason"]
    assert ("does not sign" if name == "no signature" else "its signature is not that of client 2") in reason


def test_a_signature_is_of_one_run_request_and_client(bench: Bench) -> None:
    answer = Answer("a run", "request", 0, 1.5, [{"loss": 0.25}], {"samples": 60, "schema": {"b": [1, 2.5], "a": "é"}})
    signed = sign(answer, bench.nodes[0].signer)
    require_signature(unpack_answer(pack_answer(signed)), 0, bench.signers)
    require_signature(answer, 0, None)
    for other in (replace(signed, run="b"), replace(signed, request="b"), replace(signed, client=1)):
        with pytest.raises(UsageError, match="its signature is not that of client 0"):
            require_signature(other, 0, bench.signers)
    with pytest.raises(UsageError, match="client 7 has no key"):
        require_signature(signed, 7, bench.signers)
    wrong: Any = replace(signed, signature=3)
    with pytest.raises(UsageError, match="its signature is of a wrong kind"):
        unpack_answer(pack_answer(wrong))


def test_the_server_has_a_key_of_each_client_before_it_starts(bench: Bench, tmp_path: Path) -> None:
    check_signers(tmp_path / "signers", 3)
    with pytest.raises(UsageError, match=r"has no key of client 3: put it there, as 3\.pub"):
        check_signers(tmp_path / "signers", 4)


def test_a_site_file_names_its_key(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "data.parquet").touch()
    site = tmp_path / "site.toml"
    text = 'client = 0\ndata = "data.parquet"\nmodel = "mlp:4"\nsign = "{}"\n[server]\naddress = "localhost:1"\n'
    site.write_text(text.format("0.key"))
    assert load_site(site).sign == tmp_path / "0.key"
    site.write_text(text.format("none.key"))
    with pytest.raises(UsageError, match=r"sign names .*none\.key, which does not exist"):
        load_site(site)
