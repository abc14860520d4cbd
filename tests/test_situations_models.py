"""Modules of one's own, as people have them: each situation, and what is right or said."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import mosaic_fl
from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.training import train_classifier
from mosaic_fl.models import build, check, families, own, trust
from mosaic_fl.models.endings import find_ending, most_probable
from mosaic_fl.models.trainable import check_training
from mosaic_fl.notes import Note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder

SCHEMA = image_schema((1, 8, 8), ("a", "b", "c"))


@pytest.fixture(autouse=True)
def _nothing_trusted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_own", {})
    monkeypatch.setattr(own, "_packages", set())


def net(*last: nn.Module, outputs: int = 3) -> nn.Sequential:
    """A perceptron with batch norm, and `last` after its logits."""
    layers = nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs)
    return nn.Sequential(*layers, *last)


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


class Around(nn.Module):
    """`net`, and a function of its logits and the mode."""

    def __init__(self, change: Callable[[Tensor, bool], object]) -> None:
        super().__init__()
        self.net, self.change = net(), change

    def forward(self, images: Tensor) -> object:
        return self.change(self.net(images), self.training)


def around(change: Callable[[Tensor, bool], object]) -> Callable[[], nn.Module]:
    return lambda: Around(change)


class FixedBatch(nn.Module):
    """Takes two images, and no other number."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(images.reshape(2, 64))


class Half(nn.Module):
    """Works in half precision inside, and gives float16."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 3).half()

    def forward(self, images: Tensor) -> Tensor:
        return self.last(images.flatten(1).half())


def share_head() -> nn.Module:
    """Gives the shares of the classes whatever the image: a head of zeros with a bias of probabilities."""
    module = net()
    nn.init.zeros_(module[-1].weight)  # type: ignore[arg-type]
    module[-1].bias.data = torch.tensor([0.5, 0.3, 0.2])
    return module


def zero_head() -> nn.Module:
    module = net()
    nn.init.zeros_(module[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(module[-1].bias)  # type: ignore[arg-type]
    return module


def log_share_head() -> nn.Module:
    module = share_head()
    module[-1].bias.data.log_()  # type: ignore[index]
    return module


def ends_in_a_dead_layer() -> nn.Module:
    """Nothing of the image reaches the logits, which are zeros."""
    dead = nn.Linear(64, 8)
    nn.init.constant_(dead.bias, -100.0)
    last = nn.Linear(8, 2)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Flatten(), dead, nn.ReLU(), last)


def partly_frozen() -> nn.Module:
    module = net()
    frozen(module[1])
    return module


REFUSED = {
    "softmax": (lambda: net(nn.Softmax(1)), "ends in a softmax"),
    "softmax in use alone": (around(lambda x, training: x if training else x.softmax(1)), "ends in a softmax"),
    "softmax in training alone": (around(lambda x, training: x.softmax(1) if training else x), "ends in a softmax"),
    "shares of positive numbers": (around(lambda x, _: x.exp() / x.exp().sum(1, keepdim=True)), "ends in a softmax"),
    "softmax in 64 bits": (around(lambda x, _: x.double().softmax(1)), "ends in a softmax"),
    "softmax of constants": (lambda: nn.Sequential(zero_head(), nn.Softmax(1)), "ends in a softmax"),
    "frozen": (lambda: frozen(net()), "all its 6 parameters are frozen"),
    "no parameters": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d((1, 3)), nn.Flatten()), "has no parameters"),
    "detached": (around(lambda x, _: x.detach()), "carry no gradient"),
    "argmax": (around(lambda x, _: nn.functional.one_hot(x.argmax(1), 3).float()), "carry no gradient"),
    "tuple in training": (around(lambda x, training: (x, x) if training else x), "gives a tuple in training"),
    "dict": (around(lambda x, _: {"logits": x}), "gives a dict"),
    "complex": (around(lambda x, _: torch.complex(x, x)), "cannot be trained: "),
    "two images at a time": (FixedBatch, r"fails in use on a batch of 1 image: RuntimeError"),
    "squeezed": (around(lambda x, _: x[:, :, None].squeeze()), r"a tensor \(3,\) in use for 1 image"),
    "fails in training": (around(lambda x, training: x / 0 if training else x.no_such), "no_such"),
    "weights in 64 bits": (lambda: net().double(), "torch.float64, which is not sent"),
    "norm over one value": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 8), nn.InstanceNorm2d(3, track_running_stats=True), nn.Flatten()),
        "fails in training on a batch of 2 images: ValueError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("situation", REFUSED)
def test_what_cannot_be_meant_is_refused(situation: str) -> None:
    factory, told = REFUSED[situation]
    with pytest.raises(UsageError, match=told) as error:
        check(trust(factory), SCHEMA)
    assert "\n" not in str(error.value)


NOTED = {
    "log-softmax": (lambda: net(nn.LogSoftmax(1)), "ends in a log-softmax"),
    "sigmoid": (lambda: net(nn.Sigmoid()), r"in 0\.\.1 alone.*more than 58 %"),  # e / (e + 2) = 0.576
    "tanh": (lambda: net(nn.Tanh()), r"in -1\.\.1 alone.*more than 79 %"),  # e² / (e² + 2) = 0.787
}


@pytest.mark.parametrize("situation", NOTED)
def test_what_may_be_meant_is_told(situation: str) -> None:
    factory, told = NOTED[situation]
    with pytest.warns(Note, match=told):
        check(trust(factory), SCHEMA)


QUIET: dict[str, Callable[[], nn.Module]] = {
    "logits": net,
    "a head of zeros": zero_head,
    "a head of the classes' shares": share_head,
    "a head of the logarithms of shares": log_share_head,
    "nothing but zeros": lambda: nn.Sequential(ends_in_a_dead_layer(), nn.Linear(2, 3)),
    "softmax inside": lambda: nn.Sequential(net(nn.Softmax(1)), nn.Linear(3, 3)),
    "10 · sigmoid": around(lambda x, _: 10 * x.sigmoid()),
    "ReLU at the end": lambda: net(nn.ReLU()),
    "partly frozen": partly_frozen,
    "dropout": lambda: nn.Sequential(nn.Dropout(0.5), net(nn.Dropout(0.5))),
    "64 bits inside": around(lambda x, _: x.double()),
    "16 bits inside": Half,
    "lazy": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(affine=False), nn.Linear(8, 3)),
}


@pytest.mark.parametrize("situation", QUIET)
def test_what_is_right_is_not_spoken_of(situation: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        check(trust(QUIET[situation]), SCHEMA)


OF_OTHER_SAMPLES = {"fusion", "tokens"}  # which take no images


@pytest.mark.parametrize("family", sorted({*families()} - OF_OTHER_SAMPLES))
def test_no_built_in_network_is_taken_for_one_with_an_ending(family: str) -> None:
    schema = image_schema((3, 8, 8), ("a", "b"))  # of two classes it would be likeliest
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        check_training(family, build(family, schema), schema)


@pytest.mark.parametrize("family", sorted({*families()} - {"resnet18", "resnet34"} - OF_OTHER_SAMPLES))
def test_a_softmax_is_seen_behind_any_network(family: str) -> None:
    """Of 50 layers, too, where other weights make numbers that are too large."""
    schema = image_schema((3, 8, 8), ("a", "b", "c"))
    torch.manual_seed(0)
    model = nn.Sequential(build(family, schema), nn.Softmax(1))
    assert find_ending(model.eval(), schema) == "softmax"


def test_a_softmax_is_seen_behind_a_weight_of_one_number() -> None:
    """The first layer of a mean and a gain has one weight, whose spread is no number."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(64, 3), nn.Softmax(1))
    assert find_ending(model.eval(), image_schema((1, 8, 8), ("a", "b", "c"))) == "softmax"


@pytest.mark.parametrize("seed", range(5))
def test_two_classes_whose_logits_are_zero_are_logits(seed: int) -> None:
    torch.manual_seed(seed)
    model, schema = ends_in_a_dead_layer().eval(), image_schema((1, 8, 8), ("a", "b"))
    assert torch.equal(model(torch.rand(4, 1, 8, 8)), torch.zeros(4, 2))
    assert find_ending(model, schema) == ""


def test_the_greatest_probability_of_bounded_logits() -> None:
    assert most_probable(2, 0) == 0.5
    assert most_probable(10, 1) == pytest.approx(2.71828 / 11.71828, abs=1e-5)


def test_a_look_at_a_module_leaves_it_and_the_draws_as_they_were() -> None:
    module = net(nn.Sigmoid())
    module[2].eval()
    module[1].register_buffer("expanded", torch.zeros(1).expand(5))
    before, draws = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    with pytest.warns(Note):
        check_training("it", module, SCHEMA)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert [layer.training for layer in module] == [True, True, False, True, True, True]
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), draws)


def few(digits: Dataset) -> Dataset:
    return digits.subset(range(40))


FEW = {"train.max_steps": 6, "train.min_steps": 5, "generator.steps": 3, "generator.width": 4}


def test_only_what_learns_is_trained(digits: Dataset) -> None:
    model = build(trust(partly_frozen), image_schema(SCHEMA.shape, ("a", "b", "c")))
    data = image_dataset(few(digits).images, few(digits).labels % 3, SCHEMA)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = TrainConfig(max_steps=5, min_steps=5, optimiser="sgd", weight_decay=0.1)
    monitor = Recorder("train", 0)
    train_classifier(model, data, data, config, Stream(0, "train"), torch.device("cpu"), monitor)
    after = model.state_dict()
    assert torch.equal(before["module.1.weight"], after["module.1.weight"])
    assert not torch.equal(before["module.4.weight"], after["module.4.weight"])
    frozen(model)
    with pytest.raises(UsageError, match="all its 6 parameters are frozen"):
        train_classifier(model, data, data, config, Stream(0, "train"), torch.device("cpu"), monitor)


def test_the_door_of_the_library_refuses_and_tells(digits: Dataset) -> None:
    for last, refused in ((nn.Softmax(1), True), (nn.Sigmoid(), False)):
        model = lambda last=last: net(last, outputs=10)  # noqa: E731
        if refused:
            with pytest.raises(UsageError, match="ends in a softmax"):
                mosaic_fl.contribute(few(digits), model=model, client=0, settings=FEW)
        else:
            with pytest.warns(Note, match="as a sigmoid at its end does"):
                mosaic_fl.contribute(few(digits), model=model, client=0, settings=FEW)
