"""The experiment on Flower's simulation (Ray), by its own FedAvg and messages: an actor a core."""

import os

from experiment import Experiment, accuracy, network, report, shards, train
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation


def client_app(experiment: Experiment) -> ClientApp:
    """A client that takes the shard of its partition. An actor reads the data once."""
    app = ClientApp()

    @app.train()
    def train_round(message: Message, context: Context) -> Message:
        images, labels = shards(experiment)[int(context.node_config["partition-id"])]
        model = network()
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        steps = train(model, images, labels, experiment.batch, experiment.lr)
        figures = MetricRecord({"num-examples": len(labels), "steps": steps})
        answer = {"arrays": ArrayRecord(model.state_dict()), "metrics": figures}
        return Message(content=RecordDict(answer), reply_to=message)

    return app


def server_app(experiment: Experiment) -> ServerApp:
    """A server that averages, then measures once."""
    app = ServerApp()

    @app.main()
    def serve(grid: Grid, context: Context) -> None:
        model = network()
        strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=experiment.clients)
        result = strategy.start(grid, ArrayRecord(model.state_dict()), num_rounds=experiment.rounds)
        model.load_state_dict(result.arrays.to_torch_state_dict())
        mean_steps = sum(float(figures["steps"]) for figures in result.train_metrics_clientapp.values())
        report(accuracy(model, experiment.test), round(mean_steps * experiment.clients))

    return app


def main() -> None:
    """Simulate."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))  # actors import `experiment`
    experiment = Experiment.from_words()
    cores = len(os.sched_getaffinity(0))
    run_simulation(
        server_app(experiment),
        client_app(experiment),
        experiment.clients,
        backend_config={"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": cores}},
    )


if __name__ == "__main__":
    main()
