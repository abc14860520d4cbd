"""Black boxes in a run: both engines ask them, go on without those that give no answers, and resume with the rest."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="the flower extra is not installed")

import black_box_sites
import mosaic_fl
from flower_bench import CPU, QUICK, Bench
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.config.model_names import require_form
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.flower.codec import encode
from mosaic_fl.engines.flower.wire import Answer, Request, pack_answer, unpack_answer
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.engines.tasks import AnswerTask
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.query import Query, answer_from
from mosaic_fl.experts.naming import check
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.mosaic import mosaic
from mosaic_fl.models import trust
from mosaic_fl.notes import Note
from mosaic_fl.storage.journal import Journal

RUN = QUICK | {
    "data.validation": 0.0, "distill.steps": 8, "distill.pool": 60, "distill.prior": "none", "meta.kind": "none",
    "models.student": "mlp:8", "generator.min_samples": 10,
}  # fmt: skip
CONFIG = Config().with_values(RUN)


def sites_of(digits: Dataset, *models: str) -> list[Site]:
    """Clients with 40 digits each."""
    return [Site(k, digits.subset(range(40 * k, 40 * k + 40)), trust(name)) for k, name in enumerate(models)]


def own(name: str) -> str:
    return f"answers:black_box_sites:{name}"


def locally(sites: Sequence[Site]) -> bytes:
    with LocalFederation(sites, CONFIG, CPU, Journal()) as clients:
        return model_of(clients)


def model_of(federation: Any) -> bytes:
    """The bytes of the global model that Mosaic makes with these clients."""
    outcome = mosaic(federation, CONFIG, CPU, federation.journal)
    assert outcome.model is not None
    content: bytes = outcome.model.to_bytes()
    return content


class Own(Bench):
    """The clients of a run with the settings of this file."""

    def open(self) -> Any:
        federation = super().open()
        federation.config = CONFIG
        return federation


@pytest.mark.filterwarnings("ignore::mosaic_fl.notes.Note")
def test_a_run_on_either_engine_gives_the_model_that_functions_give(digits: Dataset, tmp_path: Path) -> None:
    sites = sites_of(digits, "mlp:8", own("predict"), "mlp:8")
    made = locally(sites)
    bench = Own(sites, tmp_path)
    assert model_of(bench.open()) == made
    assert bench.nodes[1].asked == ["hello", "contribute", "answer"]
    assert "answer" not in bench.nodes[0].asked
    with LocalFederation(sites, CONFIG, CPU, Journal()) as clients:
        contributions = clients.contribute()
    assert contributions[1].architecture == "answers"  # nothing of the function leaves its site, not even its name
    settings = {name: value for name, value in RUN.items() if not name.startswith("data.")}
    asked = mosaic_fl.distill(contributions, settings=settings, answer={1: black_box_sites.predict})
    assert asked.to_bytes() == made


@pytest.mark.filterwarnings("ignore::mosaic_fl.notes.Note")
def test_a_model_that_the_site_trains_and_keeps(digits: Dataset, tmp_path: Path) -> None:
    """The bytes of both engines are equal, and the model that is kept at the site is trained once."""
    sites = sites_of(digits, "mlp:8", "answers:logistic")
    bench = Own(sites, tmp_path)
    assert model_of(bench.open()) == locally(sites)
    (held,) = (tmp_path / "site-1").rglob("*.held")
    before = held.stat().st_mtime_ns
    query = Query(1, 7, sites[1].data.schema, sites[0].data.samples)
    (answer,) = bench.open().answer([query])
    assert answer.digest == query.digest
    assert held.stat().st_mtime_ns == before


def lying(change: Any) -> Any:
    """A fault: the client's answer is another one than it made."""
    return lambda node, request, reply: _changed(reply, change)


def _changed(reply: Any, change: Any) -> Any:
    answer: Answer = unpack_answer(reply.content)
    reply.content = pack_answer(change(answer))
    return reply


FAULTS = {
    "late": ("predict", lambda *_: None, "no answer within"),
    "nan": ("nan", None, "its black box gave no answers: answer 0 has a NaN or infinite value, in"),
    "short": ("short", None, "answers to 3,345 samples: each sample needs one"),
    "odd": ("odd", None, "its black box gave no answers: answer 0 sums to 5, where probabilities sum to 1"),
    "broken": ("broken", None, "or its own data or model is wrong: see its log"),
    "cut": ("predict", lying(lambda answer: replace(answer, body=answer.body[:-7])), "its answer was refused: its ans"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_who_gives_no_answers_is_left_out_with_the_reason_and_nothing_else_is_lost(
    fault: str, digits: Dataset, tmp_path: Path
) -> None:
    function, fails, reason = FAULTS[fault]
    sites = sites_of(digits, "mlp:8", own(function), own("predict"))
    bench = Own(sites, tmp_path)
    if fails is not None:
        bench.nodes[1].faults["answer"] = fails
    with pytest.warns(Note, match="client 1 is a black box without answers: its contribution is left out"):
        made = model_of(bench.open())
    ((client, facts),) = bench.events("left_out")
    assert (client, facts["stage"]) == (1, "answer 1")
    assert reason in facts["reason"]
    assert black_box_sites.PRIVATE not in facts["reason"]
    if function == "predict":
        return
    with pytest.warns(Note, match="client 1, a black box, gave no answers: "):
        assert locally(sites) == made


@pytest.mark.filterwarnings("ignore::mosaic_fl.notes.Note")
def test_a_resumed_run_asks_only_who_is_missing(digits: Dataset, tmp_path: Path) -> None:
    sites = sites_of(digits, "mlp:8", own("predict"), own("predict"))
    first = Own(sites, tmp_path)
    first.limits = replace(first.limits, clients=3)
    first.nodes[2].faults["answer"] = lambda *_: None
    with pytest.raises(MosaicError, match="answer 1: 2 of 3 clients, but at least 3 are needed"):
        model_of(first.open())
    again = Own(sites, tmp_path)
    assert model_of(again.open()) == locally(sites)
    assert [node.asked for node in again.nodes] == [["hello"], ["hello"], ["hello", "answer"]]


def test_a_run_of_black_boxes_without_answers_says_so(digits: Dataset) -> None:
    with (
        pytest.warns(Note, match="gave no answers: the black box failed: ValueError"),
        pytest.raises(MosaicError, match="every client is a black box, and none of them gave answers"),
    ):
        locally(sites_of(digits, own("broken"), own("broken")))


def test_queries_that_a_site_refuses(digits: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    sites = sites_of(digits, "mlp:8", own("predict"))
    schema = sites[0].data.schema
    samples = sites[0].data.samples
    other = replace(schema, classes=tuple("abcdefghij"))
    bench = Own(sites)
    federation = bench.open()
    for client, query, said in [
        (0, Query(0, 1, schema, samples), "client 0 has the model 'mlp:8', which answers no queries"),
        (1, Query(0, 1, schema, samples), "it has a query for client 0"),
        (1, Query(1, 1, other, samples), "as this site's data"),
    ]:
        body = encode(AnswerTask(query), CONFIG)
        request = Request("a run", "answer", client, body)
        got = federation.exchange.ask("answer 1", {client: request}, 60.0, lambda answer: answer)
        assert not got
        assert said in caplog.text
        federation.exchange.bans.clear()


def test_an_answer_larger_than_any_to_the_query_is_not_opened(digits: Dataset) -> None:
    query = Query(1, 1, digits.schema, digits.subset(range(3)).samples)
    most = query.most_answer_bytes
    with pytest.raises(UsageError, match=f"{most + 1:,} bytes; an answer to this query has {most:,} at most"):
        answer_from(query, bytes(most + 1), "its answer")


def test_the_name_of_another_site_s_model_is_refused_and_imports_nothing(digits: Dataset) -> None:
    name = "answers:antigravity:geohash"
    with pytest.raises(UsageError, match="a black box of another site is called answers, and no more"):
        check(name, digits.schema)
    (site,) = sites_of(digits, own("predict"))
    with LocalFederation([site], CONFIG, CPU, Journal()) as clients:
        (contribution,) = clients.contribute()
    for received in (name, own("predict")):  # also one that this machine has
        with pytest.raises(UsageError, match="what is received of a black box is called answers alone"):
            Contribution.from_bytes(replace(contribution, architecture=received).to_bytes())
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("method", ["fedavg", "dense", "fens", "fedcvae", "mean_logits"])
def test_methods_that_need_the_model_itself_say_so_before_any_work(method: str, digits: Dataset) -> None:
    config = CONFIG.with_values({**METHODS[method].defaults, "run.method": method, "data.validation": 0.1})
    models = [trust(own("predict")), "mlp:8"]
    with pytest.raises(UsageError, match="answers:black_box_sites:predict"):
        METHODS[method].check(config, digits.schema, models, "mlp:8")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("answers:", "names no model that could answer: as answers:random_forest"),
        ("answers:answers:mlp", "names no model that could answer"),
        ("answers:mlp:0", "width '0' is not a number in"),
        ("answers:nowhere.onnx", "nowhere.onnx"),
    ],
)
def test_names_of_black_boxes_that_are_wrong_everywhere(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_form(name)


def test_a_name_that_is_no_function_of_samples() -> None:
    with pytest.raises(UsageError, match="is no function of samples"):
        trust("answers:black_box_sites:PRIVATE")
    with pytest.raises(UsageError, match="cannot be imported"):
        trust("answers:black_box_sites:nothing")
