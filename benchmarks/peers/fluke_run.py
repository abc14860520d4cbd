"""The experiment on fluke, by its own FedAvg, clients and loaders, in one process."""

import torch

# fluke imports torchvision for its data sets and networks, none of which is used here. The wheels of torchvision are
# for torch with CUDA: beside torch for CPUs its import ends at these operators, which its own library would declare.
library = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from experiment import Experiment, accuracy, inputs, network, report, shards  # noqa: E402
from fluke import DDict, FlukeENV  # noqa: E402
from fluke.algorithms.fedavg import FedAVG  # noqa: E402
from fluke.data import DataSplitter, DummyDataContainer, FastDataLoader  # noqa: E402


def main() -> None:
    """Train, and report."""
    experiment = Experiment.from_words()
    environment = FlukeENV()
    environment.set_seed(experiment.seed)
    environment.set_device("cpu")
    environment.set_inmemory(True)
    environment.set_eval_cfg(pre_fit=False, post_fit=False, locals=False, server=False)
    loaders = [
        FastDataLoader(inputs(images), labels, num_labels=10, batch_size=experiment.batch, shuffle=True)
        for images, labels in shards(experiment)
    ]
    data = DummyDataContainer(loaders, [None] * experiment.clients, None, num_classes=10)
    settings = DDict(
        model=network(),
        client=DDict(
            batch_size=experiment.batch,
            local_epochs=1,
            loss="CrossEntropyLoss",
            optimizer=DDict(name="SGD", lr=experiment.lr, fused=True),
            scheduler=DDict(name="StepLR", step_size=1, gamma=1),
        ),
        server=DDict(weighted=True),
    )
    federation = FedAVG(experiment.clients, DataSplitter(data), settings)
    federation.run(experiment.rounds, 1.0)
    steps = experiment.rounds * sum(map(len, loaders))
    report(accuracy(federation.server.model, experiment.test), steps)


if __name__ == "__main__":
    main()
