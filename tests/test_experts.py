"""The gates on hand-made expert outputs: two experts, three classes."""

import math

import pytest
import torch

from mosaic_fl.config import MetaConfig
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build
from mosaic_fl.server.experts import (
    MixtureOfExperts,
    class_balanced,
    class_priors,
    class_weighted,
    class_weights,
    evening,
    mean_logits,
    mean_probabilities,
)
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.meta_training import meta_log_probabilities, train_meta
from mosaic_fl.server.teachers import Teachers
from mosaic_fl.training.monitor import Recorder

COUNTS = torch.tensor([[30, 0, 0], [10, 5, 0]])


def test_class_weights_are_shares_of_each_class() -> None:
    weights = class_weights(COUNTS)
    assert torch.allclose(weights, torch.tensor([[0.75, 0.0, 0.0], [0.25, 1.0, 0.0]]))


def test_a_class_nobody_holds_has_no_expert() -> None:
    assert class_weights(COUNTS)[:, 2].sum() == 0


def test_gates_by_hand() -> None:
    # Expert 0 says (1/2, 1/2, 0) nearly, expert 1 says (0, 1/4, 3/4) nearly.
    said = torch.tensor([[[0.5, 0.5, 1e-9], [1e-9, 0.25, 0.75]]])
    outputs = said.log()
    assert torch.allclose(mean_probabilities(outputs).exp(), torch.tensor([[0.25, 0.375, 0.375]]), atol=1e-6)
    # Σ_k w·p = (0.75·0.5, 1·0.25, 0) = (0.375, 0.25, 0) -> normalised by 0.625.
    assert torch.allclose(
        class_weighted(outputs, class_weights(COUNTS)).exp(), torch.tensor([[0.6, 0.4, 0.0]]), atol=1e-6
    )
    # Mean logits: softmax of the geometric mean, (√(0.5·1e-9), √0.125, √(0.75·1e-9)): the second wins.
    assert mean_logits(outputs).argmax() == 1


def test_the_balanced_gate_by_hand() -> None:
    priors = class_priors(COUNTS)
    assert torch.allclose(priors, torch.tensor([[31, 1, 1], [11, 6, 1]]) / torch.tensor([[33], [18]]))
    # What the experts say once their priors are taken off: (1/2, 1/4, 1/4) and (1/4, 1/2, 1/4).
    balanced = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]])
    outputs = (balanced * priors).log()
    # Π_k q_k^w: class 0 is 2^(−1·¾ − 2·¼) = 2^−1.25, class 1 is 2^−1, class 2 has no expert.
    expected = torch.tensor([[2**-1.25, 0.5, 0.0]]) / (2**-1.25 + 0.5)
    assert torch.allclose(class_balanced(outputs, class_weights(COUNTS), priors).exp(), expected, atol=1e-6)


def test_experts_that_only_repeat_what_they_saw_more_often_say_nothing() -> None:
    priors = class_priors(COUNTS)
    said = class_balanced(priors.log()[None], class_weights(COUNTS), priors).exp()
    assert torch.allclose(said, torch.tensor([[0.5, 0.5, 0.0]]), atol=1e-6)


def test_gates_give_log_probabilities() -> None:
    outputs = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(0)) * 20
    for gate in (
        mean_logits(outputs),
        mean_probabilities(outputs),
        class_weighted(outputs, class_weights(COUNTS)),
        class_balanced(outputs, class_weights(COUNTS), class_priors(COUNTS)),
    ):
        assert torch.allclose(gate.exp().sum(1), torch.ones(50), atol=1e-5)
        assert gate.isfinite().all()


def test_an_untrained_meta_model_is_the_class_weighted_ensemble() -> None:
    weights = class_weights(COUNTS)
    model = MetaTransformer(weights, MetaConfig(width=8, heads=2))
    outputs = torch.randn(9, 2, 3)
    assert torch.allclose(meta_log_probabilities(model, outputs), class_weighted(outputs, weights), atol=1e-5)


def test_a_meta_model_learns_whom_to_believe() -> None:
    """Expert 0 always says class 0, expert 1 is right but unsure: only the class-weighted gate falls for it."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (600,), generator=rng)
    outputs = torch.zeros(600, 2, 3)
    outputs[:, 0, 0] = 8.0
    outputs[torch.arange(600), 1, labels] = 0.3
    weights = class_weights(COUNTS)
    before = (class_weighted(outputs, weights).argmax(1) == labels).float().mean()
    config = MetaConfig(width=16, heads=2, steps=150, batch_size=64, lr=5e-3, ema=0.9)
    model = train_meta(outputs, labels, weights, config, 0, torch.device("cpu"), Recorder())
    after = (meta_log_probabilities(model, outputs).argmax(1) == labels).float().mean()
    assert before < 0.6
    assert after > 0.99


def test_training_never_ends_worse_than_the_class_weighted_ensemble_on_its_hold_out() -> None:
    labels = torch.arange(40) % 3
    outputs = 10 * torch.nn.functional.one_hot(labels, 3).float()[:, None].repeat(1, 2, 1)
    weights = torch.full((2, 3), 0.5)
    wild = MetaConfig(width=8, steps=20, lr=10.0, ema=0.0, batch_size=8)
    model = train_meta(outputs, labels, weights, wild, 0, torch.device("cpu"), Recorder())
    assert (meta_log_probabilities(model, outputs).argmax(1) == labels).all()


def test_evening_by_hand() -> None:
    """Two images that are alike: p = (0.8, 0.2) becomes even with b = (−ln 2, ln 2)."""
    log_p = torch.tensor([[0.8, 0.2]] * 2).log()
    assert torch.allclose(evening(log_p), torch.tensor([-math.log(2), math.log(2)]), atol=1e-5)
    even = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    assert torch.allclose((even + evening(even)).softmax(1).mean(0), torch.full((4,), 0.25), atol=1e-4)


def test_the_evened_teacher_adds_half_of_it_and_leaves_classes_that_nobody_holds() -> None:
    experts = MixtureOfExperts((), torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[0.4, 0.4, 0.2]]))
    outputs = torch.tensor([[[math.log(4), 0.0, 0.0]]]).expand(2, 1, 3)
    teachers = Teachers(experts, None)
    teachers = teachers.evened_over(teachers.log_probabilities("class_balanced", outputs))
    assert teachers.bias is not None
    assert teachers.bias.tolist() == pytest.approx([-math.log(2) / 2, math.log(2) / 2, 0], abs=1e-4)
    balanced, evened = (teachers.log_probabilities(t, outputs) for t in ("class_balanced", "class_evened"))
    gain = (evened - balanced)[0]
    assert float(gain[1] - gain[0]) == pytest.approx(math.log(2), abs=1e-4)
    assert float(evened[0, 2].exp()) < 1e-6


def test_an_expert_whose_outputs_are_not_finite_is_named() -> None:
    # Its reading may have been too costly to try it there.
    experts = tuple(build("mlp:2:1", image_schema((1, 2, 2), ("a", "b"))).eval() for _ in range(2))
    with torch.no_grad():
        experts[1].head.weight.fill_(3e38)
        experts[1].head.bias.fill_(3e38)
    kinds = image_schema((1, 2, 2), ("a", "b")).fields
    samples = Samples(kinds, {"image": torch.full((3, 1, 2, 2), 255, dtype=torch.uint8)})
    weights = torch.ones(2, 2)
    assert MixtureOfExperts(experts[:1], weights[:1], weights[:1], (4,)).outputs(samples).isfinite().all()
    with torch.no_grad():
        for parameter in experts[1].body.parameters():
            parameter.fill_(1.0)
    with pytest.raises(UsageError, match="the expert of client 7 gives non-finite outputs: leave its contribution out"):
        MixtureOfExperts(experts, weights, weights, (4, 7)).outputs(samples)
