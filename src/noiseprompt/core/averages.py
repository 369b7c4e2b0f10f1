"""Averaged weights: what a training saves instead of its last step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Average:
    """Exponential moving average of named tensors, with a warm start: step s keeps at most (1 + s) / (10 + s) of it.

    Args:
        sources: what is followed; changed in place, as optimizers do. Whole numbers are copied.
        decay: of the average, in [0, 1); 0 is the last value.
    """

    def __init__(self, sources: Mapping[str, torch.Tensor], decay: float) -> None:
        self.sources, self.decay = dict(sources), decay
        self.values = {name: value.detach().clone() for name, value in sources.items()}

    def update(self, step: int) -> None:
        """Follow the sources after step `step`, from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, source in self.sources.items():
            if source.is_floating_point():
                self.values[name].lerp_(source.detach(), 1 - decay)
            else:
                self.values[name].copy_(source)

    def apply(self) -> None:
        """Write the averages into the sources."""
        for name, source in self.sources.items():
            source.detach().copy_(self.values[name])

    def finite(self) -> bool:
        """Whether no average is NaN or infinite, as too wide a step leaves it whose own loss was finite."""
        return all(bool(value.isfinite().all()) for value in self.values.values())

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averages, not copied."""
        return self.values

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from averages of the same names and shapes, of any device."""
        for name, value in self.values.items():
            value.copy_(state[name])
