"""Built-in classifiers: what they give, how large they are, and what their names may be."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build, check, default_models, default_student, families
from mosaic_fl.models.convolutional import CNN
from mosaic_fl.models.residual import BasicBlock, ResidualBlock, ResNet, StridedPointwise, ZeroPadShortcut
from mosaic_fl.models.transformer import MAX_TOKENS, VisionTransformer, patch_grid
from mosaic_fl.numerics.randomness import Stream

DIGITS, MNIST, CIFAR = (1, 8, 8), (1, 28, 28), (3, 32, 32)
SPECS = ["cnn", "cnn:8:3", "mlp", "mlp:16:1", "vit:16:2", "resnet8", "resnet20:4", "resnet18:8", "resnet34:4"]
SPECS += ["resnet50:4", "lenet", "linear", "gaussian", "subclasses:3"]


def schema(shape: tuple[int, int, int], classes: int = 10) -> Schema:
    return image_schema(shape, tuple(str(c) for c in range(classes)))


def images(shape: tuple[int, int, int], n: int = 3) -> Tensor:
    return torch.rand(n, *shape, generator=Stream(0, "test").torch()) * 2 - 1


def count(spec: str, shape: tuple[int, int, int] = DIGITS) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(spec, schema(shape)).parameters())


@pytest.mark.parametrize("shape", [DIGITS, MNIST, CIFAR])
@pytest.mark.parametrize("spec", SPECS)
@torch.no_grad()
def test_logits_are_the_head_of_the_features(spec: str, shape: tuple[int, int, int]) -> None:
    model = build(spec, schema(shape, classes=7)).eval()
    batch = images(shape)
    features, logits = model.features(batch), model(batch)
    assert logits.shape == (3, 7)
    assert features.ndim == 2
    assert len(features) == 3
    torch.testing.assert_close(logits, model.head(features), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 9, 13), (16, 3, 40), (3, 96, 96)])
@pytest.mark.parametrize("spec", ["cnn:4:4", "mlp:8:1", "vit:8:1", "resnet8:4", "resnet18:4", "resnet50:1", "lenet"])
def test_every_family_takes_every_image_size(spec: str, shape: tuple[int, int, int]) -> None:
    assert build(spec, schema(shape))(images(shape)).shape == (3, 10)


def test_every_family_is_tested() -> None:
    """`fusion`, which joins fields, and `tokens`, which takes tables, have tests of their own."""
    assert {spec.split(":")[0] for spec in SPECS} == set(families()) - {"fusion", "tokens"}


@pytest.mark.parametrize("spec", SPECS)
def test_every_weight_learns(spec: str) -> None:
    model = build(spec, schema(DIGITS))
    nn.functional.cross_entropy(model(images(DIGITS, 8)), torch.arange(8)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("spec", "shape", "parameters"),
    [
        # 3×3 kernels, batch norm's two numbers a channel, and a head on 4×4 maps of 32 channels.
        ("cnn", DIGITS, (9 * 16 + 2 * 16) + (9 * 16 * 32 + 2 * 32) + (16 * 32 * 10 + 10)),
        ("cnn:8:1", CIFAR, (9 * 3 * 8 + 2 * 8) + (16 * 8 * 10 + 10)),
        ("mlp", DIGITS, (64 * 64 + 128) + (64 * 64 + 128) + (64 * 10 + 10)),
        ("mlp:128:1", MNIST, (784 * 128 + 256) + (128 * 10 + 10)),
        # 25 weights and channels a kernel, 4×4 (5×5) last maps of 16 channels, then 120, 84 and 10 units.
        ("lenet", MNIST, 156 + 2_416 + (256 * 120 + 120) + (120 * 84 + 84) + 850),  # 44,426
        ("lenet", CIFAR, 456 + 2_416 + (400 * 120 + 120) + (120 * 84 + 84) + 850),  # 62,006
        # Width 16, 16 patches of 2×2: embedding, positions, then attention (4 w² + 4 w), MLP (8 w² + 5 w)
        # and two layer norms (4 w) a layer; a last norm and the head.
        ("vit:16:2", DIGITS, (4 * 16 + 16) + 16 * 16 + 2 * (12 * 256 + 13 * 16) + 2 * 16 + 16 * 10 + 10),
        # Per stage, its 3×3 kernels and two numbers a channel and convolution; shortcuts have none.
        ("resnet8", CIFAR, (432 + 32) + (4_608 + 64) + (4_608 + 9_216 + 128) + (18_432 + 36_864 + 256) + 650),
        ("resnet20", CIFAR, 464 + 14_016 + 51_072 + 203_520 + 650),  # 0.27 M in table 6 of the paper
        ("resnet18", CIFAR, 11_173_962),  # 11.17 M
        ("resnet34", CIFAR, 21_282_122),
        ("resnet50", CIFAR, 23_520_842),
    ],
)
def test_parameters(spec: str, shape: tuple[int, int, int], parameters: int) -> None:
    assert count(spec, shape) == parameters


def test_resnet18_counted_by_stage() -> None:
    def stage(before: int, width: int) -> int:
        project = before * width + 2 * width if before != width else 0
        return 9 * before * width + 3 * 9 * width * width + 4 * 2 * width + project

    stages = stage(64, 64) + stage(64, 128) + stage(128, 256) + stage(256, 512)
    assert count("resnet18", CIFAR) == (27 * 64 + 128) + stages + (512 * 10 + 10)


def test_shortcut_without_parameters_keeps_every_second_pixel_and_adds_zeros() -> None:
    grid = torch.arange(9.0).view(1, 1, 3, 3)
    expected = torch.tensor([[[0.0, 2.0], [6.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert torch.equal(ZeroPadShortcut(1, 2, 2)(grid)[0], expected)


def test_a_zero_gamma_makes_every_block_its_shortcut() -> None:
    net = ResNet(schema(DIGITS), BasicBlock, (2, 2), 4).eval()
    for block in [m for m in net.modules() if isinstance(m, ResidualBlock)]:
        nn.init.zeros_(block.branch[-1].weight)
        x = torch.rand(2, block.branch[0].in_channels, 4, 4)
        assert torch.equal(block(x), block.shortcut(x).relu())


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [
        (8, 8, (2, 4, 4)),
        (28, 28, (4, 7, 7)),
        (32, 32, (4, 8, 8)),
        (33, 33, (5, 7, 7)),
        (96, 96, (12, 8, 8)),
        (1, 1, (2, 1, 1)),
        (1, 1024, (16, 1, 64)),
        (1024, 1024, (128, 8, 8)),
    ],
)
def test_a_transformer_sees_at_most_64_patches(height: int, width: int, grid: tuple[int, int, int]) -> None:
    patch, rows, columns = patch_grid(height, width)
    assert (patch, rows, columns) == grid
    assert rows * columns <= MAX_TOKENS
    assert patch * (rows - 1) < height <= patch * rows


def test_transformer_heads_divide_its_width_and_its_layers_start_apart() -> None:
    for width, heads in [(64, 8), (20, 4), (6, 2), (7, 1)]:
        model = build(f"vit:{width}:2", schema(DIGITS))
        assert isinstance(model, VisionTransformer)
        first, second = list(model.body)[:2]
        assert isinstance(first, nn.TransformerEncoderLayer)
        assert isinstance(second, nn.TransformerEncoderLayer)
        assert first.self_attn.num_heads == heads
        assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_a_lenet_has_no_batch_norm_and_pads_what_is_too_small() -> None:
    model = build("lenet", schema(DIGITS)).eval()
    assert not [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    sixteen = build("lenet", schema((1, 16, 16))).eval()
    sixteen.load_state_dict(model.state_dict())
    small = images(DIGITS)
    torch.testing.assert_close(model(small), sixteen(nn.functional.pad(small, (0, 8, 0, 8))))


def test_a_cnn_pools_before_its_relu_with_the_values_of_the_usual_order() -> None:
    # max(0, max of four) is the max of four max(0, ·), and where that is 0 no gradient passes either way.
    model = build("cnn:2:1", schema((1, 8, 8)))
    shown = images((1, 8, 8), 4)
    assert isinstance(model, CNN)
    body = model.body
    convolution, batch_norm, pool, relu = body
    outputs, gradients = [], []
    for layers in (body, nn.Sequential(convolution, batch_norm, relu, pool)):
        outputs.append(layers(shown))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), list(body.parameters())))
    assert torch.equal(*outputs)
    assert all(map(torch.equal, *gradients))


def test_a_strided_shortcut_is_the_convolution_of_every_second_pixel() -> None:
    shortcut = StridedPointwise(4, 8, 2)
    maps = torch.randn(2, 4, 5, 8, generator=Stream(0, "test").torch())
    expected = nn.functional.conv2d(maps, shortcut.weight, stride=2)
    assert expected.shape == (2, 8, 3, 4)
    torch.testing.assert_close(shortcut(maps), expected)


def test_training_a_narrow_residual_network_leaves_the_heap_whole() -> None:
    # Each step wrote past a gradient of 4 channels; within 30 steps the process had ended.
    program = """
import torch
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.models import build
for _ in range(30):
    model = build("resnet34:4", image_schema((1, 8, 8), tuple("abcdefghij")))
    torch.nn.functional.cross_entropy(model(torch.rand(8, 1, 8, 8)), torch.arange(8)).backward()
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, capture_output=True).returncode == 0


def test_a_cnn_averages_its_last_maps_to_at_most_four_by_four() -> None:
    model = build("cnn:2:1", schema((1, 9, 18)))  # pooled to 4×9, then 9 columns to 3 means of 3
    assert isinstance(model, CNN)
    assert model.features(images((1, 9, 18))).shape == (3, 2 * 4 * 3)


def test_the_same_stream_makes_the_same_weights_whatever_was_checked_before() -> None:
    with Stream(0, "a").ambient():
        one = build("resnet8:4", schema(DIGITS)).state_dict()
    with Stream(0, "a").ambient():
        check("vit", schema(DIGITS))
        same = build("resnet8:4", schema(DIGITS)).state_dict()
    with Stream(1, "a").ambient():
        other = build("resnet8:4", schema(DIGITS)).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_a_model_is_built_on_the_default_device() -> None:
    with torch.device("meta"):
        model = build("cnn", schema(DIGITS))
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.parametrize(("spec", "near"), [("resnet19", "resnet18"), ("cmn:16", "cnn"), ("tinm:x1", "timm")])
def test_an_unknown_name_is_answered_with_the_nearest(spec: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        check(spec, schema(DIGITS))


@pytest.mark.parametrize("spec", ["", ":", "cnn:", "cnn:0", "cnn:1025", "cnn:-1", "cnn:16:7", "cnn:x", "cnn:1.5"])
def test_numbers_have_bounds(spec: str) -> None:
    with pytest.raises(UsageError):
        check(spec, schema(DIGITS))


def test_too_many_numbers_are_answered_with_the_form() -> None:
    with pytest.raises(UsageError, match="cnn:WIDTH:DEPTH:GROUPS"):
        check("cnn:1:2:3:4", schema(DIGITS))


@pytest.mark.parametrize(
    ("spec", "shape"), [("cnn:1024:6", DIGITS), ("mlp:8192:8", (16, 1024, 1024)), ("mlp:8192", (3, 512, 512))]
)
def test_a_huge_network_is_refused_before_it_takes_memory(spec: str, shape: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="at most 500,000,000"):
        build(spec, schema(shape))


@pytest.mark.parametrize("spec", ["os.path:join", "antigravity:geohash", "mosaic_fl.errors:unknown", "x" * 201])
def test_a_received_name_imports_nothing(spec: str) -> None:
    check("mlp", schema(DIGITS))  # torch itself imports at its first use
    before = set(sys.modules)
    for use in (build, check):
        with pytest.raises(UsageError):
            use(spec, schema(DIGITS))
    assert set(sys.modules) == before


@pytest.mark.parametrize("shape", [DIGITS, (3, 16, 16), MNIST, CIFAR, (3, 96, 96)])
def test_defaults_are_five_different_architectures_of_two_kinds(shape: tuple[int, int, int]) -> None:
    specs = default_models(schema(shape))
    assert len(set(specs)) == 5
    assert {spec.split(":")[0] for spec in specs} == {"cnn", "mlp"}
    for spec in (*specs, default_student(schema(shape))):
        check(spec, schema(shape))
        assert count(spec, shape) < 2_000_000
