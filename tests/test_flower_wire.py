"""Requests and answers as they travel: what comes back is what was sent, and anything else is refused in one line."""

import json
from typing import Any

import pytest
import torch

pytest.importorskip("flwr", reason="the flower extra is not installed")

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from mosaic_fl.config import Config
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.flower.answer_codec import (
    decode_contribution,
    decode_counts,
    decode_fitted,
    decode_fused,
    encode_result,
)
from mosaic_fl.engines.flower.codec import Deliver, FitFusion, decode, decode_experts, encode, encode_experts
from mosaic_fl.engines.flower.limits import Limits
from mosaic_fl.engines.flower.wire import (
    PROTOCOL,
    Answer,
    Request,
    pack_answer,
    pack_request,
    unpack_answer,
    unpack_request,
)
from mosaic_fl.engines.tasks import ContributeTask, EvaluateTask, FitTask
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import FitJob, Fitted, Start
from mosaic_fl.generators.latent import Latent

STATE = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3])}


def content(head: Any) -> RecordDict:
    """A message with this head and nothing in its bodies."""
    empty = {name: ArrayRecord({name: Array("uint8", (0,), "mosaic-fl.bytes", b"")}) for name in ("body", "extra")}
    return RecordDict({"head": ConfigRecord({"json": head}), **empty})


def answer_head(**changes: Any) -> str:
    """The head of a good answer, with these changes."""
    head = json.loads(str(pack_answer(Answer("r", "d", 0))["head"]["json"]))
    return json.dumps({**head, **changes})


def test_a_request_and_an_answer_come_back() -> None:
    request = Request("run", "fit", 3, b"work")
    assert unpack_request(pack_request(request)) == request
    answer = Answer("run", request.digest, 3, 1.5, [{"step": 1, "loss": 0.5}], {"x": 1}, "", b"result")
    assert unpack_answer(pack_answer(answer)) == answer


def test_a_request_s_name_depends_on_all_but_its_client() -> None:
    names = {Request(*parts).digest for parts in (("r", "t", 0, b"x"), ("s", "t", 0, b"x"), ("r", "u", 0, b"x"))}
    assert len(names) == 3
    assert Request("r", "t", 0, b"x").digest == Request("r", "t", 9, b"x").digest


def test_what_a_client_says_is_one_printable_line() -> None:
    said = unpack_answer(pack_answer(Answer("r", "d", 0, reason="a\x1b[31m\nb" + 1000 * "c"))).reason
    assert said.isprintable()
    assert len(said) <= 300


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"protocol": 99}', "speaks protocol 99"),
        ("{}", "not an answer"),
        ("[" * 100_000, "not JSON"),
        (answer_head(seconds=10**400), "not an answer"),
        (answer_head(seconds=-1), "not an answer"),
        (answer_head(metrics=[{"loss": [[1]]}]), "not an answer"),
        (answer_head(metrics=[{"note": "x" * 300}]), "not an answer"),
        (7, "wrong kind"),
    ],
)
def test_answers_that_are_none(head: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        unpack_answer(content(head))


def test_an_answer_without_its_records() -> None:
    for wrong in (
        RecordDict(),
        RecordDict({"head": ConfigRecord({"json": "{}"})}),
        RecordDict({"head": ArrayRecord()}),
    ):
        with pytest.raises(UsageError, match="no head and body"):
            unpack_answer(wrong)


def test_a_body_is_never_read_as_an_array() -> None:
    """Flower's own readers would trust the shape that is declared: ours sees bytes, and their hash."""
    good = pack_answer(Answer("r", "d", 0, body=b"abc"))
    good["body"] = ArrayRecord({"body": Array("object", (2**40,), "numpy.ndarray", b"abc")})
    assert unpack_answer(good).body == b"abc"


def test_work_comes_back() -> None:
    config = Config().with_values({"run.seed": 5, "train.lr": 0.25, "data.validation": 0.2})
    latent = Latent(4, 8, 16, torch.tensor([0.5, 0.5]), 0.1, {"w": torch.ones(2)})
    job = FitJob(2, "mlp:8", STATE, {"max_steps": 3}, latent)
    work, settings = decode("fit", encode(FitTask(job, 7), config), 2)
    assert isinstance(work, FitTask)
    assert (work.round, work.job.architecture, work.job.settings) == (7, "mlp:8", {"max_steps": 3})
    assert work.job.latent is not None
    assert (work.job.latent.noise, work.job.latent.features, work.job.latent.weight) == (4, 16, 0.1)
    assert torch.equal(work.job.latent.labels, latent.labels)
    assert all(torch.equal(work.job.state[name], STATE[name]) for name in STATE)
    assert (settings.run.seed, settings.train.lr, settings.data.validation) == (5, 0.25, 0.2)

    work, _ = decode("contribute", encode(ContributeTask(1, Start("mlp:8", STATE)), config), 1)
    assert isinstance(work, ContributeTask)
    assert work.start is not None
    assert work.start.architecture == "mlp:8"
    work, _ = decode("fusion", encode(FitFusion("name", STATE, {"steps": 0}, 1), config), 0)
    assert isinstance(work, FitFusion)
    assert (work.experts, work.settings, work.round) == ("name", {"steps": 0}, 1)
    experts = {k: bytes([k]) for k in range(12)}
    assert list(decode_experts(encode_experts(experts)).items()) == list(experts.items())  # the aggregator's inputs
    assert decode("deliver", encode(Deliver(b"file"), config), 0)[0] == Deliver(b"file")


def test_a_client_is_told_nothing_of_its_data_or_place() -> None:
    config = Config().with_values({"data.name": "/secret/place", "run.device": "cuda:3"})
    body = encode(ContributeTask(0), config)
    assert b"secret" not in body
    assert b"cuda" not in body
    _, settings = decode("contribute", body, 0)
    assert (settings.data.name, settings.run.device) == (Config().data.name, Config().run.device)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("evil", {}, "nobody here can do 'evil'"),
        ("fit", {"max_steps": 0}, "train.max_steps is 0"),
        ("fit", {"lr": "fast"}, "train.lr"),
        ("fit", {"__class__": 1}, "unknown setting"),
    ],
)
def test_requests_that_are_refused(name: str, values: dict[str, Any], message: str) -> None:
    body = encode(FitTask(FitJob(0, "mlp:8", STATE, values), 0), Config())
    with pytest.raises(UsageError, match=message):
        decode(name, body, 0)


def test_a_request_that_is_damaged() -> None:
    body = encode(EvaluateTask(0, "mlp:8", STATE), Config())
    with pytest.raises(UsageError, match="request"):
        decode("evaluate", body[:-3], 0)
    with pytest.raises(UsageError, match="not a mosaic-fl file"):
        decode("evaluate", b"", 0)


def fitted(**changes: Any) -> bytes:
    values = {"client": 1, "state": STATE, "samples": 5, "validation": {"accuracy": 0.5}}
    return encode_result(Fitted(**{**values, "class_counts": torch.tensor([2, 3]), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "no sample"),
        ({"samples": -1}, "not one of fitted weights"),
        ({"state": {"a": STATE["a"]}}, "another model"),
        ({"state": {**STATE, "c": STATE["a"]}}, "another model"),
        ({"state": {**STATE, "a": torch.ones(1)}}, "'a' have another shape"),
        ({"state": {**STATE, "a": torch.ones(2, dtype=torch.float16)}}, "'a' have another shape or type"),
        ({"class_counts": torch.tensor([1])}, "class counts are not 2"),
        ({"class_counts": torch.tensor([-1, 1])}, "class counts are not 2"),
        ({"class_counts": torch.zeros(0, dtype=torch.int64)}, "class counts are not 2"),
        ({"validation": {"accuracy": "good"}}, "validation figures"),
        ({"validation": {"loss": 10**400}}, "validation figures"),
    ],
)
def test_fitted_weights_that_are_refused(changes: dict[str, Any], message: str) -> None:
    """Nothing is broadcast, nothing of another model is averaged in."""
    with pytest.raises(UsageError, match=message):
        decode_fitted(fitted(**changes), 1, STATE, 2)


def test_fitted_weights_and_confusions_come_back() -> None:
    found = decode_fitted(fitted(), 1, STATE, 2)
    assert (found.samples, found.validation, found.class_counts.tolist()) == (5, {"accuracy": 0.5}, [2, 3])
    assert decode_fitted(fitted(samples=0, state={}), 1, STATE, 2, whole=False).state == {}
    nobody = torch.zeros(0, dtype=torch.int64)
    assert decode_fused(fitted(samples=0, class_counts=nobody, validation={}), 1, STATE).samples == 0
    with pytest.raises(UsageError, match="no loss and accuracy"):
        decode_fused(fitted(class_counts=nobody), 1, STATE)
    confusion = torch.tensor([[1, 2], [3, 4]])
    assert torch.equal(decode_counts(encode_result(confusion), 2, 2), confusion)
    for wrong in (confusion[:1], confusion.float(), -confusion):
        with pytest.raises(UsageError, match="not a table of 2 by 2 counts"):
            decode_counts(encode_result(wrong), 2, 2)
    with pytest.raises(UsageError, match="contribution of client 1"):
        decode_contribution(fitted(), 1, image_schema((1, 8, 8), ("a", "b")))


@pytest.mark.parametrize(
    ("seconds", "message"),
    [({"jion": 3}, "unknown limit 'jion': did you mean join"), ({"fit": 0}, "fit is 0"), ({"fit": "1"}, "fit is '1'")],
)
def test_limits_that_are_none(seconds: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Limits.of(seconds)


def test_the_least_number_of_clients() -> None:
    with pytest.raises(UsageError, match="--min-clients 0"):
        Limits.of({}, 0)


def test_a_head_is_json_that_any_reader_takes() -> None:
    head = pack_answer(Answer("r", "d", 0, facts={"schema": {"a": [1]}}))["head"]["json"]
    assert json.loads(head)["facts"] == {"schema": {"a": [1]}}


@pytest.mark.parametrize("name", ["run", "task"])
def test_half_a_character_in_a_request_is_refused(name: str) -> None:
    # JSON can write it; the request's digest, a file and a log cannot.
    head = {"protocol": PROTOCOL, "run": "r", "task": "fit", "client": 1, "serial": 0}
    assert unpack_request(content(json.dumps(head | {name: "\U0001f431"}))).client == 1  # two halves, one whole
    with pytest.raises(UsageError, match="its head is not JSON"):
        unpack_request(content(json.dumps(head | {name: "\ud800"})))
