"""The floor: FedAvg as anyone would write it by hand, one client after the other in one process."""

import torch
from experiment import Experiment, accuracy, network, report, shards, train


def main() -> None:
    """Train, and report."""
    experiment = Experiment.from_words()
    clients = shards(experiment)
    model = network()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    total = sum(len(labels) for _, labels in clients)
    steps = 0
    for _ in range(experiment.rounds):
        mean = {key: torch.zeros_like(value) for key, value in weights.items()}
        for images, labels in clients:
            model.load_state_dict(weights)
            steps += train(model, images, labels, experiment.batch, experiment.lr)
            for key, value in model.state_dict().items():
                mean[key] += value * (len(labels) / total)
        weights = mean
    model.load_state_dict(weights)
    report(accuracy(model, experiment.test), steps)


if __name__ == "__main__":
    main()
