"""Patients with an x-ray, a photograph and a table, of which some lack some; as files for the tests of fields."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from image_files import grey, png

HEADER = "id,xray,photo,age,ward,outcome\n"
OUTCOMES = ("ill", "well")


def coloured(red: int, side: int = 4) -> "np.ndarray":
    """A picture with one colour, reddish."""
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[..., 0] = red
    return pixels


def patients(folder: Path, count: int = 40, name: str = "patients.csv", without: tuple[str, ...] = ()) -> Path:
    """A CSV of `count` patients in a folder of its own, with the files of their pictures beside it.

    Patient i has an x-ray of brightness i and a photograph whose red is 100 + i, the age 20 + i and the ward a or b by
    i // 2; odd ones are well. Every fifth lacks the x-ray, every fifth after it the age and ward. Columns `without` are
    not written.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        (folder / f"pictures/x{i}.png").write_bytes(png(grey(i)))
        (folder / f"pictures/p{i}.png").write_bytes(png(coloured(100 + i)))
        cells = {
            "id": f"patient {i}",
            "xray": "" if i % 5 == 0 else f"pictures/x{i}.png",
            "photo": f"pictures/p{i}.png",
            "age": "" if i % 5 == 1 else str(20 + i),
            "ward": "" if i % 5 == 1 else "ab"[i // 2 % 2],
            "outcome": OUTCOMES[i % 2],
        }
        lines.append(",".join(cell for column, cell in cells.items() if column not in without))
    names = [column for column in HEADER.strip().split(",") if column not in without]
    path = folder / name
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return path


def parquet(path: Path, count: int = 40) -> Path:
    """The same patients as a Parquet file with images in it."""
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    xrays = [None if i % 5 == 0 else {"bytes": png(grey(i)), "path": None} for i in range(count)]
    table = pa.table(
        {
            "xray": pa.array(xrays, kind),
            "photo": pa.array([png(coloured(100 + i)) for i in range(count)], pa.binary()),
            "age": pa.array([None if i % 5 == 1 else 20 + i for i in range(count)]),
            "ward": pa.array([None if i % 5 == 1 else "ab"[i // 2 % 2] for i in range(count)]),
            "outcome": pa.array([OUTCOMES[i % 2] for i in range(count)]),
        }
    )
    pq.write_table(table, path)
    return path
