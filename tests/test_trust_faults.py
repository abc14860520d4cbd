"""A model that fails where it is asked, and not at the door: its client is in quarantine, and the others go on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import mosaic_fl
from mosaic_fl.config import Config
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.runs.file_check import check_files
from mosaic_fl.server.distill import distill
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.trust.report import QUARANTINED
from mosaic_fl.server.trust.survey import Survey
from mosaic_fl.server.trust.trigger import with_triggers
from mosaic_fl.server.trust.vet import examine
from mosaic_fl.storage.journal import Journal
from trust_cases import client, told

CPU = torch.device("cpu")
FAST = {"distill.steps": 5, "distill.terms": 1, "distill.pool": 100, "models.student": "mlp:4"}


class Answering:
    """An expert that does `answer`."""

    def __init__(self, answer: Callable[[Samples], Tensor]) -> None:
        self.answer = answer

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        return self.answer(samples)


def failing(samples: Samples) -> Tensor:
    raise MosaicError("the model of client 3 is late")


def undefined(samples: Samples) -> Tensor:
    return torch.zeros(len(samples), 4).index_fill(0, torch.tensor([0]), torch.nan)


@pytest.fixture(scope="module")
def four() -> list[Contribution]:
    return [client(k) for k in range(4)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (failing, "its model fails: the model of client 3 is late"),
        (undefined, "its model gives outputs that are not finite"),
    ],
)
def test_who_gives_no_answer_is_in_quarantine_with_the_reason(
    answer: Callable[[Samples], Tensor], reason: str, four: list[Contribution]
) -> None:
    experts: list[Expert] = [*MixtureOfExperts.of(four).experts[:3], Answering(answer)]
    report = examine(four, experts, lambda: sampler_of(four, CPU, experts), Config(), CPU)
    assert [v.client for v in report.in_state(QUARANTINED)] == [3]
    assert report.of(3).reasons == (reason,)


def contradicted() -> Survey:
    """Three clients with samples of four equal numbers; the others call client 2's samples of class 0 class 2."""
    seen = told([(20, 20, 20, 20)] * 3, [lambda y: y] * 3)
    readings = seen.readings.clone()
    readings[(seen.sources == 2) & (seen.labels == 0), :2] = 2
    values = seen.labels.float()[:, None].expand(-1, 4).numpy()
    samples = mosaic_fl.from_arrays(values, seen.labels.numpy(), classes=list("abcd")).samples
    return replace(seen, readings=readings, samples=samples)


@pytest.mark.parametrize("answer", [failing, undefined])
def test_a_model_that_fails_at_what_looks_for_triggers_is_a_fault_too(answer: Callable[[Samples], Tensor]) -> None:
    honest = Answering(lambda samples: torch.zeros(len(samples), 4))
    found = with_triggers(contradicted(), [honest, honest, Answering(answer)], CPU)
    assert list(found.faults) == [2]
    assert set(found.turned) == {(0, 0), (1, 0)}  # of the others it is looked at as ever


def test_an_onnx_model_of_which_few_outputs_are_not_finite_ends_nothing(
    four: list[Contribution], tmp_path: Path
) -> None:
    """log((m − 8)² − 0.01) of the mean m of a sample's two numbers, which is 8 in one corner, and in no trial."""
    pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
    pytest.importorskip("onnx", reason="mosaic-fl[trees] is not installed")
    from mosaic_fl.experts.onnx.expert import state_of
    from onnx_models import constant, graph, model, node

    nodes = [
        node("MatMul", ["x", "halves"], ["m"]),
        node("Sub", ["m", "corner"], ["d"]),
        node("Mul", ["d", "d"], ["square"]),
        node("Sub", ["square", "least"], ["a"]),
        node("Log", ["a"], ["y"]),
    ]
    constants = [constant("halves", np.full((2, 4), 0.5)), constant("corner", [8.0]), constant("least", [0.01])]
    content = model(graph(nodes, constants, (None, 2), (None, 4)), inputs="rest").SerializeToString()
    sent = replace(four[3], architecture="onnx:x", expert=state_of(content))
    everyone = [*four[:3], Contribution.from_bytes(sent.to_bytes())]  # it passes the door
    paths = [tmp_path / f"{c.client}.contribution" for c in everyone]
    for path, contribution in zip(paths, everyone, strict=True):
        path.write_bytes(contribution.to_bytes())
    checked = check_files(paths)
    lines = [doubt.text for doubt in checked.doubts]
    assert len(lines) == 1
    assert lines[0].startswith("client 3 is in quarantine: its model fails: ")
    assert "gives non-finite outputs" in lines[0]
    result = distill(everyone, Config().with_values(FAST), CPU, Journal())
    assert result.choice["trust"]["quarantined"] == [3]
