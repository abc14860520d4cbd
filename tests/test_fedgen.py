"""FedGen: its terms by hand, and its rounds."""

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig, TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import FitJob, Fitted
from mosaic_fl.experts.objective import LatentTerm, Objective
from mosaic_fl.generators.latent import Latent, LatentGenerator
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.fedgen import check_head, feature_size, fedgen, train_generator
from mosaic_fl.models import build, trust
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.synthesis.losses import expert_cross_entropy, mode_seeking
from rounds import Listening, run, same_jobs, weights


class Linear(Classifier):
    """Two features of a sample, which are two pixels, and a head that is the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(2, 2, bias=False)
        torch.nn.init.eye_(self.head.weight)

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def one_hot_generator(gain: float) -> dict[str, Tensor]:
    """Weights with which G(ε, y) = gain·one_hot(y), but for the batch norm's 1e-5."""
    generator = LatentGenerator(noise=1, width=2, classes=2, features=2)
    state = copy_state(generator)
    state["body.0.weight"] = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # ε is ignored
    state["body.0.bias"], state["body.3.bias"] = torch.zeros(2), torch.zeros(2)
    state["body.3.weight"] = gain * torch.eye(2)
    return state


def latent(weight: float = 1.0, gain: float = math.log(3), labels: tuple[float, float] = (0.5, 0.5)) -> Latent:
    return Latent(1, 2, 2, torch.tensor(labels), weight, one_hot_generator(gain))


def test_the_latent_term_by_hand() -> None:
    """Logits (ln 3, 0) for the right class: CE = −ln(3/4), whatever the labels drawn."""
    model = Linear()
    term = LatentTerm(latent(weight=2.0), model, Stream(0, "x"))
    assert float(term(50).detach()) == pytest.approx(2 * math.log(4 / 3), abs=1e-4)
    term(50).backward()
    assert all(p.grad is None for p in term.generator.parameters())
    assert model.head.weight.grad is not None
    objective = Objective(model, torch.tensor([1, 1]), TrainConfig(), LatentTerm(latent(), model, Stream(0, "x")))
    images, labels = torch.zeros(3, 1, 1, 2), torch.tensor([0, 1, 1])
    assert float(objective(images, labels).detach()) == pytest.approx(math.log(2) + math.log(4 / 3), abs=1e-4)


def test_labels_of_the_latent_term_follow_the_shares_that_were_sent() -> None:
    """With gain ln 3 on class 0 alone: CE is ln(4/3) for class 0, ln 2 for class 1; a quarter is class 0."""
    sent = latent(labels=(0.25, 0.75))
    sent.state["body.3.weight"][1, 1] = 0.0
    expected = 0.25 * math.log(4 / 3) + 0.75 * math.log(2)
    assert float(LatentTerm(sent, Linear(), Stream(0, "x"))(20_000).detach()) == pytest.approx(expected, abs=0.01)


def test_a_job_with_a_latent_generator_is_plain_data() -> None:
    job = pickle.loads(pickle.dumps(FitJob(0, "mlp:4", {}, {}, latent())))  # noqa: S301
    assert torch.equal(job.latent.state["body.3.weight"], latent().state["body.3.weight"])


def test_the_experts_cross_entropy_by_hand() -> None:
    """Expert 0 has ¼ of class 1, expert 1 the rest, and says it with 3/4 where expert 0 says ½."""
    outputs = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)]]])
    held = torch.tensor([[1.0, 0.25], [0.0, 0.75]])
    expected = 0.25 * math.log(2) + 0.75 * math.log(4 / 3)
    assert float(expert_cross_entropy(outputs, torch.tensor([1]), held)) == pytest.approx(expected, abs=1e-6)
    assert float(expert_cross_entropy(outputs, torch.tensor([0]), held)) == pytest.approx(math.log(2), abs=1e-6)


def test_the_diversity_of_two_samples_by_hand() -> None:
    """d(z) = (1² + 3²)/2 = 5, d'(x) = (2 + 0)/2 = 1; two of the four pairs are of a sample with itself."""
    z, x = torch.tensor([[0.0, 0.0], [1.0, 3.0]]), torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    assert float(mode_seeking(z, x)) == pytest.approx(math.exp(-2.5), abs=1e-6)
    assert float(mode_seeking(z, x[:1].expand(2, 2))) == 1.0


def test_the_generator_learns_what_the_heads_recognise() -> None:
    """Head 0 alone knows class 0 and head 1 alone class 1: each asks for its own feature."""
    with Stream(0, "generator").ambient():
        generator = LatentGenerator(4, 16, 2, 2)
    heads = [torch.nn.Linear(2, 2, bias=False).requires_grad_(False) for _ in range(2)]
    for head, sign in zip(heads, (1.0, -1.0), strict=True):
        head.weight.copy_(sign * torch.eye(2))
    settings = SynthesisConfig(epochs=10, generator_steps=20, lr=1e-2, latent=4, diversity=0.0)
    counts = torch.tensor([[9, 0], [0, 1]])
    assert train_generator(generator, heads, counts, settings, Stream(0, "x")) < 0.1
    features = generator.eval()(torch.randn(50, 4), torch.tensor([0, 1] * 25))
    assert bool((features[0::2, 0] > features[0::2, 1]).all())  # head 0 says class 0
    assert bool((-features[1::2, 1] > -features[1::2, 0]).all())  # head 1 says class 1


def test_features_need_a_head() -> None:
    schema = image_schema((1, 8, 8), ("a", "b"))
    state = copy_state(build("cnn:4:1", schema))
    assert feature_size("cnn:4:1", schema, state) == state["head.weight"].shape[1]
    name = trust(headless)
    with pytest.raises(UsageError, match=f"{name} has none: use a built-in model"):
        check_head(Config(), schema, [name], name)
    check_head(Config(), schema, ["cnn:4:1"], "cnn:4:1")


def headless() -> torch.nn.Module:
    """A user's own model, of which only the logits are known."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))


def test_a_round_is_fedavg_and_the_second_one_is_not(digits: Dataset) -> None:
    (one, _), (plain, _) = run(fedgen, digits, 1), run(fedavg, digits, 1)
    assert torch.equal(weights(one), weights(plain))
    assert (one.bytes_up, one.bytes_down) == (plain.bytes_up, plain.bytes_down)
    (two, heard), (plain, _) = run(fedgen, digits, 2), run(fedavg, digits, 2)
    assert not torch.equal(weights(two), weights(plain))
    sent = heard.jobs[1][0].latent
    assert sent is not None
    counts = sum((f.class_counts for f in heard.answers[0]), torch.zeros(10))
    assert torch.allclose(sent.labels, counts / counts.sum())
    assert two.bytes_up == plain.bytes_up
    assert two.bytes_down[0] > plain.bytes_down[0]  # by the generator


def test_without_the_clients_term_it_is_fedavg(digits: Dataset) -> None:
    (two, _), (plain, _) = run(fedgen, digits, 2, synthesis_local=0.0), run(fedavg, digits, 2)
    assert torch.allclose(weights(two), weights(plain), atol=1e-6)


def test_its_rounds(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FedAvg's first jobs; the same twice; a run cut off in its second round ends alike."""
    (whole, heard), (again, _) = run(fedgen, digits, 3), run(fedgen, digits, 3)
    assert same_jobs(heard.jobs[0], run(fedavg, digits, 1)[1].jobs[0])
    assert torch.equal(weights(whole), weights(again))
    with monkeypatch.context() as patched:
        patched.setattr(Listening, "fit", cut_off)
        with pytest.raises(RuntimeError, match="power cut"):
            run(fedgen, digits, 3, tmp_path)
    resumed, rest = run(fedgen, digits, 3, tmp_path)
    assert len(rest.jobs) == 2
    assert torch.equal(weights(resumed), weights(whole))
    assert (resumed.bytes_up, resumed.bytes_down) == (whole.bytes_up, whole.bytes_down)


def cut_off(federation: Listening, jobs: Any, round: int) -> list[Fitted]:
    """`fit` of a federation whose server dies in the second round."""
    if round:
        raise RuntimeError("power cut")
    return LocalFederation.fit(federation, jobs, round)


def test_no_generator_is_trained_that_no_client_would_see(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def spy(*given: Any) -> float:
        trained.append(given[-1].round)
        return train_generator(*given)

    monkeypatch.setattr("mosaic_fl.methods.fedgen.train_generator", spy)
    run(fedgen, digits, 1)
    assert trained == []
    run(fedgen, digits, 3)
    assert trained == [0, 1]


def test_the_card_holds_the_authors_budget() -> None:
    config = Config().with_values(dict(METHODS["fedgen"].defaults)).synthesis
    assert (config.epochs, config.generator_steps, config.lr, config.latent, config.width) == (10, 5, 3e-4, 32, 256)


def test_different_architectures_are_refused(digits: Dataset) -> None:
    with pytest.raises(UsageError, match="unknown model"):
        run(fedgen, digits, 1, spec="nosuch:4")
