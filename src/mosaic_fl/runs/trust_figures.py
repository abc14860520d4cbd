"""Figures on the test set of how far a global model's own word on its predictions may be trusted."""

from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.numerics.probabilities import calibration_error

TENTH = 0.1


def trust_figures(model: GlobalModel, test: Dataset, outputs: Tensor, device: torch.device) -> dict[str, Any]:
    """Of a model with an assurance, its `outputs` (n, C) on `test` samples, n at least 1.

    `temperature` and `threshold` are those in its file. `ece` and `ece_calibrated` are expected calibration errors of
    its probabilities, before and after the temperature. `error_sure` is the error without the tenth that it is least
    sure of. `strange` is the share of the test samples that it takes for strange: false alarms.
    """
    assurance = model.assurance
    assert assurance is not None
    answers = test.labels.numpy()
    calibrated = assurance.calibrated(outputs)
    sure = calibrated.amax(1).argsort(stable=True)[round(TENTH * len(outputs)) :]
    strangeness = assurance.strangeness(model.expert(), test.samples, device)
    return {
        **assurance.to_json(),
        "ece": calibration_error(outputs.double().softmax(1).numpy(), answers),
        "ece_calibrated": calibration_error(calibrated.numpy(), answers),
        "error_sure": float((outputs.argmax(1) != test.labels)[sure].double().mean()),
        "strange": None if strangeness is None else float((strangeness > 1).double().mean()),
    }
