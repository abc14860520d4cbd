"""Real data sets that scikit-learn brings with it, so that a fresh machine needs no download."""

import numpy as np

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


def embedded_table(name: str) -> Frame:
    """569 biopsies, 30 columns, 2 classes (`breast_cancer`: Wolberg, Street and Mangasarian 1995); or `wine`.

    That is 178 wines of three growers, 13 columns (Aeberhard and Forina 1991).
    """
    from sklearn import datasets

    bunch = {"breast_cancer": datasets.load_breast_cancer, "wine": datasets.load_wine}[name]()
    columns = {str(column): values for column, values in zip(bunch.feature_names, bunch.data.T, strict=True)}
    return Frame(name, {**columns, LABEL: np.array([str(bunch.target_names[y]) for y in bunch.target], object)})
