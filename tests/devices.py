"""An accelerator that is not there: real values on the CPU behind tensors that say they are on another device.

    with accelerator():
        pipe.to(DEVICE)

As on a real one, an operation on tensors of both devices raises, as do `.numpy()` without `.cpu()` and a generator of
the other device; tensors without dimensions and indices may stay on the CPU. As on MPS there is no float64, unless
asked for. "lazy" is a device type that torch knows, that nothing implements, and that autograd can work with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("lazy:0")

aten = torch.ops.aten
_SEEDS: dict[int, int] = {}  # of the generators of the device: asked -> used
_MOVES = (aten.copy_.default, aten._to_copy.default)
_INDEXES = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class Elsewhere(torch.Tensor):
    """A tensor on `DEVICE`; `values` are the real ones."""

    values: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> Elsewhere:
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset(), "dtype": values.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, values.shape, device=DEVICE, **layout)
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} outside of accelerator()")

    def tolist(self) -> Any:  # torch's own refuses subclasses
        return self.cpu().tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:  # what is loaded from a file is on the CPU
        return self.values.__reduce_ex__(protocol)


class Generator(torch.Generator):
    """A random generator of `DEVICE`, known by its seed: torch hands another object to its operations."""

    device = DEVICE  # type: ignore[assignment]

    def __init__(self) -> None:
        self.manual_seed(0)

    def manual_seed(self, seed: int) -> Generator:
        super().manual_seed(_SEEDS.setdefault(seed, 2**62 + seed))
        return self


class _Accelerator(TorchDispatchMode):
    def __init__(self, float64: bool) -> None:
        super().__init__()
        self.float64 = float64

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten._fused_sdp_choice.default:
            return 0  # the formula, made of operations that every device has
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        inside = [x for x in tensors if isinstance(x, Elsewhere)]
        if inside and func not in _MOVES:
            _check_devices(func, args, [x for x in tensors if not isinstance(x, Elsewhere)])
        asked = None if kwargs.get("device") is None else torch.device(kwargs["device"])
        target = isinstance(args[0], Elsewhere) if func in _MOVES else bool(inside)
        target = target if asked is None else asked.type == DEVICE.type
        _check_generator(kwargs.get("generator"), target)
        here = {**kwargs, "device": "cpu"} if target and asked is not None else kwargs
        args, here = tree_map(lambda x: x.values if isinstance(x, Elsewhere) else x, (args, here))
        made = func(*args, **here)
        return self._wrapped(made, {id(x.values): x for x in inside}) if target else made

    def _wrapped(self, made: Any, inside: dict[int, Elsewhere]) -> Any:
        """Results on the device; what an operation changed in place stays the tensor it was."""
        for x in tree_leaves(made):
            if isinstance(x, torch.Tensor) and x.dtype == torch.float64 and not self.float64:
                raise TypeError("this accelerator has no float64")
        return tree_map(lambda x: _outer(x, inside) if isinstance(x, torch.Tensor) else x, made)


def _outer(values: torch.Tensor, inside: dict[int, Elsewhere]) -> Elsewhere:
    return inside[id(values)] if id(values) in inside else Elsewhere(values)


def _check_devices(func: Any, args: Any, outside: list[torch.Tensor]) -> None:
    allowed = [x for x in args[1] if x is not None] if func in _INDEXES and isinstance(args[0], Elsewhere) else []
    wrong = [tuple(x.shape) for x in outside if x.ndim and not any(x is index for index in allowed)]
    if wrong:
        raise RuntimeError(f"{func}: expected all tensors to be on {DEVICE}, but {wrong} are on the CPU")


def _check_generator(generator: torch.Generator | None, target: bool) -> None:
    wanted = DEVICE.type if target else "cpu"
    found = DEVICE.type if generator is not None and generator.initial_seed() in _SEEDS.values() else "cpu"
    if generator is not None and found != wanted:
        raise RuntimeError(f"expected a {wanted!r} generator, but found one of {found!r}")


def _autocast(kind: str, *args: Any, **named: Any) -> Any:
    return nullcontext() if kind == DEVICE.type else torch.amp.autocast_mode.autocast(kind, *args, **named)


@contextmanager
def _plain_inference() -> Iterator[None]:
    """Tensors with values of their own cannot be viewed in inference mode: no_grad in its place."""
    mode, stack = torch.inference_mode, []

    def enter(self: Any) -> None:
        stack.append(torch.no_grad())
        stack[-1].__enter__()

    def leave(self: Any, *error: Any) -> None:
        stack.pop().__exit__(*error)

    with patch.object(mode, "__enter__", enter), patch.object(mode, "__exit__", leave):
        yield


@contextmanager
def accelerator(float64: bool = False) -> Iterator[None]:
    """While it lasts, `DEVICE` can be used."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # or torch.tensor(..., device=...) goes past the mode
    try:
        with _Accelerator(float64), patch.object(torch, "autocast", _autocast), _plain_inference():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
