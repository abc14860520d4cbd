"""The VAE `tabular`: its likelihood by hand, its draws, its training."""

import math

import pytest
import torch
from torch import Tensor

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import from_network
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.generators.tabular import FAMILY, Decoder, training
from mosaic_fl.generators.tabular.outputs import COMPONENTS, FARTHEST, LEAST_SCALE, NOWHERE, STEP, Outputs
from mosaic_fl.generators.tabular.training import spec
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder
from table_cases import SCHEMA, patients, rows

CPU = torch.device("cpu")
TABLE = Table(
    (
        Column("ward", "category", categories=("a", "b", "c"), missing=True),
        Column("dose", "numeric", low=0, high=4, knots=(0, 4), missing=True),
        Column("smoker", "boolean"),
    )
)
OUTPUTS = Outputs(TABLE)  # 12 of the number, 1 of the truth value, 3 of the category, 2 of what is missing
WIDTH = 3 * COMPONENTS + 6
SCALE = LEAST_SCALE + math.log(2) / 4
NONE_FREQUENT = torch.full((1, 8), NOWHERE)


def normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def fit(data: Dataset, steps: int = 600, **settings: float) -> Decoder:
    config = GeneratorConfig(steps=steps, **settings)
    generator = FAMILY.train(data, None, config, Stream(0, "generator", 0), CPU, Recorder())
    assert isinstance(generator, Decoder)
    return generator


def drawn(generator: Decoder, labels: Tensor) -> Tensor:
    return generator.samples(SCHEMA.fields, labels, torch.Generator().manual_seed(0)).only


def test_the_likelihood_of_a_row_is_the_product_of_its_columns() -> None:
    assert OUTPUTS.width == WIDTH
    there = TABLE.to_network(torch.tensor([[1.0, 2.0, 1.0]]))  # the dose is in the middle: position 0
    value = float(OUTPUTS.log_likelihood(torch.zeros(1, WIDTH), there))
    inside = math.log(2 * normal(STEP / SCALE) - 1)
    assert value == pytest.approx(inside - math.log(3) - 3 * math.log(2), abs=1e-5)


def test_what_is_missing_has_the_likelihood_of_being_so_alone() -> None:
    row = TABLE.to_network(torch.tensor([[torch.nan, torch.nan, 0.0]]))
    outputs = torch.zeros(1, WIDTH)
    outputs[0, -2:] = 3.0  # logits of missing
    outputs[0, -3] = 5.0  # of category c, which counts for nothing
    assert float(OUTPUTS.log_likelihood(outputs, row)) == pytest.approx(
        math.log(0.5) - 2 * math.log1p(math.exp(-3)), abs=1e-5
    )


def test_the_end_of_a_range_has_all_that_is_beyond() -> None:
    row = TABLE.to_network(torch.tensor([[0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]))
    outputs = torch.zeros(2, WIDTH)
    outputs[:, COMPONENTS : 2 * COMPONENTS] = 20  # means at `FARTHEST`
    rest = -math.log(3) - 3 * math.log(2)
    high, low = (OUTPUTS.log_likelihood(outputs, row) - rest).tolist()
    assert high == pytest.approx(math.log(1 - normal((1 - STEP - FARTHEST) / SCALE)), abs=1e-5)
    assert low < -50  # twelve scales away, and finite


def test_values_are_drawn_from_their_distributions_not_their_most_probable() -> None:
    outputs = torch.zeros(4000, WIDTH)
    outputs[:, -2] = math.log(0.25 / 0.75)  # a quarter of the wards is missing
    u = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    values = from_network({"table": TABLE}, OUTPUTS.draw(outputs, u, NONE_FREQUENT)).only
    ward, dose, smoker = values.T
    assert float(ward.isnan().float().mean()) == pytest.approx(0.25, abs=0.02)
    for code in range(3):
        assert float((ward == code).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float(dose.isnan().float().mean()) == pytest.approx(0.5, abs=0.02)
    assert float(smoker.mean()) == pytest.approx(0.5, abs=0.02)
    there = dose[~dose.isnan()]
    assert float(there.mean()) == pytest.approx(2, abs=0.05)
    assert float(there.std()) == pytest.approx(2 * SCALE, abs=0.02)


def test_one_uniform_number_draws_a_value_and_whether_it_is_missing() -> None:
    outputs = torch.zeros(1, WIDTH)
    for level, expected in ((0.2, torch.nan), (0.49, torch.nan), (0.51, 0.0), (0.75, 1.0), (0.99, 2.0)):
        ward = TABLE.to_rest(OUTPUTS.draw(outputs, torch.tensor([[level, 0.9, 0.1]]), NONE_FREQUENT))[0, 0]
        assert torch.equal(ward, torch.tensor(expected)) or (ward.isnan() and math.isnan(expected))


def test_a_frequent_value_is_drawn_as_it_is() -> None:
    doses = torch.tensor([1.0] * 12 + [3.0] * 9 + [2.5, 0.5] + [torch.nan] * 12)
    data = torch.stack([torch.zeros(35), doses, torch.zeros(35)], 1)
    frequent = OUTPUTS.frequent(TABLE.to_network(data), 10)
    assert frequent.tolist() == [[-0.5] + [NOWHERE] * 7]  # 3 has nine rows
    outputs = torch.zeros(2, WIDTH)
    outputs[:, -1] = -20
    outputs[:, COMPONENTS : 2 * COMPONENTS] = torch.tensor([[-0.49], [-0.4]]).div(FARTHEST).atanh()
    levels = torch.full((2, 3), 0.375)  # the middle of the second component
    rows_ = OUTPUTS.draw(outputs, levels, frequent)
    assert TABLE.to_rest(rows_)[:, 1].tolist() == pytest.approx([1.0, 1.2], abs=1e-4)


@pytest.fixture(scope="module")
def generator() -> Decoder:
    return fit(patients(250), 300, lr=1e-2)


def test_what_is_drawn_follows_the_laws_of_the_data(generator: Decoder) -> None:
    labels = torch.arange(4000) % 2
    values = drawn(generator, labels)
    SCHEMA.kind.check(values)
    age, dose, _, ward = values.T
    assert float((age[labels == 0] > 50).float().mean()) > 0.95
    assert float((age[labels == 1] < 50).float().mean()) > 0.95
    assert float((dose == 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert float(dose.isnan().float().mean()) == pytest.approx(0.25, abs=0.06)
    assert float((ward == 2)[labels == 1].float().mean()) > 0.95


def test_a_law_between_columns_is_learnt() -> None:
    data = patients(200)
    values = data.samples.only[:, :3]
    wards = torch.arange(200) // 2 % 3  # of both classes alike, and the age follows
    rows_ = torch.stack([20.0 + 30 * wards, values[:, 1], values[:, 2], wards.float()], 1)
    age, _, _, ward = drawn(fit(rows(rows_, data.labels), 300, lr=1e-2, kl=0.1), torch.arange(2000) % 2).T
    assert float(((age - 20 - 30 * ward).abs() < 10).float().mean()) > 0.8


def test_it_is_small(generator: Decoder) -> None:
    assert sum(tensor.nbytes for tensor in generator.state_dict().values()) < 60_000


def test_the_same_stream_gives_the_same_weights_and_rows() -> None:
    one, other = (fit(patients(100), 30) for _ in range(2))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
    labels = torch.arange(50) % 2
    assert torch.equal(drawn(one, labels).nan_to_num(-1), drawn(other, labels).nan_to_num(-1))


def test_training_ends_where_held_out_rows_gain_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECK_EVERY", 10)
    monitor = Recorder()
    data = patients(300)  # the least of which some are held out
    noise = torch.rand(300, generator=torch.Generator().manual_seed(3)) < 0.5
    labels = torch.where(noise, data.labels, 1 - data.labels)  # nothing to learn of the class
    config = GeneratorConfig(steps=2_000, lr=2e-2, batch_size=32)
    FAMILY.train(rows(data.samples.only, labels), None, config, Stream(0, "generator", 0), CPU, monitor)
    assert monitor.metrics[-1]["step"] < 1000


@pytest.mark.parametrize("number", [9, 10, 60])
def test_few_rows_constant_columns_and_absent_ones_are_learnt(number: int) -> None:
    values = torch.full((number, 4), torch.nan)
    values[:, 0] = 40
    values[:, 2] = 1
    values = drawn(fit(rows(values, torch.zeros(number)), 20), torch.arange(30) % 3)
    SCHEMA.kind.check(values)


def test_the_specification_counts_a_latent_for_each_column() -> None:
    assert spec(GeneratorConfig(family="tabular", latent=5), SCHEMA).latent == 9
