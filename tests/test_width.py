"""Sub-models by width: the laws of cutting and merging, and the two methods' loops."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mosaic_fl import container
from mosaic_fl.client.contribute import Site
from mosaic_fl.client.statistics import batch_statistics
from mosaic_fl.config import Config
from mosaic_fl.contribution import Contribution
from mosaic_fl.data.dataset import ImageData
from mosaic_fl.data.schema import Schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.federation import FitJob, Fitted
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.width import fedrolex, held_rows, heterofl, static_batch_norm
from mosaic_fl.models import build
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.submodel import Window, extract, indices, merge
from mosaic_fl.models.width import CUTTABLE, RATIOS, narrow
from mosaic_fl.states import State

CPU = torch.device("cpu")
NOBODY = torch.zeros(2, dtype=torch.int64)  # class counts that no one asks for
# 10×7 colour images: the cnn's head sees several pixels a channel, and its pooling windows do not divide them.
SCHEMA = Schema((3, 10, 7), ("a", "b", "c"))
SPECS = ("cnn:8:3", "mlp:16:3", "resnet8:8", "resnet20:4", "resnet18:4", "resnet34:2", "resnet50:2")
# Every ratio of every family, but one of those that give the same small sub-model.
CUTS = [(spec, ratio) for spec in SPECS for ratio in {narrow(spec, r): r for r in reversed(RATIOS)}.values()]
ROLLS = (0, 29)  # 29 is 1, 1, 5 and 13 around the widths 2, 4, 8 and 16


@cache  # building the deep ones takes most of these tests' time
def model(spec: str) -> Classifier:
    """A network to load weights into, in eval mode; float64, so that the order of sums does not show."""
    return build(spec, SCHEMA).double().eval()


def random_state(spec: str) -> State:
    """Weights and statistics float32 that are all different; variances positive, counters whole."""
    rng, state = torch.Generator().manual_seed(0), dict[str, Tensor]()
    for name, tensor in model(spec).state_dict().items():
        values = torch.randn(tensor.shape, generator=rng)
        state[name] = values if tensor.is_floating_point() else torch.tensor(7)
        if name.endswith("running_var"):
            state[name] = values.abs() + 0.5
    return state


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_names_of_sub_models() -> None:
    assert narrow("cnn:16:3", Fraction(1, 4)) == "cnn:4:3"
    assert narrow("cnn", 0.5) == "cnn:8"
    assert narrow("resnet18", 1 / 16) == "resnet18:4"
    assert narrow("mlp:100", 0.125) == "mlp:13"  # ⌈12.5⌉
    assert narrow("mlp:3:2", 1 / 16) == "mlp:1:2"
    assert narrow("mlp:3:2", 1) == "mlp:3:2"
    assert {spec.split(":")[0] for spec in SPECS} == set(CUTTABLE)


@pytest.mark.parametrize("spec", ["vit:64:4", "timm:resnet18", "my.module:factory", "own:Net", "cnm:16"])
def test_a_family_without_widths_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=f"'{spec}' has no sub-models of smaller width: these have: cnn, mlp"):
        narrow(spec, 0.5)


@pytest.mark.parametrize("ratio", [0, -1, 2, 0.3, float("nan"), Fraction(1, 32)])
def test_a_wrong_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(UsageError, match="width ratio .* is not one of 1, 1/2, 1/4, 1/8, 1/16"):
        narrow("cnn:16", ratio)


@pytest.mark.parametrize("spec", ["cnn:0", "cnn:x", "cnn:", "cnn:4096", "mlp:²"])
def test_a_wrong_width_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="width .* is not a number in 1.."):
        narrow(spec, 1)


def test_windows_by_hand() -> None:
    """cnn:4:2 at 1/2 on 8×8 grey images: 4 and 8 channels, of which a roll of 3 holds {3, 0} and {3, 4, 5, 6}."""
    window = indices("cnn:4:2", 0.5, Schema((1, 8, 8), ("a", "b", "c")), roll=3)
    assert [i.tolist() for i in window["body.0.weight"]] == [[3, 0], [0], [0, 1, 2], [0, 1, 2]]
    assert [i.tolist() for i in window["body.1.running_var"]] == [[3, 0]]
    assert window["body.1.num_batches_tracked"] == ()
    assert [i.tolist() for i in window["body.4.weight"][:2]] == [[3, 4, 5, 6], [3, 0]]
    classes, features = window["head.weight"]
    assert classes.tolist() == [0, 1, 2]
    assert features.tolist() == list(range(3 * 16, 7 * 16))  # 4×4 pixels a channel, one channel after the other


def test_a_padded_stream_keeps_the_channels_of_the_narrow_one_by_hand() -> None:
    """resnet8:4 at 1/2: streams of 4, 8 and 16 channels; a roll of 3 holds {3, 0} of 4, of 4 new, {3..6} of 8 new."""
    window = indices("resnet8:4", 0.5, SCHEMA, roll=3)
    first, second, third = [3, 0], [3, 0, 4 + 3, 4 + 0], [3, 0, 7, 4, 8 + 3, 8 + 4, 8 + 5, 8 + 6]
    assert window["body.0.weight"][0].tolist() == first
    assert window["body.4.branch.0.weight"][0].tolist() == [3, 4, 5, 6]  # inside the block: one window
    assert window["body.4.branch.3.weight"][0].tolist() == second
    assert window["body.5.branch.4.weight"][0].tolist() == third
    assert window["head.weight"][1].tolist() == third


def test_without_a_roll_a_sub_model_has_the_first_channels() -> None:
    for spec in SPECS:
        if spec.startswith(("resnet8:", "resnet20:")):
            continue  # the first of each part of a padded stream: see `submodel`
        for ratio in RATIOS:
            windows = indices(spec, ratio, SCHEMA).values()
            assert all(index.tolist() == list(range(len(index))) for window in windows for index in window)


@pytest.mark.parametrize(("spec", "ratio"), CUTS)
def test_extract_then_merge_of_equal_models_changes_nothing(spec: str, ratio: Fraction) -> None:
    full, smaller = random_state(spec), model(narrow(spec, ratio))
    for roll in ROLLS:
        windows = indices(spec, ratio, SCHEMA, roll)
        part = extract(full, windows)
        smaller.load_state_dict(part, strict=True)
        assert same(merge(full, [(part, windows, 0.3)]), full)
        whole = indices(spec, 1, SCHEMA, roll)
        assert same(merge(full, [(part, windows, 3), (extract(full, whole), whole, 0.7), (part, windows, 1e-3)]), full)
        for tensor in part.values():
            tensor.zero_()  # a copy
        assert same(full, random_state(spec))


@pytest.mark.parametrize(("spec", "ratio"), CUTS)
def test_a_full_roll_holds_every_channel_equally_often(spec: str, ratio: Fraction) -> None:
    """Widths are powers of two, so that the widest layer's full roll is a whole number of rolls of every other."""
    full = random_state(spec)
    widest = max(tensor.shape[0] for tensor in full.values() if tensor.ndim)
    rolls = [indices(spec, ratio, SCHEMA, roll) for roll in range(widest)]
    for name in full:
        for dim, size in enumerate(full[name].shape):
            held = torch.bincount(torch.cat([windows[name][dim] for windows in rolls]), minlength=size)
            assert held.tolist() == [len(rolls[0][name][dim]) * widest // size] * size, (name, dim)


@pytest.mark.parametrize("spec", SPECS)
def test_sub_models_without_a_roll_are_nested(spec: str) -> None:
    windows = [indices(spec, ratio, SCHEMA) for ratio in RATIOS]
    for wide, slim in pairwise(windows):
        for name in wide:
            for more, less in zip(wide[name], slim[name], strict=True):
                assert set(less.tolist()) <= set(more.tolist()), name


@pytest.mark.parametrize(("spec", "ratio"), CUTS)
def test_a_sub_model_is_the_full_model_without_its_other_channels(spec: str, ratio: Fraction) -> None:
    """All that would write to a channel which is not held is zero in the full model; what reads it is not."""
    images = torch.randn(4, *SCHEMA.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state = random_state(spec)
    full, part = model(spec), model(narrow(spec, ratio))
    for roll in ROLLS:
        windows = indices(spec, ratio, SCHEMA, roll)
        full.load_state_dict({name: only_rows(tensor, windows[name]) for name, tensor in state.items()})
        part.load_state_dict(extract(state, windows))
        with torch.no_grad():
            expected, given = full(images), part(images)
        assert torch.allclose(given, expected, rtol=1e-9, atol=0), (roll, given, expected)


def only_rows(tensor: Tensor, window: Window) -> Tensor:
    """The tensor with zeros where its first dimension is not held."""
    if not window:
        return tensor
    kept = torch.zeros_like(tensor)
    kept[window[0]] = tensor[window[0]]
    return kept


def test_a_merge_of_two_clients_by_hand() -> None:
    full = {"w": torch.full((3, 2), 9.0), "b": torch.tensor([9.0, 9.0, 9.0]), "n": torch.tensor(4)}
    both, row = torch.arange(2), torch.tensor([2, 0])
    one = {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([1.0, 2.0]), "n": torch.tensor(6)}
    one_windows = {"w": (row, both), "b": (row,), "n": ()}  # rows 2 and 0, in that order
    two = {"w": torch.tensor([[7.0]]), "b": torch.tensor([5.0]), "n": torch.tensor(5)}
    two_windows = {"w": (torch.tensor([0]), torch.tensor([1])), "b": (torch.tensor([0]),), "n": ()}
    merged = merge(full, [(one, one_windows, 1), (two, two_windows, 3)])
    # Row 0: 3 at client one alone, (1·4 + 3·7)/4 = 6.25 at both; row 1 at neither; row 2 at client one alone.
    assert torch.equal(merged["w"], torch.tensor([[3.0, 6.25], [9.0, 9.0], [1.0, 2.0]]))
    assert torch.equal(merged["b"], torch.tensor([4.25, 9.0, 1.0]))  # (1·2 + 3·5)/4
    assert int(merged["n"]) == 6
    assert merged["w"].dtype == torch.float32


def test_a_merge_of_nobody_is_what_was() -> None:
    full = random_state("resnet8:4")
    assert same(merge(full, []), full)


def test_a_part_of_another_shape_is_refused() -> None:
    full = random_state("mlp:4")
    windows = indices("mlp:4", 0.5, SCHEMA)
    part = extract(full, windows) | {"body.2.bias": torch.zeros(1)}  # would broadcast
    with pytest.raises(UsageError, match=r"'body.2.bias' is \(1,\), its window is \(2,\)"):
        merge(full, [(part, windows, 1)])


@dataclass
class AddingFederation:
    """Clients whose training adds their number plus one to every weight; remembers its jobs."""

    clients: int
    architecture: str = "mlp:4:1"
    jobs: list[list[FitJob]] = field(default_factory=list)

    schema = Schema((1, 1, 2), ("a", "b"))

    @property
    def architectures(self) -> list[str]:
        return [self.architecture] * self.clients

    def contribute(self, start: object = None) -> list[Contribution]:
        raise NotImplementedError

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        self.jobs.append(list(jobs))
        return [
            Fitted(j.client, {k: v + j.client + 1 for k, v in j.state.items()}, 10 * (j.client + 1), {}, NOBODY)
            for j in jobs
        ]

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        statistics = {name: tensor for name, tensor in state.items() if "running" in name}
        return [Fitted(k, statistics, 10, {}, NOBODY) for k in range(self.clients)]

    def evaluate(self, architecture: str, state: State) -> list[Tensor]:
        assert architecture == self.architecture
        build(architecture, self.schema).load_state_dict(state)
        return [torch.tensor([[3, 0], [1, 0]])] * self.clients


def rounds(count: int, ratios: Sequence[float] = RATIOS, **more: float) -> Config:
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
        # And once static batch norm: the full model down, its statistics up.
        assert outcome.bytes_down[client] == 3 * size + len(outcome.model.to_bytes())
        statistics = {name: t for name, t in outcome.model.state.items() if "running_" in name}
        assert outcome.bytes_up[client] == 3 * size + len(container.pack("statistics", {}, statistics))
    few = AddingFederation(4)
    outcome = heterofl(few, rounds(1, (1,), participation=0.5, steps=9), CPU, Journal())
    assert len(few.jobs[0]) == 2
    most = max(outcome.bytes_up)
    assert [sent > most / 2 for sent in outcome.bytes_up] == [k in {j.client for j in few.jobs[0]} for k in range(4)]
    assert few.jobs[0][0].settings == {"min_steps": 9, "max_steps": 9, "absent": 0.0}


def test_wrong_wishes_are_found_before_any_work() -> None:
    federation = AddingFederation(2, "vit:8:1")
    with pytest.raises(UsageError, match="no sub-models"):
        heterofl(federation, rounds(1), CPU, Journal())
    with pytest.raises(UsageError, match="ratio 0.3"):
        fedrolex(AddingFederation(1), rounds(1, (1, 0.3)), CPU, Journal())
    with pytest.raises(UsageError, match="no width ratios"):
        fedrolex(AddingFederation(1), rounds(1, ()), CPU, Journal())
    assert federation.jobs == []


def test_with_every_ratio_one_both_methods_are_fedavg(digits: ImageData) -> None:
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


def test_static_batch_norm_by_hand(digits: ImageData) -> None:
    """Statistics of the first layer are those of the pooled pixels; a model without batch norm asks nobody."""

    class Two(AddingFederation):
        def statistics(self, architecture: str, state: State) -> list[Fitted]:
            answers = [(10, 0.0, 1.0), (30, 4.0, 2.0)]
            return [
                Fitted(
                    k, {"bn.running_mean": torch.tensor([mean]), "bn.running_var": torch.tensor([var])}, n, {}, NOBODY
                )
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


def test_statistics_of_a_client_are_those_of_its_data(digits: ImageData) -> None:
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
        merged = merge(full, [(*held_rows(f, windows, masked=masked), f.samples) for f in (first, second)])
        assert merged["head.weight"].flatten().tolist() == rows
        assert merged["body"].tolist() == [0.5]


def test_statistics_weigh_all_samples_alike(digits: ImageData) -> None:
    """1,002 samples are two batches of 501, and a single sample measures nothing."""
    many = digits.subset((list(range(len(digits))) * 3)[:1002])
    sizes: list[int] = []
    net = build("cnn:2:1", digits.schema)
    layer = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    layer.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    batch_statistics(net, many, CPU)
    assert sizes == [501, 501]
    assert batch_statistics(net, digits.subset([0]), CPU) == {}
