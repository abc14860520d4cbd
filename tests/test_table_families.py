"""Generators of tables as they travel: sizes, hostile states, kinds that they cannot draw."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.forecast.sizes import generator_outline
from mosaic_fl.generators.base import build
from mosaic_fl.methods.fedcvae import with_standard_prior
from mosaic_fl.training.monitor import Recorder
from table_cases import SCHEMA, patients

CPU = torch.device("cpu")
SHORT = {"train.max_steps": 20, "train.min_steps": 20, "generator.steps": 20}


def contribution_of(family: str) -> Contribution:
    config = Config().with_values({**SHORT, "generator.family": family})
    return contribute(Site(1, patients(300), "mlp:8:1"), config, CPU, lambda _: Recorder())


@pytest.fixture(scope="module")
def marginals() -> Contribution:
    return contribution_of("marginals")


@pytest.fixture(scope="module")
def tabular() -> Contribution:
    return contribution_of("tabular")


def hostile(contribution: Contribution, **changes: Tensor) -> bytes:
    state = {**(contribution.generator or {})}
    state |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return replace(contribution, generator=state).to_bytes()


@pytest.mark.parametrize("family", ["marginals", "tabular"])
def test_a_generator_travels_and_draws_the_same_rows(family: str, request: pytest.FixtureRequest) -> None:
    contribution = request.getfixturevalue(family)
    assert contribution.generator_line == f"{family} (generator.family says so)"
    again = Contribution.from_bytes(contribution.to_bytes())
    one, other = contribution.build_generator(), again.build_generator()
    assert one is not None
    assert other is not None
    labels = torch.arange(200) % 3
    values = [g.samples(SCHEMA.fields, labels, torch.Generator().manual_seed(1)).only for g in (one, other)]
    SCHEMA.kind.check(values[0])
    assert torch.equal(*(tensor.nan_to_num(-1) for tensor in values))
    counts = contribution.class_counts.tolist()
    most = build(contribution.generator_spec, SCHEMA).expect(counts).state_dict()
    sizes = {name: tensor.nbytes for name, tensor in contribution.generator.items()}
    assert all(sizes[name] <= most[name].nbytes for name in sizes)
    generator_outline(contribution.generator_spec, SCHEMA)  # of no samples: what a forecast begins with
    outline = generator_outline(contribution.generator_spec, SCHEMA, tuple(counts))  # on the meta device
    assert {name: tuple(tensor.shape) for name, tensor in most.items()} == {name: shape for name, _, shape in outline}


def test_a_standard_prior_has_the_latents_of_the_network_alone(tabular: Contribution) -> None:
    generator = with_standard_prior(tabular).build_generator()
    assert generator is not None
    SCHEMA.kind.check(generator.samples(SCHEMA.fields, torch.arange(9) % 3, torch.Generator()).only)


@pytest.mark.parametrize("family", ["marginals", "tabular"])
def test_a_family_of_tables_is_refused_for_images_before_any_work(family: str) -> None:
    schema = image_schema((1, 8, 8), ("a", "b"))
    images = Samples(schema.fields, {"image": torch.zeros(40, 1, 8, 8, dtype=torch.uint8)})
    data = Dataset(images, torch.arange(40) % 2, schema)
    config = Config().with_values({**SHORT, "generator.family": family})
    with pytest.raises(UsageError, match=f"generator {family} draws samples of the kind table, not image"):
        contribute(Site(0, data, "mlp:8:1"), config, CPU, lambda _: pytest.fail("it trained"))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("group", lambda t: t - 5, "a class without a group"),
        ("group", lambda t: t + 3, "a class without a group"),
        ("order", lambda t: t * 0, "each column once"),
        ("order", lambda t: t.flip(0), "before its parent"),
        ("parents", lambda t: t * 0 + 9, "before its parent"),
        ("parents", lambda t: t * 0 - 2, "before its parent"),
        ("parents", lambda t: t[:, :1], "the model has"),
        ("bins", lambda t: t + 1000, "which cannot be"),
        ("bins", lambda t: t * 0, "which cannot be"),
        ("bins", lambda t: t.float(), "the model has"),
        ("cells", lambda t: t * 0, "without cells"),
        ("cells", lambda t: t * 0 + 2**40, "more than 65,535"),
        ("cells", lambda t: t + 1, "numbers of 'share'"),
        ("cell", lambda t: t * 0 + 255, "without a cell"),
        ("cell", lambda t: t[:-1], "numbers of 'cell'"),
        ("share", lambda t: -t, "below 0"),
        ("share", lambda t: t * 2, "do not sum to 1"),
        ("share", lambda t: t[:-1], "numbers of 'share'"),
        ("values", lambda t: t + 1000, "out of its range"),
        ("values", lambda t: t.flip(0), "column 'age'"),
        ("values", lambda t: t.half(), "the model has"),
    ],
)
def test_hostile_tables_are_refused_when_they_come(
    marginals: Contribution, name: str, change: object, words: str
) -> None:
    assert callable(change)
    assert marginals.generator is not None
    bad = hostile(marginals, **{name: change(marginals.generator[name])})
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(bad)


def test_more_configurations_than_are_used_are_refused_before_any_is_built(marginals: Contribution) -> None:
    from mosaic_fl.generators.marginals.generator import _configurations

    parents = torch.tensor([[-1, -1], [0, -1], [0, 1]])
    assert _configurations(3, parents, [5, 7, 2]) == [3, 15, 105]
    lacks = {name: tensor for name, tensor in (marginals.generator or {}).items() if name != "bins"}
    with pytest.raises(UsageError, match="'bins' is missing"):
        Contribution.from_bytes(replace(marginals, generator=lacks).to_bytes())


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("body.0.weight", lambda t: t[:-1], "the model has"),
        ("frequent", lambda t: t[:, :1], "the model has"),
        ("density.share", lambda t: -t, "do not sum to 1"),
        ("density.location", lambda t: t * 0 + 1e6, "farther than"),
        ("body.4.weight", lambda t: t * 0 + 3e38, "non-finite"),
    ],
)
def test_hostile_weights_are_refused_when_they_come(
    tabular: Contribution, name: str, change: object, words: str
) -> None:
    assert callable(change)
    assert tabular.generator is not None
    bad = hostile(tabular, **{name.replace(".", "__"): change(tabular.generator[name])})
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(bad)


def test_a_specification_that_does_not_fit_the_schema_is_refused(
    marginals: Contribution, tabular: Contribution
) -> None:
    for contribution, latent in ((marginals, 3), (marginals, 5), (tabular, 4)):
        spec = replace(contribution.generator_spec, latent=latent)
        with pytest.raises(UsageError, match="columns"):
            Contribution.from_bytes(replace(contribution, generator_spec=spec).to_bytes())
