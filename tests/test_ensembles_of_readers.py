"""Ensembles of those experts that can read a sample, and the meta model over them: numbers worked out by hand."""

import pytest
import torch
from torch import Tensor

from mosaic_fl.config import MetaConfig
from mosaic_fl.server.experts import class_balanced, class_weighted, mean_logits, mean_probabilities, readers
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.meta_training import train_meta
from mosaic_fl.training.monitor import Recorder

NAN = torch.nan
# Three experts, two classes. Sample 0: all can read it. Sample 1: expert 1 cannot. Sample 2: only expert 2 can.
FIRST, SECOND, THIRD = [0.8, 0.2], [0.6, 0.4], [0.1, 0.9]
BLIND = [NAN, NAN]
OUTPUTS = torch.tensor([[FIRST, SECOND, THIRD], [FIRST, BLIND, THIRD], [BLIND, BLIND, THIRD]]).log()
WEIGHTS = torch.tensor([[0.5, 0.0], [0.25, 0.5], [0.25, 0.5]])
EVEN = torch.full((3, 2), 0.5)


def close(logs: Tensor, expected: list[list[float]]) -> bool:
    return torch.allclose(logs.exp(), torch.tensor(expected), atol=1e-5)


def test_readers_are_those_who_answer() -> None:
    able = readers(OUTPUTS)
    assert able is not None
    assert able.tolist() == [[True, True, True], [True, False, True], [False, False, True]]
    assert readers(OUTPUTS[:1]) is None


def test_a_mean_is_over_those_who_can_read() -> None:
    """(0.8 + 0.6 + 0.1) / 3 = 0.5; (0.8 + 0.1) / 2 = 0.45; 0.1."""
    assert close(mean_probabilities(OUTPUTS), [[0.5, 0.5], [0.45, 0.55], [0.1, 0.9]])
    # Of logits: sqrt(0.8 · 0.1) = 0.28284 and sqrt(0.2 · 0.9) = 0.42426, so 0.4 and 0.6.
    assert close(mean_logits(OUTPUTS[1:]), [[0.4, 0.6], [0.1, 0.9]])


def test_class_weights_are_divided_among_those_who_can_read() -> None:
    """Sample 1: class 0 has w = (0.5, 0.25) of experts 0 and 2, so (2/3, 1/3); class 1 has expert 2 alone.

    2/3 · 0.8 + 1/3 · 0.1 = 0.56667 and 0.9, so 0.38636 and 0.61364. Sample 2: 0.1 and 0.9.
    """
    assert close(class_weighted(OUTPUTS[1:], WEIGHTS), [[0.38636, 0.61364], [0.1, 0.9]])


def test_a_class_that_no_reader_knows_gets_next_to_nothing() -> None:
    only_first = torch.tensor([[0.8, 0.2], [NAN, NAN]]).log()[None]
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    for answer in (class_weighted(only_first, weights), class_balanced(only_first, weights, EVEN[:2])):
        assert close(answer, [[1.0, 0.0]])


def test_the_balanced_ensemble_is_a_geometric_mean_of_those_who_can_read() -> None:
    """Sample 1: 0.8^(2/3) · 0.1^(1/3) = 0.40000 and 0.9, so 0.30769 and 0.69231."""
    assert close(class_balanced(OUTPUTS[1:], WEIGHTS, EVEN), [[0.30769, 0.69231], [0.1, 0.9]])


def test_a_sample_that_nobody_can_read_is_even() -> None:
    nobody = torch.full((1, 3, 2), NAN)
    for answer in (mean_logits(nobody), mean_probabilities(nobody), class_weighted(nobody, WEIGHTS)):
        assert close(answer, [[0.5, 0.5]])


@pytest.mark.parametrize("blind", [0, 2])
def test_the_meta_model_hears_nothing_of_those_who_cannot_read(blind: int) -> None:
    """Its answer is the one without their tokens, and untrained it is the class-weighted one."""
    torch.manual_seed(0)
    meta = MetaTransformer(WEIGHTS, MetaConfig(width=8, heads=2, layers=1)).eval()
    assert torch.allclose(meta(OUTPUTS).exp(), class_weighted(OUTPUTS, WEIGHTS).exp(), atol=1e-6)
    torch.nn.init.normal_(meta.vote.weight)
    outputs = OUTPUTS[:1].clone()
    outputs[:, blind] = NAN
    left = [k for k in range(3) if k != blind]
    answers = outputs[:, left].log_softmax(2).clamp(min=-10.0) / 10.0
    tokens = meta.embed(answers) + (meta.embed_prior(meta.prior) + meta.who)[left]
    expected = class_weighted(outputs, WEIGHTS) + meta.vote(meta.encoder(tokens)).sum(1)
    assert torch.allclose(meta(outputs), expected, atol=1e-5)
    assert bool(meta(torch.full((1, 3, 2), NAN)).isfinite().all())
    meta.train()
    meta(outputs).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in meta.parameters() if p.grad is not None)


def test_a_meta_model_whose_experts_read_all_waits_for_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps on an accelerator are captured only then: a look at the outputs would wait for the device."""
    torch.manual_seed(0)
    meta = MetaTransformer(WEIGHTS, MetaConfig(width=8, heads=2, layers=1)).eval()
    torch.nn.init.normal_(meta.vote.weight)
    before = meta(OUTPUTS[:1])
    assert not meta.can_be_captured
    meta.partial = False
    monkeypatch.setattr("mosaic_fl.server.meta.readers", lambda _: pytest.fail("looked"))
    assert torch.equal(meta(OUTPUTS[:1]), before)
    assert meta.can_be_captured


@pytest.mark.parametrize("partial", [False, True])
def test_training_finds_out_whether_all_experts_read_all(partial: bool) -> None:
    outputs = (OUTPUTS if partial else OUTPUTS[:1]).repeat(8, 1, 1)
    labels = torch.arange(len(outputs)) % 2
    config = MetaConfig(width=8, heads=2, layers=1, steps=2)
    model = train_meta(outputs, labels, WEIGHTS, config, 0, torch.device("cpu"), Recorder())
    assert isinstance(model, MetaTransformer)
    assert model.partial is partial
    assert bool(model(OUTPUTS).isfinite().all()) is partial
