"""Real data sets that scikit-learn brings with it, so that a fresh machine needs no download."""

import numpy as np
import numpy.typing as npt

from mosaic_fl.data.fields.rows import FieldRows
from mosaic_fl.data.names import class_names
from mosaic_fl.data.rows import Rows
from mosaic_fl.data.table.frame import Frame

LABEL = "class"  # the column of classes of an embedded table


def digits() -> Rows:
    """1,797 handwritten digits, 8×8 pixels of 17 grey levels (Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * 255 / 16).astype(np.uint8)
    return Rows("digits", list(pixels), bunch.target.astype(np.int64), class_names(10))


def digits_views() -> FieldRows:
    """The digits in three fields: `left` and `right`, the halves of the picture (8×4), and 6 numbers of the whole.

    The numbers are the ink (its mean, 0..1), its centre (0..1 from the left and from the top), its spread about the
    centre in both directions, and its slant (the covariance of both); all lengths are in widths of the picture.
    """
    rows = digits()
    pixels = np.stack([np.asarray(picture) for picture in rows.pictures])
    classes = np.array([str(label) for label in rows.labels], object)
    columns = {**moments(pixels), LABEL: classes}
    halves = {"left": list(pixels[:, :, :4]), "right": list(pixels[:, :, 4:])}
    names = {name: np.array(["a picture"] * len(pixels), object) for name in halves}
    return FieldRows(Frame("digits-views", {**names, **columns}), halves)


def moments(pixels: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float64]]:
    """Numbers (n,) of pictures uint8 (n, h, w) by name: see `digits_views`."""
    ink = pixels / 255
    total = ink.sum((1, 2))
    share = ink / np.maximum(total, 1e-9)[:, None, None]
    y, x = (np.linspace(0, 1, size)[:, None] for size in pixels.shape[1:])
    across = share.sum(1)
    down = share.sum(2)
    left = (across @ x)[:, 0]
    top = (down @ y)[:, 0]
    width = np.sqrt(np.maximum((across @ x**2)[:, 0] - left**2, 0))
    height = np.sqrt(np.maximum((down @ y**2)[:, 0] - top**2, 0))
    slant = np.einsum("nyx,y,x->n", share, y[:, 0], x[:, 0]) - left * top
    values = {"ink": total / pixels[0].size, "left": left, "top": top, "width": width, "height": height, "slant": slant}
    return {f"ink_{name}" if name != "ink" else name: column for name, column in values.items()}


def embedded_table(name: str) -> Frame:
    """569 biopsies, 30 columns, 2 classes (`breast_cancer`: Wolberg, Street and Mangasarian 1995); or `wine`.

    That is 178 wines of three growers, 13 columns (Aeberhard and Forina 1991).
    """
    from sklearn import datasets

    bunch = {"breast_cancer": datasets.load_breast_cancer, "wine": datasets.load_wine}[name]()
    columns = {str(column): values for column, values in zip(bunch.feature_names, bunch.data.T, strict=True)}
    return Frame(name, {**columns, LABEL: np.array([str(bunch.target_names[y]) for y in bunch.target], object)})
