"""`global_model.safetensors` and `use_model.py`: the model as an estimator of scikit-learn, without a pickle."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.model_file import FILE
from mosaic_fl.export.served import Served
from mosaic_fl.export.torch_code import loaded
from mosaic_fl.export.trial import Run

CODE = "use_model.py"
TEXT = f'''"""A global model of mosaic-fl as an estimator of scikit-learn.

    from use_model import classifier
    classifier.predict(X), classifier.predict_proba(X), classifier.classes_
"""

from pathlib import Path

import mosaic_fl

classifier = mosaic_fl.MosaicClassifier.load(Path(__file__).with_name("{FILE}"))
'''


def sklearn_files(model: GlobalModel, served: Served) -> tuple[dict[str, bytes], Run]:
    """The files by name, and how they run."""
    files = {FILE: model.to_bytes(), CODE: TEXT.encode()}
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        classifier = loaded(Path(folder, CODE)).classifier

    def run(values: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        probabilities = classifier.predict_proba(served.samples(values))
        return {"probabilities": torch.from_numpy(probabilities)}

    served.outputs = ["probabilities"]
    return files, run
