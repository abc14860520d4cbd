"""Changes to data and to trained contributions, with classes and numbers worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mosaic_fl.attacks import backdoor, copies, counts, generators, labels, moments, replacement
from mosaic_fl.attacks.attack import Scene
from mosaic_fl.attacks.constant import constant_expert
from mosaic_fl.attacks.loud import loud_expert
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
SHORT = Config().with_values(
    {"train.max_steps": 2, "generator.steps": 2, "generator.perceptual": 0.0, "generator.min_samples": 2}
)
COUNTS = torch.tensor([[4, 4, 0], [4, 0, 4], [2, 6, 3]])


def scene(client: int = 2, liars: tuple[int, ...] = (2,)) -> Scene:
    return Scene(client, liars, COUNTS, 0)


def images(schema: Schema, of: Tensor) -> Dataset:
    labels = torch.repeat_interleave(torch.arange(3), of)
    pixels = torch.randint(0, 200, (len(labels), 1, 8, 8), generator=torch.Generator().manual_seed(0))
    return image_dataset(pixels.to(torch.uint8), labels, schema)


@pytest.fixture(scope="module")
def sent() -> list[Contribution]:
    from mosaic_fl.domains.image.schema import image_schema

    schema = image_schema((1, 8, 8), ("a", "b", "c"))
    data = [images(schema, row * 3) for row in COUNTS]
    return [contribute(Site(k, own, "cnn:4"), SHORT, CPU, lambda stage: Recorder()) for k, own in enumerate(data)]


def test_orders_of_classes() -> None:
    assert labels.flip(scene()).tolist() == [2, 1, 0]
    assert labels.shift(scene()).tolist() == [1, 2, 0]
    assert labels.pair(scene()).tolist() == [0, 2, 1]  # client 2 has 6 of class 1, 3 of class 2
    # Honest clients 0 and 1 hold class 0 both, 1 and 2 once each: these are the rare ones.
    assert labels.rare(scene()).tolist() == [0, 1, 0]
    numbers = labels.numbering(scene())
    assert sorted(numbers.tolist()) == [0, 1, 2]
    assert not bool((numbers == torch.arange(3)).any())
    agreed = [labels.agreed_numbering(scene(k, (1, 2))) for k in (1, 2)]
    assert torch.equal(*agreed)


def test_labels_of_data(schema: Schema) -> None:
    data = images(schema, COUNTS[2])
    flipped = labels.relabel(labels.flip)(data, scene())
    assert flipped.class_counts().tolist() == [3, 6, 2]
    assert torch.equal(flipped.images, data.images)
    many = images(schema, torch.tensor([100, 100, 100]))
    target = labels.to_target(many, scene()).class_counts()
    assert int(target.max()) > 170  # its own 100, and half of the other 200
    assert int(target.sum()) == 300


def test_a_patch(schema: Schema) -> None:
    data = images(schema, torch.tensor([0, 40, 40]))
    marked = backdoor.poison()(data, scene())
    patched = (marked.images[..., -2:, -2:] == 255).flatten(1).all(1)
    assert torch.equal(patched, marked.labels == backdoor.TARGET)
    assert 25 < int(patched.sum()) < 55
    assert torch.equal(marked.images[..., :-2, :], data.images[..., :-2, :])
    test = backdoor.with_patch(images(schema, torch.tensor([5, 2, 3])))
    assert test.class_counts().tolist() == [0, 2, 3]
    assert bool((test.images[..., -2:, -2:] == 255).all())
    assert backdoor.side(28, 28) == 3


def test_an_expert_of_other_numbers(sent: list[Contribution], schema: Schema) -> None:
    """Its answers are those of before in another order, and twice is never."""
    samples = images(schema, COUNTS[2]).samples
    order = torch.tensor([1, 2, 0])
    other = labels.renumber(sent[2], order)
    before = sent[2].build_expert().log_probabilities(samples)
    assert torch.equal(other.build_expert().log_probabilities(samples)[:, order], before)
    assert torch.equal(other.class_counts[order], sent[2].class_counts)
    again = labels.renumber(other, order.argsort())
    assert torch.equal(again.build_expert().log_probabilities(samples), before)
    assert torch.equal(again.class_counts, sent[2].class_counts)


def test_counts(sent: list[Contribution]) -> None:
    own = sent[2]
    ninefold = counts.inflate(9.0)(own, sent, scene())
    assert torch.equal(ninefold.class_counts, own.class_counts * 9)
    most = counts.inflate(2.0**60)(own, sent, scene()).class_counts
    assert int(most.max()) == 2**40
    under = int(counts.just_under(own, sent, scene()).class_counts.sum())
    middle = sorted(int(c.class_counts.sum()) for c in sent)[1]
    assert 4 * middle < under <= 4.9 * middle
    claims = counts.claim_all(own, sent, scene()).class_counts
    assert torch.equal(claims, torch.stack([c.class_counts for c in sent]).max(0).values)


def test_networks_that_say_nothing_true(sent: list[Contribution], schema: Schema) -> None:
    samples = images(schema, COUNTS[2]).samples
    constant = constant_expert(sent[2], sent, scene())
    assert constant.build_expert().log_probabilities(samples).tolist() == [[0.0, 20.0, 0.0]] * 11
    assert int(constant.class_counts.min()) >= 1000
    loud = loud_expert(sent[2], sent, scene()).build_expert().log_probabilities(samples)
    assert bool(loud.isfinite().all())
    assert float(loud.std()) > 100 * float(sent[2].build_expert().log_probabilities(samples).std())


def test_generators_that_draw_nothing_of_use(sent: list[Contribution]) -> None:
    labels = torch.tensor([0, 0, 1, 1])

    def draw(change: generators.Change) -> Tensor:
        forged = generators.generator_by(change)(sent[2], sent, scene())
        built = Contribution.from_bytes(forged.to_bytes()).build_generator()
        assert built is not None
        return built.sample(labels, torch.Generator().manual_seed(0))

    assert float(draw(generators.blank).std()) == 0.0
    collapsed = draw(generators.collapsed)
    assert torch.equal(collapsed[0], collapsed[1])
    assert not torch.equal(collapsed[0], collapsed[2])
    assert not torch.equal(draw(generators.noise)[0], draw(generators.noise)[1])
    none = generators.absent(sent[2], sent, scene())
    assert none.build_generator() is None
    with pytest.raises(UsageError, match="client 2 sends none"):
        generators.generator_by(generators.blank)(none, sent, scene())


def test_copies(sent: list[Contribution]) -> None:
    both = (1, 2)
    copy = copies.copied(sent[2], sent, scene(2, both))
    assert copy.client == 2
    assert copy.expert is sent[0].expert
    assert copies.sybil(sent[2], sent, scene(2, both)).expert is sent[1].expert
    hidden = copies.hidden_sybil(sent[2], sent, scene(2, both)).expert["head.weight"]
    gap = float((hidden - sent[1].expert["head.weight"]).norm() / sent[1].expert["head.weight"].norm())
    assert 0.001 < gap < 0.1


def test_moments_that_lie(sent: list[Contribution]) -> None:
    with pytest.raises(UsageError, match="client 2 tells none"):
        moments.moments_by(moments.scaled)(sent[2], sent, scene())
    state = {"counts": torch.tensor([3, 0, 5]), "means": torch.tensor([[1.0], [0.0], [2.0]]), "scatter": torch.ones(1)}
    own = replace(sent[2], generator=state)
    scaled = moments.moments_by(moments.scaled)(own, sent, scene()).generator
    assert scaled is not None
    assert scaled["means"].tolist() == [[10.0], [0.0], [20.0]]
    assert scaled["scatter"].tolist() == [100.0]
    flipped = moments.moments_by(moments.flipped)(own, sent, scene()).generator
    assert flipped is not None
    assert flipped["means"].tolist() == [[2.0], [0.0], [1.0]]


def test_updates_of_rounds() -> None:
    before = {"w": torch.tensor([1.0]), "n": torch.tensor(3)}
    after = {"w": torch.tensor([2.0]), "n": torch.tensor(4)}
    assert replacement.boosted(before, after, scene())["w"].tolist() == [4.0]  # 1 + 3/1 · (2 − 1)
    assert replacement.boosted(before, after, scene(2, (1, 2)))["w"].tolist() == [2.5]
    assert replacement.boosted(before, after, scene())["n"] == 4
    assert replacement.reversed_update(before, after, scene())["w"].tolist() == [0.0]
