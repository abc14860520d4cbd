import pytest
import torch

from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.client.prototypes import prototypes
from mosaic_fl.config import Config, PrototypesConfig, TrainConfig
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.experts.training import score, steps_for, train_classifier
from mosaic_fl.forecast.plans import plan_contribution
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
QUICK = Config().with_values(
    {
        "train.max_steps": 20,
        "train.min_steps": 5,
        "generator.steps": 10,
        "generator.latent": 4,
        "generator.width": 4,
    }
)


def classifier(data: Dataset, spec: str = "mlp:32") -> torch.nn.Module:
    with Stream(0, "init").ambient():
        return build(spec, data.schema)


@pytest.mark.parametrize(
    ("samples", "steps"),
    [
        (640, 100),  # 10 passes of 10 batches of 64
        (641, 110),  # the 641st sample begins an 11th batch
        (10, 50),  # 10 steps would be too few
        (6400, 500),  # 1000 would be too many
    ],
)
def test_steps(samples: int, steps: int) -> None:
    assert steps_for(samples, TrainConfig(epochs=10, batch_size=64, min_steps=50, max_steps=500)) == steps


def test_a_generator_s_passes_are_as_many_steps_in_training_as_in_the_forecast(digits: Dataset) -> None:
    """3 passes over 100 samples of 2 batches; a tiny share of a pass is a step; without passes the steps count."""
    for epochs, steps in ((3.0, 6), (0.01, 1), (0.0, 10)):
        config = QUICK.with_values({"generator.epochs": epochs, "data.validation": 0.0})
        assert config.generator.steps_for(100) == steps
        site, totals = Site(0, digits.subset(range(100)), "mlp:4"), dict[str, int]()

        def hear(stage: str, _: int, done: int, total: int, totals: dict[str, int] = totals) -> None:
            totals[stage] = total

        contribute(site, config, CPU, lambda stage, hear=hear: Recorder(stage, listen=hear))  # type: ignore[misc]
        assert totals["generator"] == steps
        assert plan_contribution(site, config, CPU).steps_by_stage()["generator"] == steps


def test_training_learns_real_digits(digits: Dataset) -> None:
    train, rest = digits.subset(range(1000)), digits.subset(range(1000, 1300))
    model = classifier(digits)
    config = TrainConfig(max_steps=300)
    figures = train_classifier(model, train, rest, config, Stream(0, "t"), CPU, Recorder()).validation
    assert figures["accuracy"] > 0.9
    assert score(model, rest, CPU) == figures


def test_it_ends_with_the_best_weights_on_validation(digits: Dataset) -> None:
    train, rest = digits.subset(range(60)), digits.subset(range(1000, 1200))
    recorder, model = Recorder(), classifier(digits)
    config = TrainConfig(max_steps=200, min_steps=200, check_every=10, patience=0, lr=0.02)
    trained = train_classifier(model, train, rest, config, Stream(0, "t"), CPU, recorder)
    assert trained.steps == 200
    assert trained.validation["loss"] == pytest.approx(min(m["validation_loss"] for m in recorder.metrics), abs=1e-5)


def test_patience_stops_early(digits: Dataset) -> None:
    train, rest = digits.subset(range(40)), digits.subset(range(1000, 1200))
    config = TrainConfig(max_steps=1000, min_steps=1000, check_every=5, patience=2, lr=0.05)
    assert train_classifier(classifier(digits), train, rest, config, Stream(0, "t"), CPU, Recorder()).steps < 1000


def test_the_same_stream_gives_the_same_weights(digits: Dataset) -> None:
    def weights() -> torch.Tensor:
        model, part = classifier(digits), digits.subset(range(100))
        train_classifier(model, part, part.subset([]), TrainConfig(max_steps=20), Stream(3, "t", 1), CPU, Recorder())
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(weights(), weights())


def test_divergence_is_an_error_that_names_the_learning_rate(digits: Dataset) -> None:
    config = TrainConfig(optimiser="sgd", lr=1e30, max_steps=100, check_every=10)
    with pytest.raises(MosaicError, match=r"lower train.lr \(now 1e\+30\)"):
        train_classifier(
            classifier(digits),
            digits.subset(range(200)),
            digits.subset([]),
            config,
            Stream(0, "t"),
            CPU,
            Recorder(),
        )


@pytest.mark.parametrize("spec", ["mlp:8", "cnn:4"])
@pytest.mark.parametrize("rows", [[0], [0, 10], list(range(19)), [0, 10, 20, 30, 36, 48, 49, 55, 72, 78]])
def test_tiny_clients_contribute(digits: Dataset, rows: list[int], spec: str) -> None:
    """One sample, two of one class, almost enough for a generator, ten of one class (0)."""
    made = contribute(Site(0, digits.subset(rows), spec), QUICK, CPU, lambda _: Recorder())
    assert int(made.class_counts.sum()) <= len(rows)
    assert made.build_generator() is None
    assert "fewer than generator.min_samples = 20" in made.generator_note


@pytest.mark.parametrize("family", ["cvae", "dcgan", "cdcgan", "flow"])
def test_a_client_of_one_class_and_one_of_constant_images_send_generators(digits: Dataset, family: str) -> None:
    config = QUICK.with_values({"generator.family": family})
    one_class = digits.subset((digits.labels == 3).nonzero().flatten()[:25])
    blank = image_dataset(torch.full_like(one_class.images, 9), one_class.labels, digits.schema)
    for data in (one_class, blank):
        made = contribute(Site(0, data, "cnn:4"), config, CPU, lambda _: Recorder())
        generator = made.build_generator()
        assert generator is not None
        assert generator.sample(torch.tensor([3, 3]), Stream(0, "s").torch()).isfinite().all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"generator.family": "flow"}, "at most 12288 values"),
        (
            {"generator.family": "cdcgan", "generator.adversarial": 0},  # and LeNet remembers no statistics
            "no term of the generat",
        ),
    ],
)
def test_a_generator_that_cannot_be_had_is_told_before_any_training(values: dict[str, object], message: str) -> None:
    images, labels = torch.zeros(20, 3, 72, 72, dtype=torch.uint8), torch.arange(20) % 2
    large = image_dataset(images, labels, image_schema((3, 72, 72), ("a", "b")))
    off = {"generator.entropy": 0, "generator.diversity": 0, "generator.min_samples": 2}

    def trains(stage: str) -> Recorder:
        raise AssertionError(stage)

    with pytest.raises(UsageError, match=message):
        contribute(Site(0, large, "lenet"), QUICK.with_values(off | values), CPU, trains)


def test_no_generator_says_why(digits: Dataset) -> None:
    config = QUICK.with_values({"generator.family": "none"})
    made = contribute(Site(0, digits.subset(range(50)), "mlp:8"), config, CPU, lambda _: Recorder())
    assert (made.generator_spec, made.generator_note) == (None, "generator.family is none")


def test_nothing_learns_from_the_validation_split(digits: Dataset) -> None:
    made = contribute(Site(0, digits.subset(range(100)), "mlp:8"), QUICK, CPU, lambda _: Recorder())
    assert int(made.class_counts.sum()) + made.validation["samples"] == 100
    assert made.validation["samples"] > 0


def test_prototypes_have_a_floor_and_lie_among_their_samples(digits: Dataset) -> None:
    model, data = classifier(digits).eval(), digits.subset(range(300))
    found = prototypes(model, data, PrototypesConfig(per_class=4, min_cluster=5), Stream(0, "p"))
    assert int(found.sizes.min()) >= 5
    assert max(torch.bincount(found.labels).tolist()) <= 4
    assert found.features.shape == (len(found.labels), 32)
    again = prototypes(model, data, PrototypesConfig(per_class=4, min_cluster=5), Stream(0, "p"))
    assert torch.equal(found.features, again.features)


def test_one_centre_is_the_class_mean(digits: Dataset) -> None:
    model, data = classifier(digits).eval(), digits.subset(range(100))
    found = prototypes(model, data, PrototypesConfig(per_class=1, min_cluster=1), Stream(0, "p"))
    zeros = data.samples[data.labels == 0].inputs()
    assert torch.allclose(found.features[found.labels == 0][0], model.features(zeros).mean(0), atol=1e-5)


def test_a_class_below_the_floor_has_no_prototype(digits: Dataset) -> None:
    rows = torch.cat([(digits.labels == 0).nonzero()[:4], (digits.labels == 1).nonzero()[:9]]).flatten()
    config = PrototypesConfig(per_class=10, min_cluster=5)
    found = prototypes(classifier(digits).eval(), digits.subset(rows), config, Stream(0, "p"))
    assert found.labels.tolist() == [1]


def test_nobody_sends_prototypes_unasked(digits: Dataset) -> None:
    found = prototypes(classifier(digits).eval(), digits.subset(range(300)), PrototypesConfig(), Stream(0, "p"))
    assert found.features.shape == (0, 32)
    assert not len(found.labels)
    assert not len(found.sizes)


def test_identical_samples_make_one_cluster(digits: Dataset) -> None:
    same = digits.subset([0] * 30)
    found = prototypes(classifier(digits).eval(), same, PrototypesConfig(per_class=3, min_cluster=5), Stream(0, "p"))
    assert found.sizes.tolist() == [30]
