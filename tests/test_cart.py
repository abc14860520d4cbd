"""Sequential trees: nodes that can only be trees, leaves of ten rows and more, draws by hand, laws of what is drawn."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cart_cases import CODES, NUMBER, drawn, fit
from mosaic_fl.client.choice import pick_family
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config, GeneratorConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.forecast.sizes import generator_outline
from mosaic_fl.generators.base import build
from mosaic_fl.generators.cart import Cart, leaves
from mosaic_fl.generators.cart.generator import spec
from mosaic_fl.generators.cart.grouping import groups
from mosaic_fl.generators.cart.trees import LEAF, LEAST, from_bytes, grow, to_bytes, tree_of
from mosaic_fl.methods.fedcvae import with_standard_prior
from mosaic_fl.training.monitor import Recorder
from table_cases import COLUMNS, SCHEMA, patients, rows

CPU = torch.device("cpu")


def test_the_order_of_nodes_says_who_is_whose_child() -> None:
    # x₀ ≤ 0.5 ? leaf 0 : (x₁ ≤ −1 ? leaf 1 : leaf 2)
    tree = tree_of(torch.tensor([0, LEAF, 1, LEAF, LEAF]), torch.tensor([0.5, -1.0]), 2)
    assert tree.leaves == 3
    assert tree.depth == 2
    inputs = torch.tensor([[0.5, 9.0], [0.6, -1.0], [0.6, 0.0]])
    assert tree.leaf_of(inputs).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("feature", "splits", "words"),
    [
        ([LEAF, LEAF], 0, "do not fit together"),
        ([0, LEAF], 1, "do not fit together"),
        ([LEAF, 0, LEAF], 1, "do not fit together"),  # it ends, and goes on
        ([0, LEAF, LEAF], 2, "do not fit together"),
        ([2, LEAF, LEAF], 1, "a column after its own"),
        ([0] * 41 + [LEAF] * 42, 41, "depth 41: at most 40"),
    ],
)
def test_what_is_no_tree_is_refused(feature: list[int], splits: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tree_of(torch.tensor(feature), torch.zeros(splits), 2)


def test_features_travel_as_three_bytes() -> None:
    numbers = torch.tensor([0, 255, 256, 99_999, LEAF])
    assert to_bytes(numbers)[2].tolist() == [0, 1, 0]
    assert torch.equal(from_bytes(to_bytes(numbers)), numbers)


def test_each_leaf_has_ten_rows_and_a_threshold_divides_as_it_did_when_it_grew() -> None:
    rng = torch.Generator().manual_seed(3)
    x = torch.rand(500, 3, generator=rng)
    feature, threshold = grow(x.numpy(), x.square().numpy(), 0)
    tree = tree_of(feature, threshold, 3)
    counts = torch.bincount(tree.leaf_of(x), minlength=tree.leaves)
    assert int(counts.min()) >= LEAST
    assert tree.leaves > 20


def test_a_leaf_of_categories_by_hand() -> None:
    values = torch.tensor([0.0, 0, 2, torch.nan] * 10)
    summary = leaves.summarise(values, torch.zeros(40, dtype=torch.int64), 1, CODES, 5)
    assert summary.tolist() == [[0.5, 0, 0.25, 0.25]]
    # u below 1/4 is missing; the rest of u is shared 2 : 1 by the codes 0 and 2
    u = torch.tensor([0.2, 0.3, 0.74, 0.76, 0.999999])
    values = leaves.draw(summary.expand(5, -1), u, CODES)
    assert values.isnan().tolist() == [True, False, False, False, False]
    assert values[1:].tolist() == [0, 0, 2, 2]


def test_a_leaf_of_numbers_by_hand() -> None:
    # Two of eight are missing, four are 0, which stands for itself, and the others are 0.8 to 40.8, evenly.
    others = torch.arange(0, 41) + 0.8
    values = torch.cat([torch.zeros(82), others, torch.full((41,), torch.nan)])
    summary = leaves.summarise(values, torch.zeros(164, dtype=torch.int64), 1, NUMBER, 3)
    assert summary[0].tolist() == pytest.approx([0, 0.5, 2.8, 20.8, 38.8, 0.25])
    summary = torch.tensor([[0, 0.5, 10, 20, 30, 0.25]])
    # u: 0..¼ missing, ¼..¾ the 0, then from 10 to 30: at ⅞, half-way, 20
    u = torch.tensor([0.1, 0.3, 0.74, 0.875, 0.9375])
    values = leaves.draw(summary.expand(5, -1), u, NUMBER)
    assert bool(values[0].isnan())
    assert values[1:].tolist() == pytest.approx([0, 0, 20, 25])


def test_numbers_that_are_all_different_or_absent_have_no_frequent_one() -> None:
    values = torch.cat([torch.arange(10.0), torch.full((10,), torch.nan)])
    summary = leaves.summarise(values, torch.tensor([0] * 10 + [1] * 10), 2, NUMBER, 3)
    assert summary[0].tolist() == pytest.approx([50, 0, 0.45, 4.5, 8.55, 0])
    assert float(summary[1, -1]) == 1  # its numbers are those of all leaves, never drawn
    assert bool(leaves.draw(summary[1:].expand(9, -1), torch.linspace(0.01, 0.99, 9), NUMBER).isnan().all())


@pytest.mark.parametrize(
    ("summary", "column", "words"),
    [
        ([0.5, 0.4, 0.3, 0.0], CODES, "above 1"),
        ([0.5, 0.1, 0.1, 0.1], CODES, "do not sum to 1"),
        ([1.5, -0.5, 0.0, 0.0], CODES, "below 0"),
        ([torch.inf, 0.0, 0.0, 0.0], CODES, "not finite"),
        ([0.0, 0.0, 5.0, 4.0, 6.0, 0.0], NUMBER, "do not increase"),
        ([0.0, 0.0, 5.0, 6.0, 101.0, 0.0], NUMBER, "out of its range"),
        ([-1.0, 0.0, 5.0, 6.0, 7.0, 0.0], NUMBER, "out of its range"),
        ([0.0, 0.8, 5.0, 6.0, 7.0, 0.3], NUMBER, "above 1"),
        ([0.0, 0.0, 5.0, 6.0, 7.0, -0.1], NUMBER, "below 0"),
    ],
)
def test_what_no_leaf_can_hold_is_refused(summary: list[float], column: Column, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        leaves.check(torch.tensor([summary]), column)


def test_what_is_drawn_obeys_the_laws_of_the_data() -> None:
    generator = fit(patients(800))
    labels = torch.arange(4000) % 2
    age, dose, smoker, ward = drawn(generator, labels).T
    assert bool((age == age.round()).all())
    assert (int(age[labels == 0].min()), int(age[labels == 0].max())) == (60, 80)  # ten rows and more have each
    assert (int(age[labels == 1].min()), int(age[labels == 1].max())) == (20, 40)
    assert float((dose == 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert float(dose.isnan().float().mean()) == pytest.approx(0.25, abs=0.04)
    assert float(dose[dose > 0].min()) >= 5
    assert torch.equal(ward[labels == 0], smoker[labels == 0])  # a law between columns, of one class alone
    assert bool((ward[labels == 1] == 2).all())


def test_the_same_stream_gives_the_same_trees_and_the_same_rows() -> None:
    one, other = (fit(patients(300)) for _ in range(2))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
    labels = torch.arange(50) % 2
    assert torch.equal(drawn(one, labels).nan_to_num(-1), drawn(other, labels).nan_to_num(-1))
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(5))
    network = one(z, labels)
    assert torch.equal(network, SCHEMA.kind.to_network(one.rows(z, labels)))


def test_a_class_of_a_few_rows_shares_trees_and_one_without_rows_is_drawn_as_the_others() -> None:
    many = patients(200)
    few = patients(14, seed=1)
    labels = torch.cat([many.labels, torch.where(few.labels == 0, 2, 1)])
    data = rows(torch.cat([many.samples.only, few.samples.only]), labels)
    generator = fit(data)
    assert generator.group.tolist() == [0, 1, 1]  # 7 rows of the third class are less than a leaf
    values = drawn(generator, torch.full((100,), 2))
    SCHEMA.kind.check(values)
    without = fit(many)
    assert without.group.tolist() == [0, 1, 0]
    SCHEMA.kind.check(drawn(without, torch.full((10,), 2)))


@pytest.mark.parametrize("count", [10, 19, 21])
def test_few_rows_constant_columns_and_absent_ones_are_drawn(count: int) -> None:
    values = torch.full((count, 4), torch.nan)
    values[:, 0] = 40
    values[:, 2] = 1
    values = drawn(fit(rows(values, torch.zeros(count))), torch.zeros(30, dtype=torch.int64))
    assert bool((values[:, 0] == 40).all())
    assert bool((values[:, 2] == 1).all())
    assert bool(values[:, [1, 3]].isnan().all())


@pytest.fixture(scope="module")
def contribution() -> Contribution:
    config = Config().with_values({"train.max_steps": 20, "train.min_steps": 20})
    return contribute(Site(1, patients(300), "mlp:8:1"), config, CPU, lambda _: Recorder())


def test_tables_have_trees_by_default_and_they_travel(contribution: Contribution) -> None:
    assert pick_family(GeneratorConfig(), 300, SCHEMA, CPU)[0] == "cart"
    assert contribution.generator_line == "cart (it draws samples of the kind table)"
    again = Contribution.from_bytes(contribution.to_bytes())
    one, other = contribution.build_generator(), again.build_generator()
    assert isinstance(one, Cart)
    assert isinstance(other, Cart)
    labels = torch.arange(20) % 2
    assert torch.equal(drawn(one, labels).nan_to_num(-1), drawn(other, labels).nan_to_num(-1))
    assert with_standard_prior(contribution) is contribution  # FedCVAE-Ens takes off what a VAE has alone
    counts = contribution.class_counts.tolist()
    assert contribution.generator_spec is not None
    most = build(contribution.generator_spec, SCHEMA).expect(counts).state_dict()
    sizes = {name: tensor.nbytes for name, tensor in (contribution.generator or {}).items()}
    assert all(sizes[name] <= most[name].nbytes for name in sizes)
    outline = generator_outline(contribution.generator_spec, SCHEMA, tuple(counts))  # on the meta device
    assert {name: tuple(tensor.shape) for name, tensor in most.items()} == {name: shape for name, _, shape in outline}


def test_trees_of_an_earlier_version_are_read(contribution: Contribution) -> None:
    state = dict(contribution.generator or {})
    assert not int(state.pop("coded").sum()) + len(state.pop("codes"))
    old = Contribution.from_bytes(replace(contribution, generator=state).to_bytes())
    assert (old.generator or {}).keys() == (contribution.generator or {}).keys()
    generator = old.build_generator()
    assert isinstance(generator, Cart)
    SCHEMA.kind.check(drawn(generator, torch.arange(20) % 2))


@pytest.mark.parametrize("name", ["nodes", "group", "summary"])
def test_trees_without_one_of_their_tensors_are_refused(contribution: Contribution, name: str) -> None:
    state = {other: tensor for other, tensor in (contribution.generator or {}).items() if other != name}
    with pytest.raises(UsageError, match="contribution of client 1, generator: weight '"):
        Contribution.from_bytes(replace(contribution, generator=state).to_bytes())


def hostile(contribution: Contribution, **changes: Tensor) -> Contribution:
    return replace(contribution, generator={**(contribution.generator or {}), **changes})


def changed(tensor: Tensor, place: int, value: float) -> Tensor:
    copy = tensor.clone().flatten()
    copy[place] = value
    return copy.view(tensor.shape)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("nodes", lambda t: t + 1, "do not fit together"),
        ("nodes", lambda t: t + 2, "numbers where its trees need"),
        ("feature", lambda t: t[:-1], "'feature' is torch.uint8"),
        ("nodes", lambda t: -t, "do not fit together"),
        ("nodes", lambda t: t * 0 + 2**62 + 1, "do not fit together"),
        ("nodes", lambda t: t * 0 + 2**19 + 1, "at most 1,048,576 are used"),
        ("nodes", lambda t: t.repeat(3, 1), "groups of trees for 3 classes"),
        ("nodes", lambda t: t[:, :2], "the model has"),
        ("nodes", lambda t: t[:0], "0 groups"),
        ("nodes", lambda t: t.float(), "the model has"),
        ("group", lambda t: t + 2, "a class without trees"),
        ("group", lambda t: t - 5, "a class without trees"),
        ("feature", lambda t: t * 0, "do not fit together"),
        ("feature", lambda t: t * 0 + 255, "do not fit together"),
        ("feature", lambda t: t.view(-1), "feature"),
        ("summary", lambda t: changed(t, 0, 1e9), "out of its range"),
        ("summary", lambda t: -t, "column 'age'"),
        ("threshold", lambda t: t[:-1], "threshold"),
    ],
)
def test_hostile_trees_are_refused_when_they_come(
    contribution: Contribution, name: str, change: object, words: str
) -> None:
    assert callable(change)
    state = contribution.generator
    assert state is not None
    bad = hostile(contribution, **{name: change(state[name])}).to_bytes()
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(bad)


def test_more_trees_than_are_used_are_refused_before_any_is_built() -> None:
    schema = Schema(SCHEMA.fields, tuple(map(str, range(2000))))
    cart = Cart(spec(GeneratorConfig(), schema), schema)
    with pytest.raises(UsageError, match="8,000 trees: at most 4,096 are used"):
        cart.fit_to({"nodes": torch.ones(2000, 4, dtype=torch.int64)})
    nodes = torch.full((1, 4), 2**17 + 1)
    with pytest.raises(UsageError, match="leaves of 5 numbers where its trees need"):
        cart.fit_to({"nodes": nodes, "summary": torch.zeros(5)})


def test_a_site_grows_no_more_trees_than_a_server_takes() -> None:
    counts = torch.full((2000,), 60)
    counts[7] = 90
    group = groups(counts, 4)
    assert int(group.max()) + 1 == 1024
    assert int((group == group[7]).sum()) == 1
    assert int((group == 0).sum()) == 977
    assert int(groups(counts, 2000).max()) + 1 == 2
    assert int(groups(counts, 5000).max()) == 0


def test_a_threshold_that_is_anything_draws_rows_all_the_same(contribution: Contribution) -> None:
    state = contribution.generator
    assert state is not None
    wild = hostile(contribution, threshold=torch.full_like(state["threshold"], -3e38))
    generator = Contribution.from_bytes(wild.to_bytes()).build_generator()
    assert isinstance(generator, Cart)
    SCHEMA.kind.check(drawn(generator, torch.arange(30) % 3))


def test_a_specification_that_does_not_fit_the_schema_is_refused(contribution: Contribution) -> None:
    spec = contribution.generator_spec
    assert spec is not None
    for wrong in (replace(spec, latent=3), replace(spec, width=1)):
        with pytest.raises(UsageError, match="where the schema has 4 columns"):
            Contribution.from_bytes(replace(contribution, generator_spec=wrong).to_bytes())
    assert len(COLUMNS) == 4
