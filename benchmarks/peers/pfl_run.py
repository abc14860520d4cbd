"""The experiment on pfl-research, by its own FedAvg and simulated back end, in one process."""

import numpy as np
import torch
import torch.nn.functional as F
from experiment import Experiment, accuracy, inputs, network, report, shards
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm import FederatedAveraging, NNAlgorithmParams
from pfl.data import FederatedDataset
from pfl.data.dataset import Dataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNTrainHyperParams
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn


class Learner(nn.Sequential):
    """The network with what pfl asks a module for."""

    def __init__(self) -> None:
        super().__init__(*network())
        self.steps = 0

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of one step."""
        self.steps += 1
        self.train()
        return F.cross_entropy(self(images), labels)

    def metrics(self, images: Tensor, labels: Tensor) -> dict:
        """None: nothing is measured before the end."""
        return {}


def main() -> None:
    """Train, and report."""
    experiment = Experiment.from_words()
    np.random.seed(experiment.seed)  # noqa: NPY002 — pfl draws from it
    passes = [(inputs(images), labels) for images, labels in shards(experiment)]

    def pass_over(client: int) -> Dataset:
        images, labels = passes[client]
        order = torch.randperm(len(labels))
        return Dataset((images[order], labels[order]))

    clients = FederatedDataset(pass_over, get_user_sampler("minimize_reuse", list(range(experiment.clients))))
    learner = Learner()
    model = PyTorchModel(learner, torch.optim.SGD, torch.optim.SGD(learner.parameters(), lr=1.0))
    settings = NNAlgorithmParams(
        central_num_iterations=experiment.rounds,
        evaluation_frequency=experiment.rounds + 1,
        train_cohort_size=experiment.clients,
        val_cohort_size=0,
    )
    local = NNTrainHyperParams(local_batch_size=experiment.batch, local_num_epochs=1, local_learning_rate=experiment.lr)
    FederatedAveraging().run(settings, SimulatedBackend(clients, clients), model, local)
    report(accuracy(learner, experiment.test), learner.steps)


if __name__ == "__main__":
    main()
