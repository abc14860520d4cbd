from dataclasses import replace

import pytest
import torch

from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.agreement import compatible
from mosaic_fl.server.pool import Pool, Sampler, sheet
from mosaic_fl.training.monitor import Recorder
from table_cases import SCHEMA

CPU = torch.device("cpu")


def sample_pool(contributions: list[Contribution], n: int, stream: Stream) -> Pool:
    return Sampler(contributions, CPU).draw(n, stream)


def made(digits: Dataset, client: int, classes: list[int], family: str = "cvae") -> Contribution:
    rows = torch.isin(digits.labels, torch.tensor(classes)).nonzero().flatten()[:120]
    config = Config().with_values(
        {
            "train.max_steps": 40, "train.min_steps": 40, "generator.family": family,
            "generator.steps": 40, "generator.latent": 4, "generator.width": 8,
        }
    )  # fmt: skip
    return contribute(Site(client, digits.subset(rows), "mlp:32"), config, CPU, lambda _: Recorder())


@pytest.fixture(scope="module")
def pair(digits: Dataset) -> list[Contribution]:
    """Client 0 holds 0 and 1, client 1 holds 1 and 2."""
    return [made(digits, 0, [0, 1]), made(digits, 1, [1, 2])]


def test_classes_are_drawn_evenly_and_by_who_holds_them(pair: list[Contribution]) -> None:
    counts = torch.zeros(2, 10, dtype=torch.int64)
    counts[0, 0], counts[0, 1], counts[1, 1], counts[1, 2] = 50, 30, 10, 70
    weighed = [replace(c, class_counts=n) for c, n in zip(pair, counts, strict=True)]
    pool = sample_pool(weighed, 3000, Stream(0, "p"))
    assert torch.bincount(pool.labels, minlength=10).tolist() == [1000, 1000, 1000] + [0] * 7
    assert set(pool.sources[pool.labels == 0].tolist()) == {0}
    assert set(pool.sources[pool.labels == 2].tolist()) == {1}
    # w[0, 1] = 30/40: 750 of 1000 expected, σ = 13.7
    assert 690 <= int((pool.sources[pool.labels == 1] == 0).sum()) <= 810


def test_the_same_stream_gives_the_same_pool(pair: list[Contribution]) -> None:
    first, again = (sample_pool(pair, 50, Stream(1, "p")) for _ in range(2))
    assert torch.equal(first.samples.only, again.samples.only)
    assert torch.equal(first.labels, again.labels)


def test_a_class_without_a_generator_is_not_drawn(pair: list[Contribution]) -> None:
    silent = replace(pair[1], generator=None, generator_spec=None, generator_note="too few samples")
    assert set(sample_pool([pair[0], silent], 100, Stream(0, "p")).labels.tolist()) == {0, 1}


def test_without_any_generator_there_is_nothing_to_distil_on(pair: list[Contribution]) -> None:
    silent = [replace(c, generator=None, generator_spec=None, generator_note="too few") for c in pair]
    with pytest.raises(UsageError, match=r"no contribution has a generator.*client 1: too few"):
        sample_pool(silent, 10, Stream(0, "p"))


def test_an_unconditional_generator_is_labelled_by_its_own_expert(digits: Dataset) -> None:
    contribution = made(digits, 0, [0, 1], "dcgan")
    pool = sample_pool([contribution], 60, Stream(0, "p"))

    if len(pool.labels):  # after 40 steps it may show one class only
        assert torch.equal(contribution.build_expert().log_probabilities(pool.samples).argmax(1), pool.labels)


def test_a_sheet_shows_only_classes_held(pair: list[Contribution]) -> None:
    shown = sheet(pair[0], 3, Stream(0, "s"))
    assert shown is not None
    assert shown.shape == (10, 3, 1, 8, 8)
    assert shown[2:].sum() == 0
    assert shown[:2].sum() > 0


def test_contributions_that_do_not_fit_together(pair: list[Contribution]) -> None:
    assert [c.client for c in compatible(pair[::-1])] == [0, 1]
    with pytest.raises(UsageError, match="two contributions come from client 0"):
        compatible([pair[0], pair[0]])
    other = replace(pair[1], schema=replace(pair[1].schema, classes=tuple("abcdefghi")))
    with pytest.raises(
        UsageError, match=r"client 1 has 9 classes \(a, b, .*\), not 10 \(0, 1, .*\) as client 0: every"
    ):
        compatible([pair[0], other])
    renamed = replace(pair[1], schema=replace(pair[1].schema, classes=tuple("abcdefghij")))
    with pytest.raises(UsageError, match=r"has the classes a, b, .*, not 0, 1, .* as client 0"):
        compatible([pair[0], renamed])
    larger = replace(pair[1], schema=image_schema((1, 9, 8), pair[1].schema.classes))
    with pytest.raises(UsageError, match="has images of 1×9×8, not 1×8×8 as client 0"):
        compatible([pair[0], larger])
    tables = replace(SCHEMA, classes=("well", "ill", "unknown"))
    rows = [replace(pair[0], schema=SCHEMA), replace(pair[1], schema=tables)]
    with pytest.raises(
        UsageError, match=r"client 1 has the classes well, .*: all sites need the same schema file \(--s"
    ):
        compatible(rows)
    with pytest.raises(UsageError, match="no contribution"):
        compatible([])


def test_as_they_come_each_generator_gives_the_same_number(pair: list[Contribution]) -> None:
    pool = Sampler(pair, CPU).draw_as_they_come(40, Stream(0, "p"))
    assert torch.bincount(pool.sources).tolist() == [20, 20]
    assert set(pool.labels[pool.sources == 0].tolist()) <= {0, 1}
    assert set(pool.labels[pool.sources == 1].tolist()) <= {1, 2}


def test_as_they_come_none_is_left_out_where_the_number_does_not_divide(pair: list[Contribution]) -> None:
    three = [*pair, replace(pair[0], client=5)]
    batches = [Sampler(three, CPU).draw_as_they_come(4, Stream(0, "p", round=r)).sources for r in range(20)]
    assert all(len(sources) == 4 for sources in batches)
    assert all(sorted(torch.bincount(sources)[[0, 1, 5]].tolist()) == [1, 1, 2] for sources in batches)
    assert {int(torch.bincount(sources).argmax()) for sources in batches} == {0, 1, 5}
    assert len(Sampler(three, CPU).draw_as_they_come(2, Stream(0, "p")).sources) == 2


def test_a_generator_whose_images_are_not_finite_is_named(pair: list[Contribution]) -> None:
    sampler = Sampler(pair, CPU)
    for generator in sampler.generators:
        assert generator is not None
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.fill_(float("nan"))
    with pytest.raises(UsageError, match=r"a generator \(cvae\) gives non-finite samples"):
        sampler.draw(20, Stream(0, "p"))
