"""What follows from a judgement: verdicts, credited counts, and a distillation in which liars do not matter."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mosaic_fl
from mosaic_fl.config import Config
from mosaic_fl.config.trust import TrustConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution, Prototypes
from mosaic_fl.notes import Note
from mosaic_fl.runs.file_check import check_files
from mosaic_fl.server.distill import distill
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.trust import judgement
from mosaic_fl.server.trust.copies import sharers
from mosaic_fl.server.trust.credit import credited
from mosaic_fl.server.trust.report import ACCEPTED, QUARANTINED, WEIGHTED, TrustReport, Verdict, summary
from mosaic_fl.server.trust.vet import examine
from mosaic_fl.storage.journal import Journal
from trust_cases import client, clouds, flip

CPU = torch.device("cpu")
FAST = {"distill.steps": 40, "distill.terms": 1, "distill.pool": 400, "models.student": "mlp:16"}


@pytest.fixture(scope="module")
def five() -> list[Contribution]:
    return [client(k) for k in range(5)]


@pytest.fixture(scope="module")
def liar() -> Contribution:
    return client(0, lie=flip)


def examined(contributions: list[Contribution], **settings: object) -> TrustReport:
    config = Config().with_values({f"trust.{name}": value for name, value in settings.items()})
    mixture = MixtureOfExperts.of(contributions)
    return examine(contributions, mixture.experts, lambda: sampler_of(contributions, CPU, mixture.experts), config, CPU)


def accuracy(contributions: list[Contribution], journal: Journal | None = None, **settings: object) -> float:
    config = Config().with_values(FAST | {f"trust.{name}": value for name, value in settings.items()})
    result = distill(contributions, config, CPU, journal or Journal())
    test = clouds([50] * 4, 99)
    return float((result.model.logits(test.samples).argmax(1) == test.labels).float().mean())


def test_prototypes_of_a_class_that_does_not_count_are_left_out(five: list[Contribution]) -> None:
    rows = torch.arange(8.0).view(4, 2)
    own = Prototypes(rows, torch.tensor([0, 1, 1, 3]), torch.tensor([5, 6, 7, 8]))
    verdict = Verdict(0, WEIGHTED, (1.0, 0.0, 1.0, 0.5))
    left = credited([replace(five[0], prototypes=own)], TrustReport((verdict,)))[0].prototypes
    assert (left.labels.tolist(), left.sizes.tolist(), left.features.tolist()) == ([0, 3], [5, 8], [[0, 1], [6, 7]])


def test_honest_contributions_are_the_same_objects(five: list[Contribution]) -> None:
    report = examined(five)
    assert report.changes_nothing
    assert all(a is b for a, b in zip(credited(five, report), five, strict=True))
    assert summary(report) == "5 of 5 clients count in full"
    assert TrustReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_without_a_doubt_the_result_is_that_without_the_defence(five: list[Contribution]) -> None:
    models = [
        distill(five, Config().with_values(FAST | {"trust.defence": on}), CPU, Journal()).model.to_bytes()
        for on in (True, False)
    ]
    assert models[0] == models[1]


def test_a_liar_is_in_quarantine_and_said_to_be(five: list[Contribution], liar: Contribution, tmp_path: Path) -> None:
    lying = [liar, *five[1:]]
    with pytest.warns(Note, match="client 0 is in quarantine: .* class 'a' looks like the others' 'd'"):
        assert accuracy(lying, Journal(tmp_path)) > 0.95
    content = json.loads((tmp_path / "quarantine" / "client-000.json").read_text())
    assert content["client"] == 0
    assert "--keep 0" in content["way_out"]
    assert accuracy(five[1:]) > 0.95


def test_the_order_of_contributions_does_not_matter(five: list[Contribution], liar: Contribution) -> None:
    lying = [liar, *five[1:]]
    with pytest.warns(Note):
        results = [
            distill(order, Config().with_values(FAST), CPU, Journal()) for order in (lying, list(reversed(lying)))
        ]
    assert results[0].choice["trust"] == results[1].choice["trust"]
    assert results[0].model.to_bytes() == results[1].model.to_bytes()


def test_a_kept_client_counts_in_full(five: list[Contribution], liar: Contribution) -> None:
    report = examined([liar, *five[1:]], keep=[0])
    assert report.changes_nothing
    assert report.kept == (0,)
    assert report.of(0).doubts[0].startswith("kept although the others contradict it")


def test_who_alone_holds_a_class_is_not_in_quarantine(five: list[Contribution]) -> None:
    """Of the classes that others hold nothing counts."""
    others = [client(k, (20, 20, 20, 0)) for k in range(1, 5)]
    report = examined([client(0, (20, 20, 20, 20), flip), *others])  # it says that its class 0 is class 3
    verdict = report.of(0)
    assert verdict.state == WEIGHTED
    assert verdict.credit == (0.0, 0.0, 0.0, 1.0)
    strict = examined([client(0, (20, 20, 20, 20), flip), *others], strict=True)
    assert strict.of(0).state == WEIGHTED


def test_a_generator_that_draws_the_same_again_and_again_is_left_out(
    five: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement, "collapsed", lambda survey, doubted: {2})
    report = examined(five)
    assert report.of(2).state == WEIGHTED
    assert not report.of(2).generator
    assert report.of(2).credit == (1.0,)
    assert report.of(2).reasons == ("all samples that its generator draws of a class are the same, so it is left out",)
    assert credited(five, report)[2].generator is None
    others = [client(k, (20, 20, 20, 0)) for k in (0, 1, 3, 4)]
    alone = examined([*others[:2], five[2], *others[2:]]).of(2)
    assert alone.state == ACCEPTED
    assert alone.doubts[0].endswith("it alone holds a class, so it counts nevertheless")


def test_all_in_quarantine_is_an_error_with_the_reasons(
    five: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(Verdict(c.client, QUARANTINED, (0.0,) * 4, reasons=("it is false",)) for c in five)
    monkeypatch.setattr("mosaic_fl.server.trust.vet.examine", lambda *_: TrustReport(rows))
    with pytest.warns(Note), pytest.raises(MosaicError, match="all 5 contributions.*client 3.*it is false.*--keep"):
        accuracy(five)


def test_inflated_counts_count_for_five_medians(five: list[Contribution]) -> None:
    large = replace(five[0], class_counts=five[0].class_counts * 1000)
    report = examined([large, *five[1:]])
    assert report.of(0).state == WEIGHTED
    assert credited([large, *five[1:]], report)[0].class_counts.tolist() == [100] * 4  # 5 · 80 / 4
    assert "80,000 samples" in report.of(0).reasons[0]


def test_copies_count_once(five: list[Contribution]) -> None:
    copy = replace(five[1], expert=five[0].expert, generator=five[0].generator)
    report = examined([five[0], copy, *five[2:]])
    assert [report.of(k).credit[0] for k in range(5)] == [0.5, 0.5, 1, 1, 1]


def test_one_model_and_another_generator_make_their_owners_no_copies_of_each_other(five: list[Contribution]) -> None:
    """Who sends both shares each with its owner alone: a half, not a third."""
    mixed = replace(five[4], expert=five[0].expert, generator=five[1].generator)
    assert sharers([*five[:4], mixed]) == [2, 2, 1, 1, 2]
    twice = replace(mixed, client=5)
    assert sharers([*five[:4], mixed, twice]) == [3, 3, 1, 1, 3, 3]


def test_two_trees_that_know_one_class_are_no_copies(five: list[Contribution]) -> None:
    """Honest sites with the same single class have the same few bytes: a model that always says this class."""
    content = {"onnx": torch.arange(9, dtype=torch.uint8)}
    some, one = torch.tensor([20, 20, 0, 0]), torch.tensor([0, 20, 0, 0])
    sites = [replace(c, expert=content, generator=None, generator_spec=None, class_counts=one) for c in five[:3]]
    assert sharers(sites) == [1, 1, 1]
    assert sharers([replace(site, class_counts=some) for site in sites]) == [3, 3, 3]


def test_strict_leaves_out_whatever_would_count_in_part(five: list[Contribution]) -> None:
    large = replace(five[0], class_counts=five[0].class_counts * 1000)
    copy = replace(five[1], expert=five[0].expert, generator=five[0].generator)
    assert examined([large, *five[1:]], strict=True).of(0).state == QUARANTINED
    assert [examined([five[0], copy, *five[2:]], strict=True).of(k).state for k in (0, 1, 2)] == [
        QUARANTINED,
        QUARANTINED,
        ACCEPTED,
    ]


def test_one_or_two_clients_and_none_with_a_generator(five: list[Contribution], liar: Contribution) -> None:
    assert examined(five[:1]).changes_nothing
    assert examined([liar, five[1]]).changes_nothing
    lean = [replace(c, generator=None, generator_spec=None) for c in five]
    assert examined(lean).changes_nothing
    mixed = [liar, *five[1:4], lean[4]]
    assert examined(mixed).of(0).state == QUARANTINED
    assert examined(mixed).of(4).unmeasured == "it has no generator"


def test_credited_counts_are_whole_and_cover_their_fields(five: list[Contribution]) -> None:
    """A third of 20 is 7, rounded up; of fields with 12 and 9 samples it is 4 and 3, which still cover 7."""
    one = replace(five[0], field_counts=torch.tensor([[12] * 4, [9] * 4]))
    verdict = Verdict(0, WEIGHTED, (1 / 3, 1 / 3, 1.0, 0.0))
    counted = credited([one], TrustReport((verdict,)))[0]
    assert counted.class_counts.tolist() == [7, 7, 20, 0]
    assert counted.field_counts is not None
    assert counted.field_counts.tolist() == [[4, 4, 12, 0], [3, 3, 9, 0]]
    assert credited([one], TrustReport((Verdict(0, ACCEPTED, (1.0,) * 4),)))[0] is one


def test_settings_are_checked() -> None:
    assert TrustConfig(strict=True, keep=(1, 2)).keep == (1, 2)
    with pytest.raises(ValueError, match="keep"):
        TrustConfig(keep=("a",))  # type: ignore[arg-type]


def test_mosaic_check_tells_of_a_liar_without_a_run(
    five: list[Contribution], liar: Contribution, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{k}.contribution" for k in range(5)]
    for path, sent in zip(paths, [liar, *five[1:]], strict=True):
        path.write_bytes(sent.to_bytes())
    report = check_files(paths)
    assert not report.is_clean
    assert [(doubt.rule, doubt.clients) for doubt in report.doubts] == [("trust", (0,))]
    assert "in quarantine" in report.doubts[0].text
    content = report.to_json()
    assert content["trust"]["quarantined"] == [0]
    assert content["trust"]["clients"][1]["model"] == 1.0
    assert check_files(paths[1:]).is_clean
    assert check_files([paths[1], paths[1]]).trust is None  # two of one client are refused


def test_mosaic_check_tells_what_class_moments_contradict(tmp_path: Path) -> None:
    """No model is asked where all models follow from moments; what these say is told as well."""

    def closed_form(number: int, lie: Callable[[torch.Tensor], torch.Tensor]) -> bytes:
        data = clouds((20,) * 4, number)
        data = Dataset(data.samples, lie(data.labels), data.schema)
        settings = {"generator.family": "moments", "data.validation": 0.0}
        return mosaic_fl.contribute(data, model="discriminant", client=number, settings=settings).to_bytes()

    paths = [tmp_path / f"{k}.contribution" for k in range(5)]
    for k, path in enumerate(paths):
        path.write_bytes(closed_form(k, lambda labels: labels))
    assert check_files(paths).is_clean
    paths[0].write_bytes(closed_form(0, flip))
    assert [(doubt.rule, doubt.clients) for doubt in check_files(paths).doubts] == [("trust", (0,))]
