"""A frozen network: its batch norms by hand, its gradients, and a network that is afterwards as it was."""

import pytest
import torch
from torch import nn

from mosaic_fl.generators.frozen import affine, frozen
from mosaic_fl.numerics.states import copy_state

CPU = torch.device("cpu")


def norm(**settings: bool) -> nn.BatchNorm2d:
    """A batch norm of two channels, with means 1 and −1, variances 4 and 0.25, weights 3 and 5, biases 10 and 20."""
    layer = nn.BatchNorm2d(2, eps=1e-9, **settings)
    if layer.running_mean is not None:
        layer.running_mean.copy_(torch.tensor([1.0, -1.0]))
        layer.running_var.copy_(torch.tensor([4.0, 0.25]))
    if layer.affine:
        layer.weight.data = torch.tensor([3.0, 5.0])
        layer.bias.data = torch.tensor([10.0, 20.0])
    return layer.eval()


def test_fixed_statistics_by_hand() -> None:
    # (5 − 1) / 2 · 3 + 10 and (0 + 1) / 0.5 · 5 + 20; without weights (5 − 1) / 2 and (0 + 1) / 0.5.
    maps = torch.tensor([5.0, 0.0]).view(1, 2, 1, 1)
    assert affine(norm())(maps).flatten().tolist() == pytest.approx([16.0, 30.0])
    assert affine(norm(affine=False))(maps).flatten().tolist() == pytest.approx([2.0, 2.0])


def test_without_statistics_a_batch_norm_stays_what_it_is() -> None:
    maps = torch.randn(4, 2, 3, 3)
    layer = norm(track_running_stats=False)
    assert torch.equal(affine(layer)(maps), layer(maps))


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_those_of_eval_mode(memory: torch.memory_format) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), norm()).eval()
        images = torch.randn(8, 1, 9, 9).to(memory_format=memory).requires_grad_()
    network[1].running_mean.copy_(torch.tensor([0.5, 0.0, -1.0, 2.0]))
    outputs = network(images)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), images)
    with frozen(network, CPU):
        again = network(images)
        torch.testing.assert_close(again, outputs)
        torch.testing.assert_close(torch.autograd.grad(again.square().sum(), images)[0], gradient)
        assert again.grad_fn is not None
    assert torch.equal(network(images), outputs)


def fail_while_frozen(network: nn.Module) -> None:
    """An error in the block, in which the network does not learn."""
    with frozen(network, CPU):
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
        raise ZeroDivisionError


def test_a_network_is_as_it_was_afterwards_and_after_an_error_too() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Linear(1, 1)).train()
    network[2].weight.requires_grad_(False)
    before = copy_state(network)
    with pytest.raises(ZeroDivisionError):
        fail_while_frozen(network)
    assert network.training
    assert [p.requires_grad for p in network.parameters()] == [True, True, True, True, False, True]
    assert "forward" not in vars(network[1])
    assert all(torch.equal(a, b) for a, b in zip(before.values(), copy_state(network).values(), strict=True))
