"""The pack in ComfyUI itself, on its own executor and sampler, with the embedded world: `make comfy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import noiseprompt
from integrations import workflows
from noiseprompt.methods.closed_form import ClosedForm
from noiseprompt.methods.redenoise import Redenoise
from noiseprompt.shapes import world
from tests.integrations.comfyui import real

pytestmark = [pytest.mark.comfy, pytest.mark.skipif(bool(real.missing()), reason=real.missing() or "-")]

TEXT = "a red circle left of a blue square"
LATENT = {"samples": torch.zeros(2, 4, 16, 16)}
EXAMPLES = sorted((real.PACK / "example_workflows").glob("*.json"))


@pytest.fixture(scope="module")
def nodes() -> Any:
    return real.start().NODE_CLASS_MAPPINGS


@pytest.fixture(scope="module")
def pipeline() -> noiseprompt.Pipeline:
    pipeline = noiseprompt.Pipeline.load("shapes")
    pipe = pipeline.pipe
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, set_alpha_to_one=True)
    return pipeline


@pytest.fixture(scope="module")
def model(nodes, pipeline) -> Any:
    return real.model_of(pipeline.pipe.unet)


@pytest.fixture(scope="module")
def conds(pipeline) -> dict[str, Any]:
    embeds = pipeline.encode([TEXT]).prompt_embeds
    return {"positive": [[embeds, {}]], "negative": [[pipeline.empty.prompt_embeds, {}]]}


def call(node: Any, **inputs: Any) -> Any:
    """The first output of a node, V1 or V3."""
    made = getattr(node(), node.FUNCTION)(**inputs)
    return getattr(made, "result", made)[0]


def sigmas_of(model: Any, steps: int = 10, first: int = 901) -> torch.Tensor:
    """The levels that diffusers' DDIM walks through (leading), down to 0."""
    levels = model.get_model_object("model_sampling").sigmas[torch.arange(first, 0, -1000 // steps)]
    return torch.cat([levels, levels.new_zeros(1)])


def sampled(nodes: Any, model: Any, conds: Any, noise: Any, sigmas: torch.Tensor, sampler: str = "euler") -> Any:
    """Latents in the scale of x_0, by SamplerCustomAdvanced."""
    guider = call(nodes["CFGGuider"], model=model, cfg=3.5, **conds)
    chosen = call(nodes["KSamplerSelect"], sampler_name=sampler)
    made = call(
        nodes["SamplerCustomAdvanced"], noise=noise, guider=guider, sampler=chosen, sigmas=sigmas, latent_image=LATENT
    )
    return made["samples"] * model.model.latent_format.scale_factor


NPNET = {"strength": 1.0, "renormalize": False, "no_text": False, "long_prompts": "truncate"}


def npnet_noise(nodes: Any, model: Any, conds: Any, folder: Path, **changed: Any) -> Any:
    source = call(nodes["RandomNoise"], noise_seed=7)
    npnet = call(nodes["NoisepromptLoadNPNet"], source=str(folder), device="cpu")
    given = {"noise": source, "npnet": npnet, "conditioning": conds["positive"], "model": model, **NPNET, **changed}
    return call(nodes["NoisepromptNPNetNoise"], **given)


def test_comfyui_lists_the_nodes_and_their_help(nodes) -> None:
    found = {name for name in nodes if name.startswith("Noiseprompt")}
    assert found == {path.stem for path in (real.PACK / "web" / "docs").glob("*.md")} and len(found) == 5
    for name in found:
        info = nodes[name].GET_NODE_INFO_V1()
        assert info["category"] == "noiseprompt" and info["description"] and info["display_name"]


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "dpmpp_2m_sde"])
@pytest.mark.parametrize("kind", ["npnet", "closed form", "re-denoise", "mix"])
def test_strength_zero_is_the_picture_of_random_noise(nodes, model, conds, kind: str, sampler: str) -> None:
    sigmas, source = sigmas_of(model, 5, 801), call(nodes["RandomNoise"], noise_seed=7)
    plain = sampled(nodes, model, conds, source, sigmas, sampler)
    if kind == "npnet":
        noise = npnet_noise(nodes, model, conds, world.npnet_folder(), strength=0.0)
    elif kind == "mix":
        noise = call(nodes["NoisepromptMixNoise"], first=source, second=call(nodes["DisableNoise"]), amount=0.0)
    else:
        how = {"denoise_guidance": 5.5, "invert_guidance": 1.0, "strength": 0.0, "renormalize": False}
        given = {"noise": source, "model": model, "sigmas": sigmas, "method": kind, **conds, **how}
        noise = call(nodes["NoisepromptTrainingFreeNoise"], **given)
    assert torch.equal(sampled(nodes, model, conds, noise, sigmas, sampler), plain)


def test_the_picture_of_an_npnet_is_that_of_diffusers(nodes, model, pipeline, conds) -> None:
    """The network of pictures, whose noise carries a level: ComfyUI's Euler walks as diffusers' DDIM does."""
    sigmas, pipe = sigmas_of(model), pipeline.pipe
    noise = npnet_noise(nodes, model, conds, world.npnet_folder(), sigmas=sigmas)
    drawn = sampled(nodes, model, conds, noise, sigmas)
    source = torch.Generator().manual_seed(7)
    net = world.npnet_folder()
    latents = noiseprompt.winning_noise(pipe, net, [TEXT] * 2, generator=source, num_inference_steps=10)
    how = {"guidance_scale": 3.5, "num_inference_steps": 10, "output_type": "latent"}
    expected = pipe([TEXT] * 2, latents=latents, **how).images
    torch.testing.assert_close(drawn, expected, atol=2e-4, rtol=1e-4)


def test_the_noise_of_an_npnet_is_that_of_the_package(nodes, model, pipeline, conds) -> None:
    folder = world.npnet_folder("redenoise")
    made = npnet_noise(nodes, None, conds, folder, strength=1.5, renormalize=True).generate_noise(LATENT)
    source = torch.Generator().manual_seed(7)
    how = {"strength": 1.5, "renormalize": True}
    assert torch.equal(made, noiseprompt.winning_noise(pipeline, folder, [TEXT] * 2, generator=source, **how))


@pytest.mark.parametrize(("kind", "method", "calls"), [("closed form", ClosedForm, 2), ("re-denoise", Redenoise, 3)])
def test_training_free_noise_is_that_of_the_package(nodes, model, pipeline, conds, kind, method, calls) -> None:
    """From the greatest level, where ComfyUI takes noise for pure noise as diffusers does everywhere."""
    sigmas, source = sigmas_of(model, 10, 999), call(nodes["RandomNoise"], noise_seed=7)
    how = {"denoise_guidance": 5.5, "invert_guidance": 1.0, "strength": 1.0, "renormalize": False}
    given = {"noise": source, "model": model, "sigmas": sigmas, "method": kind, **conds, **how}
    model.model.diffusion_model.calls = 0
    made = call(nodes["NoisepromptTrainingFreeNoise"], **given).generate_noise(LATENT)
    assert model.model.diffusion_model.calls == calls * len(made)
    pipe = pipeline.pipe
    trailing = type(pipe.scheduler).from_config(pipe.scheduler.config, timestep_spacing="trailing")
    other = noiseprompt.Pipeline(
        type(pipe)(**{**pipe.components, "scheduler": trailing}, requires_safety_checker=False)
    )
    oracle = method(denoise_guidance_scale=5.5, invert_guidance_scale=1.0, steps=10)
    with torch.no_grad():
        expected = oracle.perturb(other, other.encode([TEXT] * 2), source.generate_noise(LATENT))
    torch.testing.assert_close(made, expected, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["closed form", "re-denoise"])
def test_training_free_noise_of_a_flow_model(nodes, pipeline, conds, kind: str) -> None:
    """By the formulas on the velocities themselves; noise is the state where sigma is 1."""
    model, unet = real.model_of(pipeline.pipe.unet, flow=True), pipeline.pipe.unet
    sigmas, source = torch.tensor([1.0, 0.9, 0.5, 0.0]), call(nodes["RandomNoise"], noise_seed=3)
    how = {"denoise_guidance": 4.0, "invert_guidance": 1.0, "strength": 0.5, "renormalize": False}
    given = {"noise": source, "model": model, "sigmas": sigmas, "method": kind, **conds, **how}
    made = call(nodes["NoisepromptTrainingFreeNoise"], **given).generate_noise(LATENT)
    texts, x = [conds[name][0][0].expand(2, -1, -1) for name in ("positive", "negative")], source.generate_noise(LATENT)
    sampling = model.get_model_object("model_sampling")

    def velocity(at: torch.Tensor, sigma: float, guidance: float) -> torch.Tensor:
        time = sampling.timestep(torch.tensor(sigma)).expand(2)
        with torch.no_grad():
            cond, uncond = (unet(at, time, text).sample for text in texts)
        return uncond + guidance * (cond - uncond)

    if kind == "closed form":
        target = x + (0.9 - 1.0) * (velocity(x, 1.0, 4.0) - velocity(x, 1.0, 1.0))
    else:
        lower = x + (0.9 - 1.0) * velocity(x, 1.0, 4.0)
        target = lower + (1.0 - 0.9) * velocity(lower, 0.9, 1.0)
    torch.testing.assert_close(made, x + 0.5 * (target - x), atol=5e-5, rtol=1e-4)


def test_a_batch_keeps_its_order(nodes, model, conds) -> None:
    latent = {"samples": LATENT["samples"], "batch_index": [2, 0]}
    noise = npnet_noise(nodes, model, conds, world.npnet_folder("redenoise"))
    torch.manual_seed(7)
    alone = [torch.randn(1, 4, 16, 16, generator=torch.default_generator) for _ in range(3)]
    made, npnet = noise.generate_noise(latent), noise.npnet
    embeds = conds["positive"][0][0].expand(2, -1, -1)
    assert torch.equal(made, noiseprompt.perturb_noise(npnet, torch.cat([alone[2], alone[0]]), embeds))


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_the_text_of_sdxl_is_that_of_diffusers(nodes, act: str) -> None:
    """As `SDXLClipModel` asks an encoder: the layer before the last, not normalised; by transformers, on small ones."""
    from comfy.sd1_clip import SDClipModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    sizes |= {"hidden_act": act, "max_position_embeddings": 77, "projection_dim": 32, "eos_token_id": 49407}
    torch.manual_seed(0)
    theirs = CLIPTextModelWithProjection(CLIPTextConfig(vocab_size=49408, **sizes)).eval()
    how = {"layer": "hidden", "layer_idx": -2, "layer_norm_hidden_state": False}
    ours = SDClipModel(textmodel_json_config=sizes, dtype=torch.float32, **how)
    ours.load_sd(theirs.state_dict())
    tokens = [[49406, 320, 736, 49407, *[0] * 73]]
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens), output_hidden_states=True).hidden_states[-2]
        torch.testing.assert_close(ours(tokens)[0], expected, atol=1e-5, rtol=1e-4)


# -------------------------------------------------------------------------------------------------- whole workflows


def on_the_world(path: Path) -> dict[str, Any]:
    """An example as it is, but for the sizes, the prompt and the file of the network."""
    workflow = json.loads(path.read_text())
    changes = {
        "EmptyLatentImage": [128, 128, 1],
        "NoisepromptLoadNPNet": [str(world.npnet_folder()), "default"],
        "CLIPTextEncode": [TEXT],
    }
    for node in workflow["nodes"]:
        if node["type"] == "BasicScheduler":
            node["widgets_values"] = ["normal", 6, 1.0]
        elif node["type"] != "CLIPTextEncode" or node["widgets_values"] != [""]:
            node["widgets_values"] = changes.get(node["type"], node["widgets_values"])
    return workflow


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_run(nodes, pipeline, path: Path, tmp_path: Path, monkeypatch) -> None:
    import folder_paths

    monkeypatch.setitem(nodes, "CheckpointLoaderSimple", real.loader_of(pipeline))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    _, errors = real.run(real.prompt_of(on_the_world(path)))
    assert not errors, errors
    (picture,) = tmp_path.glob("noiseprompt*.png")
    assert np.asarray(Image.open(picture)).shape == (64, 64, 3)
    looks = list(tmp_path.glob("ComfyUI_temp*.png"))
    assert len(looks) == ("look" in path.stem)


def test_errors_of_the_package_are_shown_as_they_are(nodes, pipeline, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(nodes, "CheckpointLoaderSimple", real.loader_of(pipeline))
    workflow = on_the_world(real.PACK / "example_workflows" / "npnet_noise.json")
    for node in workflow["nodes"]:
        if node["type"] == "EmptyLatentImage":
            node["widgets_values"] = [192, 192, 1]
    _, errors = real.run(real.prompt_of(workflow))
    assert errors[0]["node_type"] == "SamplerCustomAdvanced"
    assert "latents of shape (4, 24, 24). Expected (4, 16, 16)" in errors[0]["exception_message"]
    for node in workflow["nodes"]:
        if node["type"] == "NoisepromptLoadNPNet":
            node["widgets_values"] = ["  ", "default"]
    _, errors = real.run(real.prompt_of(workflow))
    assert "source is empty" in str(errors)


def test_the_sockets_of_the_examples_are_those_of_comfyui(nodes) -> None:
    for kind, (inputs, outputs) in workflows.KINDS.items():
        types = nodes[kind].INPUT_TYPES()
        every = {**types["required"], **types.get("optional", {})}
        sockets = {name: of for name, (of, *_) in every.items() if name not in real.widgets_of(kind)}
        assert list(inputs.items()) == list(sockets.items()), kind
        assert list(outputs.values()) == list(nodes[kind].RETURN_TYPES), kind
