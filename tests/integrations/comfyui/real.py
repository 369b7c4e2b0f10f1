"""ComfyUI's own sources in this process, on the CPU, with the embedded world as its MODEL.

COMFYUI_PATH names a checkout of ComfyUI; its requirements are installed where the tests run, but for torchvision and
torchaudio: no such package imports beside a CPU build of torch, and the sampler only names them.
"""

from __future__ import annotations

import asyncio
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import torch

PACK = Path(__file__).parents[3] / "integrations" / "comfyui"
ABSENT = ("torchaudio", "torchvision")


class Named(types.ModuleType):
    """A module that has every name and does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `ABSENT` where nothing else does."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        absent = fullname.split(".")[0] in ABSENT
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if absent else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return Named(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def missing() -> str:
    """Why ComfyUI cannot run here, or ""."""
    path = os.environ.get("COMFYUI_PATH", "")
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return "ComfyUI takes a process of its own: make comfy"
    if not path:
        return "COMFYUI_PATH names no checkout of ComfyUI"
    if not (Path(path) / "comfy" / "samplers.py").is_file():
        return f"COMFYUI_PATH={path} is no checkout of ComfyUI"
    packages = [name for name in ("aiohttp", "av", "einops", "torchsde") if importlib.util.find_spec(name) is None]
    return f"ComfyUI needs {', '.join(packages)}" if packages else ""


def start() -> types.ModuleType:
    """Import ComfyUI and let it load the pack as it loads any; returns its `nodes`."""
    import diffusers  # noqa: F401 - they look for torchvision when first imported, and must not meet the stand-in
    import transformers  # noqa: F401

    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    sys.meta_path.append(StandIns())
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    import comfy_extras.nodes_custom_sampler as samplers
    import nodes

    nodes.NODE_CLASS_MAPPINGS.update(samplers.NODE_CLASS_MAPPINGS)
    assert asyncio.run(nodes.load_custom_node(str(PACK))), "ComfyUI refused the pack"
    return nodes


class Denoiser(torch.nn.Module):
    """A U-Net of diffusers, called as ComfyUI calls its own."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet, self.dtype, self.calls = unet, torch.float32, 0

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor, **_: Any) -> torch.Tensor:
        self.calls += len(x)
        return self.unet(x, timesteps, context).sample


def model_of(unet: Any, flow: bool = False) -> Any:
    """A MODEL (ModelPatcher) of that U-Net on Stable Diffusion's levels; `flow`: the same network, read as a flow."""
    import comfy.latent_formats
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models_base

    config = comfy.supported_models_base.BASE({"disable_unet_model_creation": True})
    config.latent_format = comfy.latent_formats.SDXL()
    kind = comfy.model_base.ModelType.FLOW if flow else comfy.model_base.ModelType.EPS
    if flow:
        config.sampling_settings = {"shift": 3.0}
    base = comfy.model_base.BaseModel(config, model_type=kind)
    base.diffusion_model = Denoiser(unet)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(base, load_device=cpu, offload_device=cpu)


class Clip:
    """The world's text encoder, with the two calls that CLIPTextEncode makes."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, text: str) -> list[list[Any]]:
        return [[self.pipeline.encode([text]).prompt_embeds, {}]]


class Vae:
    """The world's autoencoder, with the call that VAEDecode makes."""

    def __init__(self, vae: Any, scale: float) -> None:
        self.vae, self.scale = vae, scale

    def decode(self, samples: torch.Tensor) -> torch.Tensor:
        latents = self.scale * samples / self.vae.config.scaling_factor
        return (self.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1).movedim(1, -1)


def loader_of(pipeline: Any) -> type:
    """A stand-in for CheckpointLoaderSimple that gives the world whatever it is asked for."""
    model = model_of(pipeline.pipe.unet)

    class CheckpointLoaderSimple:
        RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL", "CLIP", "VAE"), "load", "loaders"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return {"required": {"ckpt_name": ("STRING", {})}}

        def load(self, ckpt_name: str) -> tuple[Any, ...]:
            return model, Clip(pipeline), Vae(pipeline.pipe.vae, model.model.latent_format.scale_factor)

    return CheckpointLoaderSimple


def widgets_of(kind: str) -> list[str]:
    """Names of a node's widgets in the order of `widgets_values`; a seed is followed by what happens to it."""
    import nodes

    types, found = nodes.NODE_CLASS_MAPPINGS[kind].INPUT_TYPES(), []
    for name, (of, *more) in {**types["required"], **types.get("optional", {})}.items():
        if isinstance(of, list) or of in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
            after = bool(more) and more[0].get("control_after_generate")
            found += [name, "control_after_generate"] if after else [name]
    return found


def prompt_of(workflow: dict[str, Any]) -> dict[str, Any]:
    """The workflow as ComfyUI's page sends it to be run."""
    prompt = {}
    for node in workflow["nodes"]:
        names = widgets_of(node["type"])
        assert len(names) == len(node["widgets_values"]), f"{node['type']} has the widgets {names}"
        inputs: dict[str, Any] = dict(zip(names, node["widgets_values"], strict=True))
        inputs.pop("control_after_generate", None)
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    sockets = {node["id"]: [socket["name"] for socket in node["inputs"]] for node in workflow["nodes"]}
    for _, source, output, target, socket, _ in workflow["links"]:
        prompt[str(target)]["inputs"][sockets[target][socket]] = [str(source), output]
    return prompt


def run(prompt: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """What the nodes that have a page's output showed, and the errors: by ComfyUI's own check and executor."""
    import execution

    valid, error, outputs, node_errors = asyncio.run(execution.validate_prompt("test", prompt, None))
    if not valid:
        return {}, [error, node_errors]
    server = types.SimpleNamespace(client_id=None, last_node_id=None, last_prompt_id=None, sockets_metadata={})
    server.send_sync = lambda *_: None
    executor = execution.PromptExecutor(server)
    executor.execute(prompt, "test", {}, outputs)
    errors = [data for event, data in executor.status_messages if event == "execution_error"]
    return executor.history_result["outputs"], errors
