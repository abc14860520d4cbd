#!/usr/bin/env bash
# A folder of images, one sub-folder a class, to a report. How-to: docs/folder.md.
set -euo pipefail
python - <<'PYTHON'
# Stands for your own folder: scikit-learn's digits as PNG files.
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
for number, (image, label) in enumerate(zip(digits.images, digits.target)):
    folder = Path("photos") / f"digit {label}"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 15).astype("uint8")).save(folder / f"{number}.png")
PYTHON
# The preset trains nothing, so this takes seconds. Without --preset and --encoder each site trains a model and a generator.
mosaic run --data photos --clients 5 --alpha 0.1 --preset encoder --encoder gabor --out runs/photos
mosaic predict runs/photos --data "photos/digit 3" --out predictions.csv
echo "Open runs/photos/report.html"
