"""Lines about the probabilities of a run's predictors, where its result has such figures."""

from collections.abc import Mapping
from typing import Any

from mosaic_fl.report.tables import NONE, percent

NAMES = {
    "served": "the model in service",
    "teacher": "the teacher",
    "mean_probability": "mean of probabilities",
    "centralised": "on pooled data",
}


def quality_lines(result: Mapping[str, Any]) -> list[str]:
    """One line a predictor: AUROC, balanced accuracy, log-loss and calibration error; last the best local model."""
    figures = result.get("quality") or {}
    lines = [f"{title}: {_words(figures[name])}" for name, title in NAMES.items() if figures.get(name)]
    local = {k: own for k, own in enumerate(figures.get("local") or []) if own and own["auroc"] is not None}
    if local:
        best = max(local, key=lambda k: local[k]["auroc"])
        numbers = result.get("contributors") or range(len(figures["local"]))
        lines.append(f"the best local model (client {numbers[best]}): {_words(local[best])}")
    return [f"{line[0].upper()}{line[1:]}" for line in lines]


def _words(figures: Mapping[str, float | None]) -> str:
    loss = NONE if (value := figures["log_loss"]) is None else f"{value:.3f}"
    return (
        f"AUROC {percent(figures['auroc'])} · balanced accuracy {percent(figures['balanced_accuracy'])} · log-loss "
        f"{loss} · calibration error {percent(figures['ece'])}"
    )
