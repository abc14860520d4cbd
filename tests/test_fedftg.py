"""FedFTG: its terms by hand, and its rounds."""

import math
from pathlib import Path

import pytest
import torch

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.methods.dfrd import dfrd
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.fedftg import fedftg, fine_tune
from mosaic_fl.methods.outcome import Method
from mosaic_fl.methods.rounds import load_model
from mosaic_fl.methods.settings import check_student_steps
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.experts import class_weights
from mosaic_fl.server.synthesis.ensemble import FrozenExperts
from mosaic_fl.server.synthesis.generator import draw, new_generator
from mosaic_fl.server.synthesis.losses import expert_distance, label_weighted
from mosaic_fl.training.monitor import Recorder
from rounds import CPU, check_a_method, run, weights

COUNTS = torch.tensor([[30, 0, 5], [10, 20, 0]])
ALPHA = torch.tensor([[0.75, 0.0, 1.0], [0.25, 1.0, 0.0]])


def test_class_level_weights() -> None:
    assert torch.equal(class_weights(COUNTS), ALPHA)


def test_labels_are_drawn_in_proportion() -> None:
    _, labels = draw(SynthesisConfig(batch_size=40_000, latent=1), COUNTS.sum(0), Stream(0, "x").torch(), CPU)
    found = torch.bincount(labels, minlength=3) / 40_000
    assert torch.allclose(found, torch.tensor([40, 20, 5]) / 65, atol=0.01)
    few = SynthesisConfig(batch_size=1000, latent=1)
    _, labels = draw(few, torch.tensor([3, 0, 1]), Stream(0, "x").torch(), CPU)
    assert 1 not in labels  # nobody holds it


def test_distance_and_ensemble_of_a_sample_by_hand() -> None:
    """Class 0: ¾ of expert 0 and ¼ of expert 1; class 1: expert 1 alone."""
    outputs = torch.tensor([[[3.0, 0.0, 0.0], [0.0, 6.0, 0.0]]]).expand(2, 2, 3)
    student, labels = torch.tensor([[0.0, 0.0, 3.0]]).expand(2, 3), torch.tensor([0, 1])
    distances = expert_distance(outputs, student, labels, ALPHA)
    assert distances.tolist() == pytest.approx([0.75 * 2 + 0.25 * 3, 3.0])
    assert label_weighted(outputs, labels, ALPHA).tolist() == [[2.25, 1.5, 0.0], [0.0, 6.0, 0.0]]
    probabilities = label_weighted(outputs.softmax(2), labels, ALPHA)
    assert torch.allclose(probabilities.sum(1), torch.ones(2))
    expected = 0.75 * math.exp(3) / (math.exp(3) + 2) + 0.25 / (math.exp(6) + 2)
    assert float(probabilities[0, 0]) == pytest.approx(expected, abs=1e-6)


def test_a_student_that_is_the_only_expert_has_nothing_to_learn(digits: Dataset) -> None:
    """KL is 0 and so is its gradient."""
    with Stream(0, "init").ambient():
        state = copy_state(build("cnn:4:1", digits.schema))
    student = load_model("cnn:4:1", digits.schema, state)
    settings = SynthesisConfig(epochs=2, generator_steps=1, student_steps=2, batch_size=8, latent=4, width=4)
    generator = new_generator(digits.schema, settings, Stream(0, "generator"))
    ensemble = FrozenExperts([load_model("cnn:4:1", digits.schema, state)], CPU)
    counts = torch.arange(10)[None]
    recorder = Recorder()
    fine_tune(student, generator, ensemble, counts, settings, Stream(0, "x"), recorder)
    assert recorder.metrics[0]["student_loss"] == pytest.approx(0, abs=1e-5)
    for name, tensor in student.state_dict().items():
        assert torch.allclose(tensor, state[name], atol=1e-4), name


@pytest.mark.parametrize("method", [fedftg, dfrd])
def test_without_a_step_worth_the_name_it_is_fedavg(digits: Dataset, method: Method) -> None:
    """Statistics of batch norm included, which are never those of the generator's images."""
    (one, _), (plain, _) = run(method, digits, 1, synthesis_student_lr=1e-12), run(fedavg, digits, 1)
    assert torch.allclose(weights(one), weights(plain), atol=1e-7)
    assert not torch.allclose(weights(run(method, digits, 1)[0]), weights(plain))


def test_its_rounds(digits: Dataset, tmp_path: Path) -> None:
    check_a_method(fedftg, fedavg, digits, tmp_path)


def test_a_student_without_steps_is_refused(digits: Dataset) -> None:
    config = Config().with_values({"run.method": "fedftg", "synthesis.student_steps": 0})
    with pytest.raises(UsageError, match="fedftg has no image pool"):
        check_student_steps(config)
