"""The moving average of weights, against its recurrence written out in float64."""

from __future__ import annotations

import torch

from noiseprompt.core.averages import Average
from noiseprompt.shapes.training import average_of


def test_the_average_follows_its_recurrence() -> None:
    net = torch.nn.BatchNorm1d(2)  # weights, running figures, and a whole number
    average = Average(net.state_dict(), 0.5)
    expected = net.weight.detach().double().clone()
    for step in range(8):
        with torch.no_grad():
            net.weight.add_(torch.tensor([1.0, -2.0]) * step)
            net.num_batches_tracked.add_(1)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net.weight.detach().double()
    torch.testing.assert_close(average.values["weight"].double(), expected, rtol=1e-6, atol=1e-6)
    assert average.values["num_batches_tracked"] == 8 and not average.values["weight"].requires_grad
    average.apply()
    assert torch.equal(net.weight, average.values["weight"]) and net.weight.requires_grad


def test_no_decay_is_the_last_value() -> None:
    x = torch.tensor([1.0])
    average = Average({"x": x}, 0.0)
    x += 0.1
    average.update(1000)
    assert torch.equal(average.values["x"], x) and average.values["x"] is not x


def test_a_checkpoint_of_the_world_is_a_module_s_with_a_list_of_parameters() -> None:
    """The names in checkpoints that are on disk."""
    net = torch.nn.Linear(2, 1)
    module = torch.nn.Module()
    module.average = torch.nn.ParameterList([torch.nn.Parameter(p.detach() + 1) for p in net.parameters()])
    average = average_of(net, 0.9)
    assert list(average.state_dict()) == list(module.state_dict())
    average.load_state_dict(module.state_dict())
    average.apply()
    assert all(torch.equal(p, old) for p, old in zip(net.parameters(), module.average, strict=True))
