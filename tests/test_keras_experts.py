"""Keras models at sites, as Keras exports them; skipped where Keras, which is no dependency, is not installed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="keras is not installed")
pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")

import keras

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution

NO_GENERATOR = {"generator.family": "none"}


def exported(model: Any, values: Any, labels: Any, place: Path) -> Any:
    """What the trained model answers to `values`, after its export."""
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(values, labels, epochs=10, verbose=0)  # Keras exports no model that was never called
    model.export(str(place), format="onnx", verbose=False)
    return np.asarray(model.predict(values, verbose=0))


def answers(data: Dataset, place: Path) -> Any:
    """What the server gets from the file: probabilities."""
    sent = mosaic_fl.contribute(data, model=str(place), client=0, settings=NO_GENERATOR)
    received = Contribution.from_bytes(sent.to_bytes())
    return received.build_expert().log_probabilities(data.samples).exp().numpy()


def test_a_convolutional_network(digits: Dataset, tmp_path: Path) -> None:
    data = digits.subset(range(200))
    values = np.transpose(np.asarray(data.samples.inputs()), (0, 2, 3, 1))  # Keras has the channels last
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input(values.shape[1:]),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(10, activation="softmax"),
        ]
    )
    expected = exported(model, values, data.labels.numpy(), tmp_path / "cnn.onnx")
    assert np.abs(answers(data, tmp_path / "cnn.onnx") - expected).max() < 1e-5


def test_a_network_of_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {name: rng.normal(size=120) for name in "ab"}
    columns["place"] = rng.choice(["north", "south", "west"], 120).tolist()
    data = mosaic_fl.from_table(columns, ["yes" if value > 0 else "no" for value in columns["a"]])
    values = np.asarray(data.samples.inputs())  # as networks take them; data.samples.only are the columns themselves
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((values.shape[1],)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    expected = exported(model, values, data.labels.numpy(), tmp_path / "mlp.onnx")
    assert np.abs(answers(data, tmp_path / "mlp.onnx") - expected).max() < 1e-5
