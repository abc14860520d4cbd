"""Sub-models by width: the laws of cutting and merging."""

from fractions import Fraction
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.submodel import Window, extract, indices, merge
from mosaic_fl.models.width import CUTTABLE, RATIOS, narrow
from mosaic_fl.numerics.states import State

CPU = torch.device("cpu")
# 10×7 colour images: the cnn's head sees several pixels a channel, and its pooling windows do not divide them.
SCHEMA = image_schema((3, 10, 7), ("a", "b", "c"))
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
    window = indices("cnn:4:2", 0.5, image_schema((1, 8, 8), ("a", "b", "c")), roll=3)
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
