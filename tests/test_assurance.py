"""How far predictions may be trusted: the density, the temperature, what the model's file holds, and abstaining."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import mosaic_fl
from image_files import grey, png
from mosaic_fl.cli.main import main
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.engines.losses import loss_table
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.assurance import Assurance
from mosaic_fl.exchange.federation import TEMPERATURES
from mosaic_fl.exchange.global_model import KIND, GlobalModel
from mosaic_fl.experts.condensed import condensed, narrowed
from mosaic_fl.numerics.density import Density, fit_density
from mosaic_fl.server.assurance import _threshold, temperature
from mosaic_fl.storage import container
from prediction_cases import brightness, pictures

SETTINGS: dict[str, Any] = {
    "train.max_steps": 60, "train.min_steps": 60, "generator.steps": 60, "distill.steps": 60, "distill.pool": 1000,
    "distill.terms": 1, "meta.steps": 20, "generator.family": "cvae",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ends(words: list[str]) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


class Inputs:
    """An expert that is no network."""

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> torch.Tensor:
        return torch.zeros(len(samples), 3)


def halves() -> Density:
    """A centre at (0, 0) and one at (10, 0); variance 4 along the first number, 1 along the second."""
    return Density(torch.tensor([[0.0, 0.0], [10.0, 0.0]]), torch.tensor([[1.0], [0.0]]), torch.tensor([4.0, 1.0]))


def sure() -> GlobalModel:
    """`brightness` behind an assurance: its feature is a picture's brightness, of which −1..1 is known."""
    density = Density(torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([1.0, 1.0]))
    model = brightness()
    return GlobalModel(model.architecture, model.schema, model.state, {}, Assurance(2.0, density, 0.5, "by hand"))


def test_the_distance_is_that_to_the_nearest_centre_in_standard_deviations() -> None:
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [8.0, 0.0], [12.0, 1.0]])
    assert halves().distance(points).tolist() == pytest.approx([0, 1, 3, 1, math.sqrt(2)])


def test_a_density_finds_its_centres_and_variances() -> None:
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, 30, generator=rng) * torch.tensor([3.0] + [1.0] * 28 + [0.0])
    classes = torch.arange(4000) % 2
    vectors = noise + classes[:, None] * 20.0
    density = fit_density(vectors, classes)
    assert density.centres.shape == (2, 30)
    assert density.axes.shape == (30, 16)
    assert torch.allclose(density.centres[1], torch.full((30,), 20.0), atol=0.2)
    assert float(density.variances[0]) == pytest.approx(9.0, rel=0.1)
    assert float(density.variances[-1]) == pytest.approx(1.0, rel=0.15)
    assert float(density.axes[0, 0].abs()) == pytest.approx(1.0, abs=0.01)
    assert float(density.distance(vectors).square().mean()) == pytest.approx(29, rel=0.1)


@pytest.mark.parametrize("n", [1, 3])
def test_a_density_of_a_few_equal_vectors_is_finite(n: int) -> None:
    density = fit_density(torch.ones(n, 5), torch.arange(n))
    assert density.centres.tolist() == [[1.0] * 5]
    assert density.distance(torch.ones(1, 5)).tolist() == [0.0]
    assert bool(density.distance(torch.zeros(1, 5)).isfinite().all())


def test_many_numbers_become_means_of_neighbours() -> None:
    assert narrowed(torch.arange(128.0)[None]).tolist() == [[2 * i + 0.5 for i in range(64)]]
    last = narrowed(torch.arange(130.0)[None])[0]  # three at a time: the last mean is of one
    assert last.tolist() == [3 * i + 1.0 for i in range(43)] + [129.0]
    assert narrowed(torch.ones(2, 64)).shape == (2, 64)


def test_of_a_model_that_is_no_network_its_inputs_are_seen() -> None:
    model = brightness()
    values = torch.tensor([[0, 255]], dtype=torch.uint8).repeat(2, 8).view(2, 1, 4, 4)
    seen = condensed(Inputs(), Samples(model.schema.fields, {"image": values}))
    assert seen.tolist() == [[-1.0, 1.0] * 8] * 2


def test_the_temperature_follows_the_sites_and_stays_near_one_without_them() -> None:
    nothing = torch.zeros(len(TEMPERATURES))
    assert temperature(nothing, []) == 1.0
    # Logits (2, 0) are 0.88 sure. Of a site's samples 750 are right, of another's 250 wrong.
    surplus = [math.log1p(math.exp(-2 / heat)) for heat in TEMPERATURES]
    right = torch.tensor([[750, *(round(1000 * 750 * loss) for loss in surplus)]])
    wrong = torch.tensor(
        [[250, *(round(1000 * 250 * (loss + 2 / heat)) for loss, heat in zip(surplus, TEMPERATURES, strict=True))]]
    )
    heat = temperature(nothing, [right, wrong])
    assert heat == pytest.approx(2 / math.log(3), rel=0.13)  # where softmax says 0.75; the grid has steps of 13 %
    assert temperature(nothing, [torch.zeros_like(right)]) == 1.0


def test_the_threshold_is_where_public_samples_begin_but_not_among_synthetic_ones() -> None:
    inside = torch.linspace(0, 1, 101).double()
    assert _threshold(inside, torch.linspace(10, 20, 101).double())[0] == pytest.approx(10.5)
    assert _threshold(inside, torch.linspace(0, 1, 101).double())[0] == pytest.approx(1.1 * 0.99)
    assert _threshold(inside, None)[0] == pytest.approx(1.3 * 0.99)
    assert _threshold(torch.zeros(5).double(), None)[0] == 1.0


def test_a_file_holds_it_and_files_without_it_are_read(tmp_path: Path) -> None:
    model = sure()
    read = GlobalModel.from_bytes(model.to_bytes())
    assert read.assurance is not None
    assert read.assurance.to_json() == {"temperature": 2.0, "threshold": 0.5, "reference": "by hand"}
    assert read.state.keys() == model.state.keys()
    assert read.to_bytes() == model.to_bytes()
    assert GlobalModel.from_bytes(brightness().to_bytes()).assurance is None
    warm = GlobalModel(model.architecture, model.schema, model.state, {}, Assurance(3.0))
    assert GlobalModel.from_bytes(warm.to_bytes()).assurance.density is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("words", "tensors"),
    [
        ({"temperature": 0.0}, {}),
        ({"temperature": "1"}, {}),
        ({"threshold": -1.0}, {}),
        ({"threshold": None}, {}),
        ({"reference": 3}, {}),
        ({"reference": "x" * 65}, {}),
        ({}, {"variances": torch.tensor([1.0, -1.0])}),
        ({}, {"variances": torch.tensor([1.0])}),
        ({}, {"axes": torch.tensor([[2.0]])}),
        ({}, {"axes": torch.eye(65)}),
        ({}, {"centres": torch.zeros(0, 1)}),
        ({}, {"centres": torch.zeros(1, 1, dtype=torch.int64)}),
    ],
)
def test_a_damaged_one_is_refused(words: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    manifest, stored = container.unpack(sure().to_bytes(), KIND, "model")
    manifest["assurance"] |= words
    stored |= {f"assurance/{name}": tensor for name, tensor in tensors.items()}
    with pytest.raises(UsageError, match="trust in its predictions"):
        GlobalModel.from_bytes(container.pack(KIND, manifest, stored))


def test_an_assessment_is_calibrated_and_changes_no_class() -> None:
    images = torch.tensor([0, 255, 128], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    assessment = sure().assess(images)
    assert assessment.classes.tolist() == sure().predict(images).tolist()
    assert torch.allclose(assessment.probabilities.float(), sure().predict_proba(images))
    # White has the logits (−1, 1, 0): halved, e^½ / (e^−½ + e^½ + 1).
    assert float(assessment.confidence[1]) == pytest.approx(math.exp(0.5) / (math.exp(-0.5) + math.exp(0.5) + 1))
    # Its feature, the mean brightness, is 1: twice the threshold. That of middle grey is 1/255.
    assert assessment.strangeness is not None
    assert assessment.strangeness.tolist() == pytest.approx([2, 2, 2 / 255], abs=1e-5)
    assert brightness().assess(images).strangeness is None


def test_predict_abstains(capsys: pytest.CaptureFixture[str]) -> None:
    sure().save("model")
    data = pictures(a_png=png(grey(0)), b_png=png(grey(120)), c_png=png(grey(140)), d_png=png(grey(255)))
    assert ends(["predict", "model", "--data", str(data), "--out", "plain.csv"]) == 0
    plain = list(csv.DictReader(Path("plain.csv").read_text().splitlines()))
    assert list(plain[0]) == ["image", "file", "class", "name", "probability", "confidence", "strangeness", "error"]
    assert ends(["predict", "model", "--data", str(data), "--abstain", "--least-sure", "0.5", "--out", "out.csv"]) == 0
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [row["abstained"] for row in rows] == [
        "unlike anything the sites know", "among the least sure", "", "unlike anything the sites know"
    ]  # fmt: skip
    assert [row["name"] for row in rows] == ["", "", plain[2]["name"], ""]
    assert [row["strangeness"] for row in rows] == [row["strangeness"] for row in plain]
    assert "no class for 2 of the 4 images of new: unlike anything the sites know" in capsys.readouterr().err
    assert ends(["predict", "model", "--data", str(data), "--abstain"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[0])
    assert answer["class"] is None
    assert answer["abstained"] == "unlike anything the sites know"


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--abstain"], "does not say what is strange"), (["--least-sure", "1.5"], "no share between 0 and 1")],
)
def test_what_cannot_abstain_says_so(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    brightness().save("model")
    assert ends(["predict", "model", "--data", str(pictures(a_png=png(grey(0)))), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("student", ["discriminant", "mlp:32"])
def test_digits_are_known_and_noise_is_strange(student: str, digits: Dataset) -> None:
    vectors = digits.images.flatten(1).float() / 255
    parts = [mosaic_fl.from_arrays(vectors[start:400:2], digits.labels[start:400:2], 10) for start in (0, 1)]
    settings = {**SETTINGS, "generator.family": "moments"}
    sent = [mosaic_fl.contribute(part, model="mlp:32", client=k, settings=settings) for k, part in enumerate(parts)]
    model = mosaic_fl.distill(sent, student=student, settings=settings)
    noise = torch.rand(200, 64, generator=torch.Generator().manual_seed(0))
    known = model.assess(vectors[400:700]).strangeness
    strange = model.assess(noise).strangeness
    assert known is not None
    assert strange is not None
    ranks = torch.cat([known, strange]).argsort().argsort().double()
    area = (float(ranks[300:].sum()) - 200 * 199 / 2) / (300 * 200)
    assert area > 0.9
    assert float((known <= 1).double().mean()) > 0.8
    assert torch.equal(GlobalModel.from_bytes(model.to_bytes()).assess(noise).strangeness, strange)


def test_losses_are_told_as_whole_numbers_of_all_classes_together() -> None:
    """Logits (−1, 1, 0): three are right, at −log 0.665241, and one is wrong, at −log 0.090031."""
    outputs = torch.tensor([[-1.0, 1.0, 0.0]]).repeat(4, 1).log_softmax(1)
    table = loss_table(outputs, torch.tensor([1, 1, 1, 0]))
    assert table.shape == (1, 1 + len(TEMPERATURES))
    assert table[0, :2].tolist() == [4, round(3 * 407.606 + 2407.606)]
