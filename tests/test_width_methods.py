"""Methods on sub-models by width: HeteroFL's and FedRolex's loops, statistics and merge, by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.client.statistics import batch_statistics
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.mosaic import check_mosaic
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.width import class_rows, fedrolex, heterofl, static_batch_norm
from mosaic_fl.models import build
from mosaic_fl.models.submodel import merge
from mosaic_fl.models.width import RATIOS
from mosaic_fl.numerics.states import State
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")


@dataclass
class AddingFederation:
    """Clients whose training adds their number plus one to every weight; remembers its jobs."""

    clients: int
    architecture: str = "mlp:4:1"
    jobs: list[list[FitJob]] = field(default_factory=list)

    schema = image_schema((1, 1, 2), ("a", "b"))

    @property
    def architectures(self) -> list[str]:
        return [self.architecture] * self.clients

    def contribute(self, start: object = None) -> list[Contribution]:
        raise NotImplementedError

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        self.jobs.append(list(jobs))
        return [
            Fitted(j.client, {k: v + j.client + 1 for k, v in j.state.items()}, 10 * (j.client + 1), {}) for j in jobs
        ]

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        statistics = {name: tensor for name, tensor in state.items() if "running" in name}
        return [Fitted(k, statistics, 10, {}) for k in range(self.clients)]

    def evaluate(self, architecture: str, state: State) -> list[Tensor]:
        assert architecture == self.architecture
        build(architecture, self.schema).load_state_dict(state)
        return [torch.tensor([[3, 0], [1, 0]])] * self.clients


def rounds(count: int, ratios: Sequence[float] = RATIOS, **more: float | str) -> Config:
    values = {f"rounds.{name}": value for name, value in more.items()}
    return Config().with_values({"rounds.warm_up": count, "models.ratios": list(map(float, ratios)), **values})


@pytest.mark.parametrize(("method", "units"), [(heterofl, [0, 0]), (fedrolex, [0, 1])])
def test_two_rounds_by_hand(method: Callable[..., Outcome], units: list[int]) -> None:
    """Four units; client 0 (10 samples) adds 1 to all of them, client 1 (20) has ratio 1/4 and adds 2 to one."""
    federation, journal = AddingFederation(2), Journal()
    outcome = method(federation, rounds(2, (1, 0.25)), CPU, journal)
    assert [[j.architecture for j in jobs] for jobs in federation.jobs] == [["mlp:4:1", "mlp:1:1"]] * 2
    start, middle, end = (
        state["body.1.weight"]
        for state in (federation.jobs[0][0].state, federation.jobs[1][0].state, outcome.model.state)
    )
    gain = torch.full((4,), 2.0)
    for unit in units:
        gain[unit] += 2 / 3  # (10·1 + 20·2)/30 − 1
    assert torch.allclose(end - start, gain[:, None].expand(4, 2), atol=1e-6)
    # Client 0 holds all units in the window's order, client 1 the first of them.
    assert torch.equal(federation.jobs[1][1].state["body.1.weight"], middle[:1])
    assert journal.done["round-0001"].metrics == [{"step": 1, "validation_accuracy": 0.75}]


def test_traffic_is_the_packed_sub_model_a_round_taken_part_in() -> None:
    federation = AddingFederation(7)
    outcome = fedrolex(federation, rounds(3), CPU, Journal())
    assert outcome.model is not None
    for client, ratio in enumerate((1, 2, 4, 8, 16, 1, 2)):
        job = federation.jobs[2][client]
        assert job.architecture == f"mlp:{max(1, 4 // ratio)}:1"
        size = len(GlobalModel(job.architecture, federation.schema, job.state).to_bytes())
        # And once static batch norm: the full model down, its statistics up. In the end the result, to all.
        assert outcome.bytes_down[client] == 3 * size + 2 * len(outcome.model.to_bytes())
        statistics = {name: t for name, t in outcome.model.state.items() if "running_" in name}
        assert outcome.bytes_up[client] == 3 * size + len(container.pack("statistics", {}, statistics))
    few = AddingFederation(4)
    outcome = heterofl(few, rounds(1, (1,), participation=0.5, steps=9), CPU, Journal())
    assert len(few.jobs[0]) == 2
    most = max(outcome.bytes_up)
    assert [sent > most / 2 for sent in outcome.bytes_up] == [k in {j.client for j in few.jobs[0]} for k in range(4)]
    steps = {"min_steps": 9, "max_steps": 9, "absent": 0.0}
    assert few.jobs[0][0].settings == steps | {"optimiser": "sgd", "lr": 0.01}  # one width: whole models
    several = AddingFederation(4)
    heterofl(several, rounds(1, (1, 0.5), steps=9), CPU, Journal())
    assert several.jobs[0][0].settings == steps  # as [train] says


def test_wrong_wishes_are_found_before_any_work() -> None:
    federation = AddingFederation(2, "vit:8:1")
    with pytest.raises(UsageError, match="no sub-models"):
        heterofl(federation, rounds(1), CPU, Journal())
    with pytest.raises(UsageError, match="ratio 0.3"):
        fedrolex(AddingFederation(1), rounds(1, (1, 0.3)), CPU, Journal())
    with pytest.raises(UsageError, match="no width ratios"):
        fedrolex(AddingFederation(1), rounds(1, ()), CPU, Journal())
    assert federation.jobs == []


def test_with_every_ratio_one_both_methods_are_fedavg(digits: Dataset) -> None:
    """But for the mask and the statistics, which are taken once more at the end."""
    config = rounds(2, (1,), steps=5, masked=False).with_values({"run.workers": 1, "train.check_every": 5})
    sites = [Site(k, digits.subset(range(100 * k, 100 * k + 40 + 20 * k)), "cnn:2:1") for k in range(2)]
    models = []
    for method in (fedavg, heterofl, fedrolex):
        with LocalFederation(sites, config, CPU, Journal()) as federation:
            models.append(method(federation, config, CPU, Journal()).model.state)
    for name, tensor in models[0].items():
        if "running" in name:
            continue
        assert torch.allclose(models[1][name], tensor, atol=1e-6)
        # A roll of full width changes the channels' order alone, and so the last digits of sums.
        assert torch.allclose(models[2][name], tensor, atol=1e-3)


def test_static_batch_norm_by_hand(digits: Dataset) -> None:
    """Statistics of the first layer are those of the pooled pixels; a model without batch norm asks nobody."""

    class Two(AddingFederation):
        def statistics(self, architecture: str, state: State) -> list[Fitted]:
            answers = [(10, 0.0, 1.0), (30, 4.0, 2.0)]
            return [
                Fitted(k, {"bn.running_mean": torch.tensor([mean]), "bn.running_var": torch.tensor([var])}, n, {})
                for k, (n, mean, var) in enumerate(answers)
            ]

    state = {"bn.running_mean": torch.tensor([9.0]), "bn.running_var": torch.tensor([9.0]), "w": torch.tensor([5.0])}
    found = static_batch_norm(Two(2), "any", state, "statistics", Journal())
    # μ = (10·0 + 30·4)/40 = 3; σ² = (10·(1 + 9) + 30·(2 + 1))/40 = 4.75
    assert {name: float(tensor) for name, tensor in found.items()} == {
        "bn.running_mean": 3.0,
        "bn.running_var": 4.75,
        "w": 5.0,
    }
    plain = {"w": torch.tensor([5.0])}
    assert static_batch_norm(AddingFederation(2), "any", plain, "statistics", Journal()) == plain


def test_statistics_of_a_client_are_those_of_its_data(digits: Dataset) -> None:
    net, data = build("cnn:2:1", digits.schema), digits.subset(range(50))
    seen: list[Tensor] = []
    layer = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    found = batch_statistics(net, data, CPU)
    hook.remove()
    name = next(name for name in found if name.endswith("running_mean"))
    assert torch.allclose(found[name], torch.cat(seen).mean((0, 2, 3)), atol=1e-5)
    variance = torch.cat(seen).var((0, 2, 3))
    assert torch.allclose(found[name.replace("mean", "var")], variance, rtol=1e-3, atol=1e-6)
    assert not net.training
    assert batch_statistics(build("vit:8:1", digits.schema), data, CPU) == {}


def test_the_last_layer_s_rows_are_merged_over_who_holds_their_class() -> None:
    """Client 0 holds class 0 alone and moved its row by 1; client 1 lacks it, and its row stayed at 0."""
    windows = {"head.weight": (torch.arange(2), torch.arange(1)), "body": (torch.arange(1),)}
    full = {"head.weight": torch.zeros(2, 1), "body": torch.zeros(1)}
    moved = {0: [[1.0], [0.0]], 1: [[0.0], [4.0]]}
    states = {k: {"head.weight": torch.tensor(rows), "body": torch.tensor([1.0 - k])} for k, rows in moved.items()}
    first, second = (Fitted(k, states[k], 10, {}, torch.tensor(held)) for k, held in enumerate(([9, 0], [0, 9])))
    for masked, rows in ((True, [1.0, 4.0]), (False, [0.5, 2.0])):
        merged = merge(full, [(*class_rows(f, windows, masked=masked), f.samples) for f in (first, second)])
        assert merged["head.weight"].flatten().tolist() == rows
        assert merged["body"].tolist() == [0.5]


def test_statistics_weigh_all_samples_alike(digits: Dataset) -> None:
    """1,002 samples are two batches of 501, and a single sample measures nothing."""
    many = digits.subset((list(range(len(digits))) * 3)[:1002])
    sizes: list[int] = []
    net = build("cnn:2:1", digits.schema)
    layer = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    layer.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    batch_statistics(net, many, CPU)
    assert sizes == [501, 501]
    assert batch_statistics(net, digits.subset([0]), CPU) == {}


@pytest.mark.parametrize("settings", [{"experts.kind": "class_average"}, {"meta.source": "prototypes"}])
def test_the_papers_teacher_of_several_widths_is_refused_before_any_client_trains(settings: dict[str, str]) -> None:
    config = rounds(1, (1, 0.5), kind="fedrolex").with_values({"partition.clients": 2, **settings})
    with pytest.raises(UsageError, match="not mlp:2:1, mlp:4:1"):
        check_mosaic(config, AddingFederation.schema, ["mlp:4:1"], "mlp:4:1")
    check_mosaic(config.with_values({"rounds.warm_up": 0}), AddingFederation.schema, ["mlp:4:1"], "mlp:4:1")


def test_mosaic_in_rounds_of_several_widths_is_not_told_to_use_mosaic() -> None:
    config = rounds(1, (1, 0.5), kind="heterofl").with_values({"partition.clients": 2})
    with pytest.raises(UsageError, match="say --models mlp:4, or say rounds.kind = fedavg"):
        check_mosaic(config, AddingFederation.schema, ["mlp:4", "mlp:8"], "mlp:4")
