"""Large federations: a panel of experts is asked, clients are compared in circles, and few clients see no change."""

import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

import mosaic_fl
from mosaic_fl.config import Config
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import weighted_sum
from mosaic_fl.server import distill as distillation
from mosaic_fl.server import experts, on_demand
from mosaic_fl.server import panel as panels
from mosaic_fl.server import pool as pool_of_samples
from mosaic_fl.server.distill import Distilled, distill
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.panel import chosen, contrast, panel, panel_size
from mosaic_fl.server.trust import circles as groups
from mosaic_fl.server.trust import copies, vet
from mosaic_fl.server.trust.circles import circles
from mosaic_fl.server.trust.copies import copied_parts
from mosaic_fl.server.trust.report import QUARANTINED, TrustReport
from mosaic_fl.storage.journal import Journal
from trust_cases import client, flip

CPU = torch.device("cpu")
SHORT = {"meta.steps": 2, "meta.samples": 64, "distill.steps": 2, "distill.pool": 64, "distill.teacher": "meta"}


@pytest.fixture(scope="module")
def seven() -> list[Contribution]:
    """Six honest clients, and number 6, who lies."""
    return [*(client(k) for k in range(6)), client(6, lie=flip)]


def examined(contributions: list[Contribution]) -> TrustReport:
    experts = MixtureOfExperts.of(contributions).experts
    return vet.examine(contributions, experts, lambda: sampler_of(contributions, CPU, experts), Config(), CPU)


def test_contrast_is_the_effective_size_of_a_class_against_the_rest() -> None:
    counts = torch.tensor([[6, 2], [8, 0], [4, 4]])
    assert contrast(counts).tolist() == [[1.5, 1.5], [0, 0], [2, 2]]  # 6·2/8, 8·0/8, 4·4/8


def test_a_panel_has_of_each_class_in_turn_the_client_that_tells_it_best() -> None:
    counts = torch.tensor([[40, 0, 0], [20, 20, 0], [0, 10, 30], [5, 5, 5], [0, 0, 40]])
    # Contrast of class 0: 0, 10, 0, 3.3, 0; of class 1: client 1 is taken, then 7.5 of client 2; of class 2: client 3.
    assert chosen(counts, 3) == [1, 2, 3]
    # Then of class 0 who has most of it although its model knows no other class.
    assert chosen(counts, 4) == [0, 1, 2, 3]
    assert chosen(counts, 5) == [0, 1, 2, 3, 4]


def test_a_class_that_nobody_holds_chooses_nobody() -> None:
    assert chosen(torch.tensor([[3, 0, 1], [1, 0, 3]]), 1) == [0]


def test_a_panel_of_clients_without_a_sample_is_the_first_of_them() -> None:
    assert chosen(torch.zeros(5, 3, dtype=torch.int64), 2) == [0, 1]


@pytest.mark.parametrize(("clients", "classes", "size"), [(7, 10, 7), (100, 10, 100), (101, 10, 100), (1000, 200, 400)])
def test_a_panel_is_of_a_hundred_and_of_two_a_class_at_least(clients: int, classes: int, size: int) -> None:
    assert panel_size(clients, classes) == size


def test_of_few_clients_the_panel_is_all_of_them(seven: list[Contribution]) -> None:
    assert panel(seven) is seven


def distilled(contributions: list[Contribution]) -> Distilled:
    return distill(contributions, Config().with_values({**SHORT, "trust.defence": False}), CPU, Journal())


def test_teachers_are_of_the_panel_and_samples_of_all(
    seven: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "PANEL", 5)
    monkeypatch.setattr(panels, "EACH", 1)
    result = distilled(seven)
    assert result.teachers.mixture.owners == (0, 1, 2, 3, 4)  # all alike: the first ones
    assert result.clients.owners == tuple(range(7))
    assert result.teachers.mixture.weights.sum(0).tolist() == pytest.approx([1.0] * 4)


def test_up_to_its_size_a_panel_changes_no_bit(seven: list[Contribution], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(distillation, "panel", lambda contributions: contributions)
        before = distilled(seven).model.state
    after = distilled(seven).model.state
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_circles_share_all_clients_evenly_and_follow_from_the_seed() -> None:
    assert circles(100, 0) == [list(range(100))]
    parts = circles(1000, 0)
    assert [len(part) for part in parts] == [100] * 10
    assert sorted(place for part in parts for place in part) == list(range(1000))
    assert sorted(len(part) for part in circles(201, 0)) == [67, 67, 67]
    assert parts == circles(1000, 0) != circles(1000, 1)
    assert parts[0] != list(range(100))


def test_a_liar_is_seen_in_its_circle_and_honest_clients_count_in_full(
    seven: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "CIRCLE", 4)
    liar = next(part for part in circles(7, 0) if 6 in part)
    assert len(liar) >= 3  # with two others who tell
    report = examined(seven)
    assert [verdict.client for verdict in report.verdicts] == list(range(7))
    assert [verdict.client for verdict in report.in_state(QUARANTINED)] == [6]
    assert max(verdict.witnesses for verdict in report.verdicts) <= 3


def test_no_more_models_are_asked_than_a_circle_has(seven: list[Contribution], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "CIRCLE", 4)
    asked = list[int]()
    survey = vet.survey

    def counted(sampler, experts, *rest):  # type: ignore[no-untyped-def]
        asked.append(len(experts))
        assert len(sampler.generators) == len(experts)
        return survey(sampler, experts, *rest)

    monkeypatch.setattr(vet, "survey", counted)
    examined(seven)
    assert sorted(asked) == [3, 4]


def test_who_alone_claims_a_class_is_seen_among_all_and_not_in_its_circle() -> None:
    contributions = [client(k, (20, 20, 20, 20 * (k in (0, 1)))) for k in range(4)]
    whole = vet.Evidence(contributions, [1] * 4, None, {2: "a fault"}, {})
    part = whole.of([0, 2])
    assert part.claimed.tolist() == [80, 80, 80, 40]  # so client 0 is not alone with the last one
    assert part.faults == {1: "a fault"}
    assert part.sizes.tolist() == [1, 1]


def test_copies_are_found_whatever_their_places(seven: list[Contribution]) -> None:
    copy = replace(seven[1], client=7)
    assert [(i, j) for i, j, _ in copied_parts([*seven, copy])] == [(1, 7)]
    nearly = replace(copy, expert={name: tensor * (1 + 1e-5) for name, tensor in copy.expert.items()})
    assert [(i, j, parts) for i, j, parts in copied_parts([*seven, nearly])] == [(1, 7, ["model", "generator"])]
    assert list(copied_parts(seven)) == []


def pictures(number: int) -> Contribution:
    """A contribution of noise, with a generator that needs no other one."""
    rng = np.random.default_rng(number)
    values = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    short = {"generator.family": "cvae", "generator.steps": 1, "train.max_steps": 1, "train.min_steps": 1}
    return mosaic_fl.contribute(
        values, np.arange(40) % 4, model="mlp:8", client=number, classes=list("abcd"), settings=short
    )


def test_one_network_after_the_other_is_built_where_clients_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    three = [pictures(k) for k in range(3)]
    whole = MixtureOfExperts.of(three)
    pool = sampler_of(three, CPU).draw(70, Stream(0, "test"))
    monkeypatch.setattr(on_demand, "PANEL", 2)
    alive = weakref.WeakSet[object]()
    most = [0]
    for name in ("build_expert", "build_generator"):
        build = getattr(Contribution, name)

        def counted(self: Contribution, build: Callable[[Contribution], object] = build) -> object:
            network = build(self)
            alive.add(network)
            most[0] = max(most[0], len(alive))
            return network

        monkeypatch.setattr(Contribution, name, counted)
    mixture = MixtureOfExperts.of(three)
    sampler = sampler_of(three, CPU)
    assert torch.equal(mixture.outputs(pool.samples), whole.outputs(pool.samples))
    assert torch.equal(sampler.draw(70, Stream(0, "test")).samples.only, pool.samples.only)
    assert most[0] == 2  # the one before is let go when the next one is there
    ready = mixture.ready()
    assert torch.equal(ready.outputs(pool.samples), whole.outputs(pool.samples))
    assert ready.ready() is ready
    assert len(sampler.generators) == len(sampler.generators[:]) == 3


def test_a_network_is_built_once_for_all_samples_and_a_generator_only_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 samples in parts of 128 would build each network three times. Of client 2 nothing is drawn."""
    three = [pictures(k) for k in range(3)]
    monkeypatch.setattr(on_demand, "PANEL", 2)
    monkeypatch.setattr(experts, "LARGEST_PART", 1)
    built = list[tuple[str, int]]()
    for name in ("build_expert", "build_generator"):
        build = getattr(Contribution, name)

        def counted(self: Contribution, name: str = name, build: Callable[[Contribution], object] = build) -> object:
            built.append((name, self.client))
            return build(self)

        monkeypatch.setattr(Contribution, name, counted)
    sampler = sampler_of([*three[:2], replace(three[2], class_counts=torch.zeros(4).long())], CPU)
    samples = sampler.draw(300, Stream(0, "test")).samples
    assert built == [("build_generator", 0), ("build_generator", 1)]
    mixture = MixtureOfExperts.of(three)
    parts = list(mixture.parts(samples))
    assert [len(part) for part, _ in parts] == [300]
    assert built[2:] == [("build_expert", k) for k in range(3)]
    assert [len(part) for part, _ in mixture.ready().parts(samples)] == [128, 128, 44]


def test_the_sources_of_samples_are_drawn_in_parts_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    three = [pictures(k) for k in range(3)]
    whole = sampler_of(three, CPU).draw(70, Stream(0, "test"))
    monkeypatch.setattr(pool_of_samples, "LARGEST_SHARES", 20)  # six samples of three clients
    parts = sampler_of(three, CPU).draw(70, Stream(0, "test"))
    assert torch.equal(parts.sources, whole.sources)
    assert torch.equal(parts.samples.only, whole.samples.only)


def test_generators_that_tell_each_other_something_exist_at_once(seven: list[Contribution]) -> None:
    assert on_demand.builds_generators_at_once(seven)
    assert on_demand.builds_generators_at_once(seven * 20)  # moments are joined


def test_honest_pairs_are_not_compared_weight_by_weight(
    seven: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = list[object]()
    is_copy = copies._is_copy

    def counted(first: copies.State, second: copies.State) -> bool:
        compared.append(first)
        return is_copy(first, second)

    monkeypatch.setattr(copies, "_is_copy", counted)
    assert copies.sharers(seven) == [1] * 7  # 21 pairs
    assert compared == []
    assert copies.sharers([*seven, replace(seven[3], client=9)]) == [1, 1, 1, 2, 1, 1, 1, 2]
    assert len(compared) == 2  # the model and the generator of one pair
    compared.clear()
    assert copies.sharers([replace(seven[3], client=k) for k in range(30)]) == [30] * 30
    assert len(compared) == 2 * 29  # 29 pairs, not 435


def test_the_mean_of_many_states_is_that_of_parts_of_them() -> None:
    many = [{"w": torch.tensor([float(k), 1.0]), "n": torch.tensor(k)} for k in range(250)]
    mean = weighted_sum(many, [1 / 250] * 250)
    assert mean["w"].tolist() == [124.5, 1.0]  # (0 + … + 249) / 250
    assert int(mean["n"]) == 249
