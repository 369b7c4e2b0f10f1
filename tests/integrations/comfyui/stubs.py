"""As much of ComfyUI as the pack asks for: schema classes, a guider that calls its sampler, two model samplings.

`load()` imports the pack on them, as ComfyUI imports a folder of nodes.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

PACK = Path(__file__).parents[3] / "integrations" / "comfyui"


@dataclass
class Socket:
    """An input or output of a schema."""

    of: str
    id: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def kind(of: str) -> Any:
    """A type of the V3 schema."""
    one = lambda id="", **options: Socket(of, id, options)  # noqa: E731
    return SimpleNamespace(Input=one, Output=one)


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.result, self.ui = args, ui


def schema_module() -> ModuleType:
    kinds = (
        "Noise",
        "Model",
        "Conditioning",
        "Sigmas",
        "Latent",
        "Image",
        "String",
        "Float",
        "Boolean",
        "Combo",
        "Int",
    )
    io = SimpleNamespace(**{name: kind(name) for name in kinds}, Custom=kind, NodeOutput=NodeOutput)
    io.Schema, io.ComfyNode = SimpleNamespace, type("ComfyNode", (), {})
    module = ModuleType("comfy_api.v0_0_2")
    module.io, module.ComfyExtension = io, type("ComfyExtension", (), {})
    module.ui = SimpleNamespace(PreviewImage=lambda image, cls=None: {"images": image})
    return module


class Diffusion:
    """Noise scaling of a model that predicts eps, up to that sigma (`comfy.model_sampling.EPS`)."""

    def __init__(self, greatest: float = 14.6) -> None:
        self.sigma_max = torch.tensor(greatest)

    def noise_scaling(self, sigma: Any, noise: torch.Tensor, latent: Any, max_denoise: bool = False) -> torch.Tensor:
        return noise * ((1 + sigma**2) ** 0.5 if max_denoise else sigma) + latent


class Flow:
    """Of a flow model (`comfy.model_sampling.CONST`)."""

    sigma_max = torch.tensor(1.0)

    def noise_scaling(self, sigma: Any, noise: torch.Tensor, latent: Any, max_denoise: bool = False) -> torch.Tensor:
        return sigma * noise + (1 - sigma) * latent


class Model:
    """A MODEL: denoised(x, sigma, words) gives x_0 for a conditioning of these words."""

    def __init__(self, sampling: Any, denoised: Callable[..., torch.Tensor] | None = None, channels: int = 4) -> None:
        self.parts = {"model_sampling": sampling, "latent_format": SimpleNamespace(latent_channels=channels)}
        self.denoised, self.evaluations, self.device = denoised, 0, torch.device("cpu")

    def get_model_object(self, name: str) -> Any:
        return self.parts[name]


class CFGGuider:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.inner_model = SimpleNamespace(model_sampling=model.parts["model_sampling"], model=model)

    def set_conds(self, positive: Any, negative: Any) -> None:
        self.conds = {"positive": positive, "negative": negative}

    def set_cfg(self, cfg: float) -> None:
        self.cfg = cfg

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, model_options: Any = None, seed: Any = None
    ) -> torch.Tensor:
        both = self.cfg != 1
        seen = calc_cond_batch(self.inner_model, list(self.conds.values())[: 1 + both], x, sigma, model_options)
        return seen[1] + self.cfg * (seen[0] - seen[1]) if both else seen[0]

    def sample(self, noise: Any, latent: Any, sampler: Any, sigmas: Any, disable_pbar: bool, seed: int) -> Any:
        assert not latent.count_nonzero()
        there = [x.to(self.model.device) for x in (noise, latent, sigmas)]
        return sampler.sample(self, there[2], {"model_options": {}, "seed": seed}, None, *there[:2])


def calc_cond_batch(inner: Any, conds: list[Any], x: torch.Tensor, sigma: torch.Tensor, options: Any) -> list[Any]:
    assert sigma.shape == (len(x),)
    inner.model.evaluations += len(conds) * len(x)
    shape = (-1, *[1] * (x.ndim - 1))
    return [inner.model.denoised(x, sigma.reshape(shape), cond) for cond in conds]


def fix_empty_latent_channels(model: Model, latent: torch.Tensor) -> torch.Tensor:
    return latent.repeat(1, model.parts["latent_format"].latent_channels // latent.shape[1], 1, 1)


class RandomNoise:
    """`Noise_RandomNoise` of ComfyUI: from the seed, on the CPU; rows of `batch_index` where there is one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def generate_noise(self, latent: dict[str, Any]) -> torch.Tensor:
        generator, shape = torch.manual_seed(self.seed), latent["samples"].shape
        if "batch_index" not in latent:
            return torch.randn(shape, generator=generator)
        rows = [torch.randn((1, *shape[1:]), generator=generator) for _ in range(max(latent["batch_index"]) + 1)]
        return torch.cat([rows[i] for i in latent["batch_index"]])


@contextmanager
def load(models: Path, name: str = "noiseprompt_pack") -> Iterator[Any]:
    """The pack's module on the stubs; both are forgotten afterwards."""
    comfy, before = ModuleType("comfy"), set(sys.modules)
    stubs = {
        "comfy": comfy,
        "comfy.samplers": SimpleNamespace(
            Sampler=type("Sampler", (), {}), CFGGuider=CFGGuider, calc_cond_batch=calc_cond_batch
        ),
        "comfy.sample": SimpleNamespace(fix_empty_latent_channels=fix_empty_latent_channels),
        "comfy.model_management": SimpleNamespace(get_torch_device=lambda: torch.device("cpu")),
        "comfy_api": ModuleType("comfy_api"),
        "comfy_api.v0_0_2": schema_module(),
        "folder_paths": paths_module(models),
    }
    for path, module in stubs.items():
        if path.startswith("comfy."):
            setattr(comfy, path.removeprefix("comfy."), module)
    held = {path: sys.modules.get(path) for path in stubs}
    sys.modules.update(stubs)  # type: ignore[arg-type]
    try:
        spec: Any = importlib.util.spec_from_file_location(name, PACK / "__init__.py")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        for path in [path for path in sys.modules if path.split(".")[0] == name and path not in before]:
            del sys.modules[path]
        for path, kept in held.items():
            sys.modules.pop(path, None)
            if kept is not None:
                sys.modules[path] = kept


def paths_module(models: Path) -> Any:
    known: dict[str, list[str]] = {}
    add = lambda name, folder: known.setdefault(name, []).append(folder)  # noqa: E731
    return SimpleNamespace(models_dir=str(models), add_model_folder_path=add, get_folder_paths=lambda name: known[name])
