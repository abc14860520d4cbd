"""What asking the clients would have brought: the estimate, the documented table behind it, and when it is told."""

import re
import warnings
from pathlib import Path

import pytest
import torch

from mosaic_fl.config import Config
from mosaic_fl.notes import Note
from mosaic_fl.server.asking import MEASURED, Estimate, Trial, estimate
from mosaic_fl.server.distill import Distilled, distill
from mosaic_fl.server.recognition import Recognition
from mosaic_fl.storage.journal import Journal
from test_recognition import QUICK, client

NOTES = Path(__file__).parents[1] / "docs" / "notes" / "other-data.md"


def test_the_estimate_is_the_range_of_what_was_measured_on_sets_alike() -> None:
    assert estimate(0.5) == estimate(0.79) == Estimate(0.0, 7.0, 3)
    assert estimate(0.8) == estimate(0.94) == Estimate(0.0, 0.4, 3)


def test_the_documented_table_is_the_one_that_counts() -> None:
    number = r"(\.\d+)"
    rows = re.findall(
        rf"^\| [^|]+ \| {number} \| {number} \| {number} \| (\d+\.\d) \|$", NOTES.read_text(), re.MULTILINE
    )
    assert tuple(Trial(float(r), float(d), float(c)) for r, d, c, _ in rows) == MEASURED
    assert [float(points) for *_, points in rows] == [round(100 * (t.chosen - t.default), 1) for t in MEASURED]


def learn(monkeypatch: pytest.MonkeyPatch, mean: float, judge: object = None, **settings: object) -> Distilled:
    """A distillation of very few steps, of generators whose samples are recognised so far."""
    measure = Recognition(torch.full((2, 2), mean), mean)
    monkeypatch.setattr("mosaic_fl.server.distill.recognition", lambda *_: measure)
    config = Config().with_values({**QUICK, "distill.prior": "none", **settings})
    pair = [client(0, [5, 5]), client(1, [5, 5])]
    return distill(pair, config, torch.device("cpu"), Journal(), judge=judge)  # type: ignore[arg-type]


def test_it_is_told_where_clients_would_have_been_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "recognise 72% .* on 3 sets like this the clients' choice brought 0.0 to 7.0 points to short students"
    with pytest.warns(Note, match=words):
        blind = learn(monkeypatch, 0.72)
    assert blind.choice["asking"] == {"least": 0.0, "most": 7.0, "sets": 3}


@pytest.mark.parametrize(
    ("mean", "judge", "settings"),
    [
        (0.95, None, {}),  # nobody would have been asked
        (0.72, lambda _: 0.5, {}),  # they were
        (0.72, None, {"distill.choose": False}),  # the user wants nobody to be asked
    ],
)
def test_it_is_told_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, mean: float, judge: object, settings: dict[str, object]
) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert "asking" not in learn(monkeypatch, mean, judge, **settings).choice
    assert not [warning for warning in told if "clients' choice" in str(warning.message)]
