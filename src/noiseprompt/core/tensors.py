"""Named tensors of a network, whatever file they come from: whether names, shapes, kinds and values can be its."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.model_files import AGAIN
from noiseprompt.core.texts import some

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, Sequence[int]]


def check_finite(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights with NaN or infinity; a mask, which some checkpoints hold, may be infinite.

    Raises:
        ModelLoadError: with the tensors' names.
    """
    bad = [name for name, value in state.items() if not name.endswith("mask") and not _is_finite(value)]
    if bad:
        raise ModelLoadError(f"{path} holds weights that are not finite: {some('of them', bad)}", "numbers", AGAIN)


def _is_finite(value: torch.Tensor) -> bool:
    if value.is_floating_point() and value.element_size() < 2:  # torch compares no float8
        value = value.float()
    return bool(value.isfinite().all())


def shapes_of(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Name -> shape."""
    return {name: tuple(value.shape) for name, value in state.items()}


def differences(came: Shapes, expected: Shapes) -> str:
    """ "" where names and shapes agree, else which are missing, unexpected or of another shape, some of each named."""
    both = sorted(set(came) & set(expected))
    shapes = [f"{name} {came[name]} instead of {expected[name]}" for name in both if came[name] != expected[name]]
    groups = {
        "missing": sorted(set(expected) - set(came)),
        "unexpected": sorted(set(came) - set(expected)),
        "of another shape": shapes,
    }
    return "; ".join(some(label, names) for label, names in groups.items() if names)


def other_numbers(named: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Names of tensors of whole or complex numbers."""
    return [name for name, value in named if not value.is_floating_point()]


def refuse_other_numbers(what: str, names: Iterable[str]) -> None:
    """Refuse weights that are whole or complex numbers: torch and the libraries on it take them as they come.

    Args:
        what: holds them, for the message.
        names: theirs, as `other_numbers` or the header of a file tells; none pass.

    Raises:
        ModelLoadError: with the first three.
    """
    if other := sorted(names):
        came = f"{what} holds {some('weights that are whole or complex numbers', other, 3)}"
        raise ModelLoadError(came, "floating point numbers", "convert it again, or load another copy")


LARGEST_WEIGHT = 1_000_000
"""Of any; published ones stay below what float16 holds, 65,504. A flipped bit of an exponent is far beyond."""

MOST_EMPTY = 0.25
"""Share of a part's weights in matrices of one value alone, as zeros; networks begin with some, trained ones have none
or few."""


def check_values(network: torch.nn.Module, what: str) -> None:
    """Refuse the weights of a network as `check_tensors` does, a second for 5e9 of them.

    Args:
        what: it is, for the message.

    Raises:
        ModelLoadError: as `check_tensors`.
    """
    check_tensors(network.named_parameters(), what)


def check_tensors(named: Iterable[tuple[str, torch.Tensor]], what: str, most_empty: float = MOST_EMPTY) -> None:
    """Refuse weights that are not finite or absurdly large, and many matrices of one value alone, as a file gives that
    was cut and filled up; reads each once.

    Args:
        what: they are of, for the message.
        most_empty: share of the weights that may lie in such matrices.

    Raises:
        ModelLoadError: with the first weight, or how many are one value.
    """
    import torch

    values = empty = 0
    for key, value in named:
        if value.is_meta or not value.numel() or not value.is_floating_point() or value.element_size() < 2:
            continue
        least, most = torch.aminmax(value.detach())
        if not (least.isfinite() and most.isfinite()):
            came = f"{what} has weights that are not finite (in {key})"
            raise ModelLoadError(came, "finite numbers", "load another copy, or convert it again in float32")
        if (largest := max(-float(least), float(most))) > LARGEST_WEIGHT:
            came = f"{what} has a weight of the size {largest:g} in {key}"
            raise ModelLoadError(came, f"{LARGEST_WEIGHT:,} at most", f"a bit of it may be flipped: {AGAIN}")
        if value.ndim > 1 and value.numel() > 1:
            values, empty = values + value.numel(), empty + value.numel() * bool(least == most)
    if empty > most_empty * values:
        came = f"{empty:,} of {values:,} weights of {what} lie in matrices of one value alone, such as zeros"
        raise ModelLoadError(came, f"{100 * most_empty:g}% at most", AGAIN)
