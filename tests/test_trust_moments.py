"""What class moments hold against each other, on clouds of vectors around known centres."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch

import mosaic_fl
from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.privacy import Statement
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.generators.moments.generator import NOISY
from mosaic_fl.generators.moments.part import part_of
from mosaic_fl.numerics.moments import Moments, merge, moments_of
from mosaic_fl.server.class_moments import pooled
from mosaic_fl.server.distill import distill
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.trust.credit import credited
from mosaic_fl.server.trust.moments import MomentDoubts, moment_doubts
from mosaic_fl.server.trust.report import QUARANTINED, WEIGHTED
from mosaic_fl.server.trust.told import Told, told_by
from mosaic_fl.server.trust.vet import examine
from mosaic_fl.storage.journal import Journal
from table_cases import patients
from trust_cases import clouds, flip

CPU = torch.device("cpu")
NAMES = list("abcd")
SIZE = 16
FEW = {"generator.family": "moments", "data.validation": 0.0}


def told(classes: Sequence[int], seed: int, *, each: int = 40, shown: Mapping[int, int] | None = None) -> Told:
    """A client with `each` vectors of each class; class c has those of `shown[c]`, which lie around 3·e_c."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat_interleave(each)
    lies = torch.tensor([(shown or {}).get(c, c) for c in range(4)])
    vectors = torch.randn(len(labels), SIZE, generator=rng) + 3 * torch.eye(4, SIZE)[lies[labels]]
    moments = moments_of(vectors, labels, 4)
    return Told(moments.counts.double(), moments.means, torch.zeros(4), moments.scatter.diagonal() / (len(labels) - 4))


def doubts(*clients: Told) -> MomentDoubts:
    return moment_doubts(dict(enumerate(clients)), NAMES)


def honest(count: int) -> list[Told]:
    return [told([0, 1, 2, 3], seed) for seed in range(count)]


FLIPPED = {c: 3 - c for c in range(4)}


def test_honest_clients_are_not_doubted_however_classes_are_spread() -> None:
    assert doubts(*honest(5)) == MomentDoubts()
    split = [[0, 1], [1, 2], [2, 3], [3], [0], [0, 3]]
    assert doubts(*(told(classes, seed, each=12) for seed, classes in enumerate(split))) == MomentDoubts()
    alone = [[0, 1], [1, 2], [2, 0], [0, 1, 2], [3]]  # nobody but the last holds class 3
    assert doubts(*(told(classes, seed) for seed, classes in enumerate(alone))) == MomentDoubts()


def test_flipped_classes_are_named() -> None:
    found = doubts(told([0, 1], 9, shown=FLIPPED), *honest(4))
    assert list(found.liars) == [0]
    assert "'a' lies nearer to their 'd', 'b' lies nearer to their 'c'" in found.liars[0]
    assert found.classes == {}


def test_two_colluders_do_not_make_a_liar_of_the_third_holder() -> None:
    """Of class 0 two of three holders lie; the third agrees with everybody in its other classes."""
    liars = [told([0, 1], seed, shown=FLIPPED) for seed in (7, 8)]
    found = doubts(*liars, told([0, 1, 2, 3], 1), told([1, 2, 3], 2), told([1, 2, 3], 3), told([2, 3], 4))
    assert sorted(found.liars) == [0, 1]


def test_scaled_moments_are_contradicted_whatever_part_is_scaled() -> None:
    one = honest(1)[0]
    for factor in (10.0, 7.0, 0.1):
        scaled = Told(one.counts, one.means * factor, one.errors, one.within * factor**2)  # type: ignore[operator]
        found = doubts(scaled, *honest(5)[1:])
        assert list(found.faults if factor == 10 else found.liars) == [0]  # 10² is above 64, and 7² is not
    far = replace(one, means=one.means * 10)
    assert "times as far from the middle" in doubts(far, *honest(5)[1:]).liars[0]


def test_one_class_that_is_wrong_is_given_up_alone() -> None:
    found = doubts(told([0, 1, 2, 3], 9, shown={0: 3}), *honest(4))
    assert (found.faults, found.liars, found.classes) == ({}, {}, {0: (0,)})


def test_one_against_one_is_not_judged() -> None:
    assert doubts(told([0, 1], 9, shown=FLIPPED), *honest(1)) == MomentDoubts()
    assert doubts(told([0, 1], 9, shown=FLIPPED), *honest(2)) == MomentDoubts()


def test_noise_that_a_client_says_it_added_is_no_lie() -> None:
    """Of a mean with noise of standard deviation 2, 2/1 a number, and a variance that noise hides."""
    noisy = []
    for seed in range(5):
        one = told([0, 1, 2, 3], seed)
        noise = 2 * torch.randn(4, SIZE, generator=torch.Generator().manual_seed(50 + seed), dtype=torch.float64)
        hidden = None if seed else one.within
        noisy.append(replace(one, means=one.means + noise, errors=torch.full((4,), 4.0), within=hidden))
    assert doubts(*noisy) == MomentDoubts()


def test_noise_far_beyond_what_is_usual_that_hides_all_classes_is_a_fault() -> None:
    hidden = Told(torch.zeros(4).double(), torch.zeros(4, SIZE).double(), torch.zeros(4).double(), None, 31.0)
    assert "31 vectors where 0 is usual" in doubts(hidden, *honest(4)).faults[0]
    private = [replace(one, noise=3.0) for one in honest(4)]
    assert list(doubts(hidden, *private).faults) == [0]  # 31 > 10 · 3
    assert doubts(replace(hidden, noise=29.0), *private) == MomentDoubts()  # as an honest site of a smaller ε
    assert doubts(replace(private[0], noise=31.0), *private[1:], private[0]) == MomentDoubts()  # its classes show
    assert doubts(hidden, *[hidden] * 2, *honest(2)) == MomentDoubts()  # most are hidden
    assert doubts(hidden, *honest(1)) == MomentDoubts()


def test_noise_that_one_client_claims_excuses_no_other() -> None:
    loud = replace(told([0, 1, 2, 3], 9), errors=torch.full((4,), 1e6))
    found = doubts(told([0, 1, 2, 3], 8, shown=FLIPPED), loud, *honest(5)[1:])
    assert list(found.liars) == [0]


def test_where_classes_hardly_lie_apart_nobody_is_judged() -> None:
    """Sites differ by 1 in every number and classes by 0.2: an honest site that is far from the others is no liar."""
    clients = list[Told]()
    for seed in range(6):
        one = told([0, 1, 2, 3], seed)
        rng = torch.Generator().manual_seed(100 + seed)
        site = torch.randn(SIZE, generator=rng, dtype=torch.float64)
        classes = 0.2 * torch.eye(4, SIZE, dtype=torch.float64)
        clients.append(replace(one, means=classes + (4 if seed == 0 else 1) * site))
    assert doubts(*clients) == MomentDoubts()


def test_encoded_rows_are_not_judged(five: list[Contribution]) -> None:
    assert sorted(told_by(five)) == [0, 1, 2, 3, 4]
    rows = Vector(SIZE, "encoding", "0" * 64, patients(4).schema.kind)
    schema = Schema({"vector": rows}, five[0].schema.classes)
    assert told_by([replace(one, schema=schema) for one in five]) == {}


def test_part_of_moments_by_hand() -> None:
    moments = Moments(torch.tensor([40, 10]), torch.tensor([[1.0], [3.0]]), torch.tensor([[50.0]]))
    state = {"counts": moments.counts, "means": moments.means, "scatter": torch.tensor([50.0])}
    part = part_of(state, torch.tensor([0.5, 0.0]))
    assert part["counts"].tolist() == [20, 0]
    assert part["scatter"].tolist() == [20.0]  # 50 · 20/50
    noisy = {
        "counts": torch.tensor([40, -3]),
        "sums": torch.ones(2, 1),
        "squares": torch.ones(1),
        "noise": torch.ones(3),
    }
    half = part_of(noisy, torch.tensor([0.5, 0.5]))
    assert half["counts"].tolist() == [20, -1]
    assert [float(half[name].sum()) for name in ("sums", "squares", "noise")] == [1.0, 0.5, 1.5]


@pytest.fixture(scope="module")
def five() -> list[Contribution]:
    return [contributed(k) for k in range(5)]


def contributed(k: int, counts: Sequence[int] = (20,) * 4, *, lies: bool = False) -> Contribution:
    """An encoder's client: its model and its generator follow from the same class moments."""
    data = clouds(counts, k)
    data = replace(data, labels=flip(data.labels)) if lies else data
    return mosaic_fl.contribute(data, model="discriminant", client=k, settings=FEW)


def test_a_liar_among_encoders_clients_changes_no_moment(five: list[Contribution]) -> None:
    lying = [*five[:4], contributed(4, lies=True)]
    mixture = MixtureOfExperts.of(lying)
    report = examine(lying, mixture.experts, lambda: sampler_of(lying, CPU, mixture.experts), Config(), CPU)
    assert [v.client for v in report.in_state(QUARANTINED)] == [4]
    assert report.of(4).reasons[0].startswith("its class moments: its classes are not the others'")
    assert torch.equal(pooled(credited(lying, report)).means, pooled(five[:4]).means)


def test_inflated_moments_count_for_five_medians(five: list[Contribution]) -> None:
    state = five[0].generator
    assert state is not None
    state = {**state, "counts": state["counts"] * 1000, "scatter": state["scatter"] * 1000}
    large = replace(five[0], class_counts=five[0].class_counts * 1000, generator=state)
    all_five = [large, *five[1:]]
    mixture = MixtureOfExperts.of(all_five)
    report = examine(all_five, mixture.experts, lambda: sampler_of(all_five, CPU, mixture.experts), Config(), CPU)
    assert report.of(0).state == WEIGHTED
    counts = [told_by.moments.counts.tolist() for told_by in generators(credited(all_five, report))]
    assert counts == [[100] * 4, *[[20] * 4] * 4]  # 5 · 80 / 4


def test_who_alone_holds_an_outlying_class_keeps_it_and_nothing_else() -> None:
    """Of the square of side 8 class d lies at (8, 8); here its one holder has it at (40, 40)."""
    clients = [contributed(k, (20, 20, 20, 0)) for k in range(4)]
    far = contributed(4, (20, 0, 0, 20))
    state = far.generator
    assert state is not None
    means = state["means"].clone()
    means[0] += 40
    means[3] += 32
    alone = [*clients, replace(far, generator={**state, "means": means})]
    assert "times as far from the middle" in moment_doubts(told_by(alone), NAMES).liars[4]
    mixture = MixtureOfExperts.of(alone)
    report = examine(alone, mixture.experts, lambda: sampler_of(alone, CPU, mixture.experts), Config(), CPU)
    assert (report.of(4).state, report.of(4).credit) == (WEIGHTED, (0.0, 0.0, 0.0, 1.0))
    left = pooled(credited(alone, report))
    assert left.counts.tolist() == [80, 80, 80, 20]
    assert torch.equal(left.means[:3], pooled(clients).means[:3])
    assert torch.allclose(left.means[3], torch.tensor([40.0, 40.0], dtype=torch.float64), atol=1)


def test_moments_of_more_samples_than_the_client_claims_are_refused(five: list[Contribution]) -> None:
    """So what bounds claims bounds moments: 20 samples of each class are claimed."""
    state = five[0].generator
    assert state is not None
    for count in (20, 21):
        sent = replace(five[0], generator={**state, "counts": torch.tensor([20, 20, count, 20])})
        if count == 20:
            Contribution.from_bytes(sent.to_bytes())
        else:
            with pytest.raises(UsageError, match="are of 21 samples of class 'c', and its class counts say 20"):
                Contribution.from_bytes(sent.to_bytes())


def test_sums_that_lie_behind_claimed_noise_move_no_mean_and_are_left_out(five: list[Contribution]) -> None:
    """They would exchange all classes, 80 vectors moved by 8 and more; under noise of 100 all counts look empty."""
    honest_moments = pooled(five[1:])
    lies = honest_moments.counts[:, None] * (honest_moments.means.flip(0) - honest_moments.means)
    state = {
        "counts": torch.ones(4, dtype=torch.int64),
        "sums": lies.float(),
        "squares": torch.zeros(3),
        "noise": torch.tensor([100.0, 100.0, 1000.0]),
        "clip": torch.tensor([10.0]),
    }
    spec = GeneratorSpec("moments", 2, NOISY)
    liar = replace(five[0], generator_spec=spec, generator=state, privacy=Statement(0.5, 1e-5))
    lying = [Contribution.from_bytes(liar.to_bytes()), *five[1:]]
    assert float((pooled(lying).means - honest_moments.means).norm(dim=1).max()) < 2
    mixture = MixtureOfExperts.of(lying)
    report = examine(lying, mixture.experts, lambda: sampler_of(lying, CPU, mixture.experts), Config(), CPU)
    assert [v.client for v in report.in_state(QUARANTINED)] == [0]
    assert "hides all its classes: nobody can judge them" in report.of(0).reasons[0]


def generators(contributions: Sequence[Contribution]) -> list[ClassMoments]:
    built = [c.build_generator() for c in contributions]
    return [generator for generator in built if isinstance(generator, ClassMoments)]


def test_without_a_doubt_all_moments_add_up_as_before(five: list[Contribution]) -> None:
    settings = {"models.student": "discriminant"}
    models = [
        distill(five, Config().with_values(settings | {"trust.defence": on}), CPU, Journal()).model.to_bytes()
        for on in (True, False)
    ]
    assert models[0] == models[1]
    assert torch.equal(pooled(five).means, merge([g.moments for g in generators(five)]).means)
