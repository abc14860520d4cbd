"""Small real data under the names that the documents use: photos/, ward.parquet, adult.csv …"""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from field_cases import patients
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import image_dataset
from mosaic_fl.domains.image.schema import image_schema


def lay_out(folder: Path) -> Path:
    """All of it in `folder`, a second's work: a page's commands run in a copy. Returns the folder."""
    images, labels = _digits()
    for name, part in (("mnist", slice(0, 300)), ("path/to/mnist", slice(300, 700))):
        _pictures(folder / name / "train", images[part], labels[part])
        _pictures(folder / name / "test", images[700:760], labels[700:760])
    for name in ("cifar10", "path/to/cifar10"):
        _pictures(folder / name / "train", images[:200], labels[:200], coloured=True)
        _pictures(folder / name / "test", images[700:750], labels[700:750], coloured=True)
    _pictures(folder / "photos", images[:200], labels[:200])
    for name in ("new-photos", "new-images", "new"):
        _pictures(folder / name, images[760:780], None)
    schema = image_schema((1, 8, 8), tuple("0123456789"))
    first = 0
    for name, count in {"ward": 200, "clinic": 200, "own": 400, "others": 200, "images": 200, "test": 200}.items():
        part = slice(first, first := first + count)
        save_parquet(image_dataset(images[part], labels[part], schema), folder / f"{name}.parquet")
    _tables(folder)
    return folder


def lay_out_fields(folder: Path) -> None:
    """Tables with columns of pictures, in place of the tables of the same names."""
    patients(folder, 150)
    for name in ("a", "b", "test", "new"):
        patients(folder, 40, f"{name}.csv")
    patients(folder / "site", 40, "a.csv")


def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return torch.tensor((loaded.images * 255 / 16).round().astype("uint8"))[:, None], torch.tensor(loaded.target)


def _pictures(folder: Path, images: Tensor, labels: Tensor | None, coloured: bool = False) -> None:
    """A PNG file for each image (n, 1, h, w), in a sub-folder of its class unless there are no labels."""
    for i, image in enumerate(images[:, 0].numpy()):
        place = folder if labels is None else folder / str(int(labels[i]))
        place.mkdir(parents=True, exist_ok=True)
        picture = np.stack([image, image // 2, 255 - image], 2) if coloured else image
        Image.fromarray(picture).save(place / f"{i:04}.png")


def _tables(folder: Path) -> None:
    """Patients of two hospitals, of four, and people with a salary; `new.csv` has no column of classes."""
    rng = np.random.default_rng(0)

    def people(count: int) -> Iterable[dict[str, object]]:
        for i in range(count):
            old = bool(i % 2)
            yield {
                "age": int(rng.integers(20, 60) + 25 * old),
                "stage": ("I", "II", "III")[int(rng.integers(0, 2) + old)],
                "outcome": "yes" if old else "no",
            }

    def write(name: str, rows: Iterable[dict[str, object]]) -> None:
        lines = list(rows)
        with (folder / name).open("w", newline="") as file:
            table = csv.DictWriter(file, list(lines[0]))
            table.writeheader()
            table.writerows(lines)

    for name, count in (("a", 160), ("b", 160), ("test", 60)):
        write(f"{name}.csv", people(count))
    write("new.csv", ({key: row[key] for key in ("age", "stage")} for row in people(20)))
    hospitals = ("east", "north", "south", "west")
    write("heart.csv", ({**row, "hospital": hospitals[i // 2 % 4]} for i, row in enumerate(people(240))))
    salaries = ({**row, "fnlwgt": 1000 + i, "Salary": row.pop("outcome")} for i, row in enumerate(people(240)))
    write("adult.csv", salaries)
