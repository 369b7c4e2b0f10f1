"""Names of devices and dtypes, and what importing the words costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from noiseprompt.core.devices import DTYPES, best_device, resolve_device, resolve_dtype
from noiseprompt.core.errors import InputError


@pytest.mark.skipif(torch.backends.mps.is_built(), reason="this torch has it")
def test_a_device_that_torch_was_built_without_is_told() -> None:
    with pytest.raises(InputError, match=r"device 'mps': the torch that is installed has no mps. Expected auto"):
        resolve_device("mps")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_is_the_best_device_there_is(monkeypatch, cuda: bool, mps: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device() == expected


def test_names_are_what_torch_calls_them() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == best_device()
    assert [resolve_dtype(name) for name in DTYPES] == [torch.float32, torch.float16, torch.bfloat16]


def test_what_is_not_there_is_named_with_what_is() -> None:
    for device in ("cuda:99", "gpu", "cpu:7"):
        with pytest.raises(InputError, match=rf"device '{device}'.*auto, cpu, cuda"):
            resolve_device(device)
    with pytest.raises(InputError, match=r"dtype 'float8'.*float32, float16, bfloat16"):
        resolve_dtype("float8")


def test_importing_the_words_imports_no_torch() -> None:
    code = (
        "import importlib, pkgutil, sys, noiseprompt.core as core\n"
        "names = [m.name for m in pkgutil.iter_modules(core.__path__, 'noiseprompt.core.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'accelerate'} & set(sys.modules)\n"
        "assert len(names) > 5 and not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
