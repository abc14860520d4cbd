"""`generator.family = measured` of tables: families are compared by what their samples teach."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mosaic_fl.client import generators as client
from mosaic_fl.client.choice import LEAST_VALIDATION, best, rivals
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.client.usefulness import SMOOTHING, log_loss
from mosaic_fl.config import Config, GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.base import Generator
from mosaic_fl.generators.cart import Cart
from mosaic_fl.generators.cart.generator import spec
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder
from table_cases import SCHEMA, patients, rows

CPU = torch.device("cpu")
MEASURED = GeneratorConfig(family="measured")
SHORT = {"train.max_steps": 5, "train.min_steps": 5, "generator.steps": 5}


class Copies(Cart):
    """Draws the rows of `data`, with the label that it is told to draw for each class."""

    def __init__(self, data: Dataset, means: tuple[int, ...] = (0, 1, 2)) -> None:
        super().__init__(spec(GeneratorConfig(), SCHEMA), SCHEMA)
        self.data = data
        self.means = means

    def rows(self, z: Tensor, labels: Tensor) -> Tensor:
        values = self.data.samples.only
        result = torch.empty(len(labels), values.shape[1])
        for label in labels.unique().tolist():
            own = values[self.data.labels == self.means[label]]
            mine = (labels == label).nonzero().flatten()
            result[mine] = own[torch.arange(len(mine)) % len(own)]
        return result


def contribution(data: Dataset, **settings: object) -> Contribution:
    config = Config().with_values({**SHORT, **{name.replace("__", "."): value for name, value in settings.items()}})
    return contribute(Site(1, data, "mlp:8:1"), config, CPU, lambda _: Recorder())


def test_rivals_need_rows_to_learn_from_and_rows_to_be_compared_on() -> None:
    assert rivals(MEASURED, 499, LEAST_VALIDATION, 2, SCHEMA) == ["marginals"]
    assert rivals(MEASURED, 500, LEAST_VALIDATION, 2, SCHEMA) == ["marginals", "tabular"]
    assert rivals(MEASURED, 500, LEAST_VALIDATION - 1, 2, SCHEMA) == []
    assert rivals(MEASURED, 500, LEAST_VALIDATION, 1, SCHEMA) == []
    for family in ("cart", "auto", "none"):
        assert rivals(GeneratorConfig(family=family), 500, 99, 2, SCHEMA) == []
    assert rivals(MEASURED, 500, 99, 2, image_schema((1, 8, 8), ("a", "b"))) == []


def test_the_least_loss_wins_and_of_equals_the_first() -> None:
    assert best({"cart": 0.5, "marginals": 0.25}, 40) == (
        "marginals", "log-loss on 40 validation samples of what its samples teach: cart 0.500, marginals 0.250"
    )  # fmt: skip
    assert best({"cart": 0.25, "marginals": 0.25}, 40)[0] == "cart"


def test_samples_that_are_right_teach_and_wrong_ones_mislead() -> None:
    train, validation = patients(200), patients(40, seed=9)
    stream = Stream(0, "usefulness", 0)
    right = log_loss(Copies(train), train, validation, stream)
    assert right < 0.02
    assert right == log_loss(Copies(train), train, validation, stream)
    wrong = log_loss(Copies(train, (1, 0, 2)), train, validation, stream)
    assert wrong > 3
    assert wrong < -math.log(SMOOTHING / 3) + 1e-6


def test_a_client_of_one_class_gives_the_others_next_to_no_probability() -> None:
    one = rows(patients(100).samples.only, torch.zeros(100))
    validation = patients(40, seed=9)  # half of it of another class
    loss = log_loss(Copies(one), one, validation, Stream(0, "usefulness", 0))
    known = 1 - SMOOTHING + SMOOTHING / 3
    assert loss == pytest.approx(-0.5 * (math.log(known) + math.log(SMOOTHING / 3)))


@pytest.mark.parametrize("winner", ["cart", "marginals"])
def test_a_client_sends_what_taught_most_and_says_why(monkeypatch: pytest.MonkeyPatch, winner: str) -> None:
    def loss(generator: Generator, *_: object) -> float:
        return 0.5 - 0.25 * (generator.spec.family == winner)

    monkeypatch.setattr(client, "log_loss", loss)
    made = contribution(patients(340), generator__family="measured")
    assert made.generator_line.startswith(f"{winner} (log-loss on 34 validation samples")
    named = contribution(patients(340), generator__family=winner)
    assert made.generator is not None
    assert named.generator is not None
    assert all(torch.equal(tensor, named.generator[name]) for name, tensor in made.generator.items())
    assert replace(made, generator_note="").to_bytes() == replace(named, generator_note="").to_bytes()


def test_few_validation_rows_leave_trees() -> None:
    made = contribution(patients(280), generator__family="measured")
    assert made.generator_line == "cart (it draws samples of the kind table)"


def test_auto_takes_trees_without_a_comparison() -> None:
    assert contribution(patients(340)).generator_line == "cart (it draws samples of the kind table)"


def test_images_have_no_rivals() -> None:
    schema = image_schema((1, 8, 8), ("a", "b"))
    images = Samples(schema.fields, {"image": torch.zeros(400, 1, 8, 8, dtype=torch.uint8)})
    data = Dataset(images, torch.arange(400) % 2, schema)
    made = contribute(
        Site(0, data, "mlp:8:1"),
        Config().with_values({**SHORT, "generator.family": "measured"}),
        CPU,
        lambda _: Recorder(),
    )
    assert made.generator_line == "cvae (a flow would take too long without an accelerator)"
