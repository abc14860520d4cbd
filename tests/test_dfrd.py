"""DFRD: its terms by hand, its rounds, and clients of several widths."""

import math
from pathlib import Path

import pytest
import torch

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.averaging import unflatten
from mosaic_fl.methods.dfrd import AVERAGED, GENERATOR, check_dfrd, dfrd, generator_objective, moving_average
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.width import fedrolex
from mosaic_fl.server.synthesis.losses import fools
from mosaic_fl.storage.journal import Journal
from rounds import check_a_method, run, same_jobs, weights

A, B = [math.log(3), 0.0], [0.0, math.log(3)]  # says class 0, or 1, with probability ¾


def test_samples_are_useful_where_the_teacher_alone_is_right() -> None:
    teacher, student = torch.tensor([A, A, B, B]), torch.tensor([A, B, A, B])
    assert fools(teacher, student, torch.tensor([0, 0, 0, 0])).tolist() == [False, True, False, False]


def test_the_generators_objective_by_hand() -> None:
    """Two samples of class 0, both right at the teacher, one at the student: its KL is ¾ ln 3 − ¼ ln 3 = ½ ln 3."""
    teacher, student, labels = torch.tensor([A, A]), torch.tensor([A, B]), torch.tensor([0, 0])
    settings = SynthesisConfig(label=2.0, adversarial=3.0)
    expected = 2 * math.log(4 / 3) - 3 * (0.5 * math.log(3)) / 2
    assert float(generator_objective(teacher, student, labels, settings)) == pytest.approx(expected, abs=1e-6)


def test_the_moving_average_by_hand() -> None:
    average, current = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, -2.0])}
    assert torch.equal(moving_average(average, current, 0.75)["w"], torch.tensor([1.5, 1.0]))
    assert torch.equal(moving_average(average, current, 0.0)["w"], current["w"])


@pytest.mark.parametrize("kind", ["fedavg", "fedrolex", "heterofl"])
def test_the_averaged_generator_lives_in_the_stages(digits: Dataset, tmp_path: Path, kind: str) -> None:
    more = {"rounds_kind": kind, "models_ratios": [1.0, 0.5], "synthesis_ema": 0.75}
    kept = []
    for rounds in (1, 2):
        run(dfrd, digits, rounds, tmp_path, **more)
        stage = Journal(tmp_path).recall(f"round-{rounds - 1:04d}")
        assert stage is not None
        kept.append(unflatten(stage.tensors))
    (first, second), name = kept, "enter.weight"
    assert torch.equal(first[AVERAGED][name], first[GENERATOR][name])
    expected = 0.75 * first[AVERAGED][name] + 0.25 * second[GENERATOR][name]
    assert torch.allclose(second[AVERAGED][name], expected)
    assert not torch.allclose(second[GENERATOR][name], first[GENERATOR][name])


def test_its_rounds(digits: Dataset, tmp_path: Path) -> None:
    check_a_method(dfrd, fedavg, digits, tmp_path, synthesis_ema=0.5)


def test_clients_of_several_widths(digits: Dataset) -> None:
    """It asks FedRolex's jobs of the first round, and gives the full model."""
    more = {"rounds_kind": "fedrolex", "models_ratios": [1.0, 0.5, 0.25], "rounds_participation": 1.0}
    one, heard = run(dfrd, digits, 1, **more)
    plain, heard_there = run(fedrolex, digits, 1, **more)
    assert [job.architecture for job in heard.jobs[0]] == ["cnn:4:1", "cnn:2:1", "cnn:1:1"]
    assert same_jobs(heard.jobs[0], heard_there.jobs[0])
    # Static batch norm once in the round and once at the end, where FedRolex has it at the end alone.
    more_up = {a - b for a, b in zip(one.bytes_up, plain.bytes_up, strict=True)}
    assert len(more_up) == 1
    assert min(more_up) > 0
    assert one.model is not None
    assert one.model.architecture == "cnn:4:1"
    assert bool(weights(one).isfinite().all())


def test_partial_participation(digits: Dataset) -> None:
    two, heard = run(dfrd, digits, 2, rounds_participation=0.34)
    assert [len(jobs) for jobs in heard.jobs] == [1, 1]
    assert sum(sent > 0 for sent in two.bytes_up) in (1, 2)


def test_wrong_wishes_are_found_before_any_work(digits: Dataset) -> None:
    def check(**values: object) -> None:
        config = Config().with_values({k.replace("_", ".", 1): v for k, v in values.items()})
        METHODS["dfrd"].settings(config)
        check_dfrd(config, digits.schema, ["vit:8:1"], "vit:8:1")

    check()
    with pytest.raises(UsageError, match="no sub-models"):
        check(rounds_kind="fedrolex")
    with pytest.raises(UsageError, match="student_steps is 0"):
        check(synthesis_student_steps=0)


def test_the_card_holds_what_held_out_images_chose() -> None:
    config = Config().with_values(dict(METHODS["dfrd"].defaults)).synthesis
    assert (config.adversarial, config.ema, config.student_lr) == (0.1, 0.5, 1e-3)
