"""FedDF's rounds on a small real federation."""

from pathlib import Path

import pytest
import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.feddf import check_feddf, feddf
from rounds import check_a_method, run, weights


def test_its_rounds(digits: Dataset, tmp_path: Path) -> None:
    check_a_method(feddf, fedavg, digits, tmp_path)


def test_without_a_step_worth_the_name_the_weights_are_fedavg(digits: Dataset) -> None:
    """Batch-norm statistics are those of the transfer set, so they are left out."""
    quiet = {"distill_lr": 1e-12, "distill_ema": 0.0, "distill_weight_decay": 0.0}
    (one, _), (plain, _) = run(feddf, digits, 1, **quiet), run(fedavg, digits, 1)
    assert one.model is not None
    assert plain.model is not None
    for name, tensor in plain.model.state.items():
        if "running" not in name and "tracked" not in name:
            assert torch.allclose(one.model.state[name], tensor, atol=1e-7), name
    (other, _), _ = run(feddf, digits, 1), None
    assert not torch.allclose(weights(other), weights(plain))


def test_generators_are_sent_once_and_labels_are_never_used(digits: Dataset) -> None:
    (one, _), (two, _), (plain, _) = run(feddf, digits, 1), run(feddf, digits, 2), run(fedavg, digits, 1)
    more = [a - b for a, b in zip(two.bytes_up, one.bytes_up, strict=True)]
    assert more == plain.bytes_up
    assert one.bytes_down == plain.bytes_down
    labelled, _ = run(feddf, digits, 1, distill_kl=0.25, distill_label=0.75)
    unlabelled, _ = run(feddf, digits, 1, distill_kl=1.0, distill_label=0.0)
    assert torch.equal(weights(labelled), weights(unlabelled))


def test_nothing_to_distil_on_is_found_before_any_work(digits: Dataset) -> None:
    config = Config().with_values({"generator.family": "none"})
    with pytest.raises(UsageError, match="no prior samples"):
        check_feddf(config, digits.schema, ["cnn:4"], "cnn:4")
