"""How well a global model tells samples that no site knows: AUROC, false alarms, and what it takes for strange.

    python benchmarks/strange.py runs/latest --known test.parquet --strange letters.parquet noise

Each of `--strange` is read as `mosaic predict` reads it; `noise` is independent pixels, even over their range. With
labels in `--known` the error is shown, too, and that without the tenth that the model is least sure of.
"""

import argparse
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from mosaic_fl.cli.options import configure
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.runs.any_predicting import predict_any
from mosaic_fl.runs.predicting import Prediction

SIDE = 28
TENTH = 0.1


def main() -> None:
    """Print one line for each set of strange samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--known", type=Path, required=True)
    parser.add_argument("--strange", nargs="+", required=True)
    parser.add_argument("--most", type=int, default=1000, help="of each set, its first")
    words = parser.parse_args()
    model = GlobalModel.load(words.model)
    known = list(answers(model, words.known, words.most))
    far = [_strangeness(one) for one in known]
    print(f"{words.known}: {len(known):,} samples, {100 * np.mean(np.array(far) > 1):.1f} % are taken for strange")
    if (labels := _labels(words.known, words.most)) is not None:
        _tell_errors(known, labels)
    for name in words.strange:
        with TemporaryDirectory() as folder:
            place = _noise(Path(folder, "noise.parquet"), words.most) if name == "noise" else Path(name)
            near = [_strangeness(one) for one in answers(model, place, words.most)]
        area = roc_auc_score([0] * len(far) + [1] * len(near), far + near)
        print(f"{name}: AUROC {area:.3f}, {100 * np.mean(np.array(near) > 1):.1f} % are taken for strange")


def answers(model: GlobalModel, data: Path, most: int) -> Iterator[Prediction]:
    """The predictions for the first `most` samples at `data`."""
    settings = configure(None, {}, None).data
    for number, prediction in enumerate(predict_any(model, data, settings, torch.device("cpu")).predictions):
        if number == most:
            return
        yield prediction


def _strangeness(prediction: Prediction) -> float:
    assert prediction.answer.strangeness is not None, prediction.error
    return prediction.answer.strangeness


def _tell_errors(known: list[Prediction], labels: list[int]) -> None:
    wrong = np.array([int(np.argmax(one.probabilities)) != label for one, label in zip(known, labels, strict=True)])
    sure = np.argsort([one.answer.confidence for one in known], kind="stable")[round(TENTH * len(known)) :]
    print(f"error {100 * wrong.mean():.2f} %, without the tenth it is least sure of {100 * wrong[sure].mean():.2f} %")


def _labels(data: Path, most: int) -> list[int] | None:
    if data.suffix != ".parquet" or "label" not in pq.read_schema(data).names:
        return None
    labels: list[int] = pq.read_table(data, columns=["label"]).slice(0, most)["label"].to_pylist()
    return labels


def _noise(place: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(count):
        content = BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(content, "PNG")
        pictures.append({"bytes": content.getvalue(), "path": None})
    pq.write_table(pa.table({"image": pictures}), place)
    return place


if __name__ == "__main__":
    main()
