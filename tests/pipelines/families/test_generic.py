"""Pipelines of no family: what is assumed, said in a warning, and what cannot work."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPAGPipeline

from noiseprompt.cli import main
from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptWarning
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.families.generic import unusable
from tests import tiny, tiny_flow
from tests.pipelines.families.inputs import PROMPTS, noise


def perturbed_attention():
    """A pipeline class that is in no family, made of Stable Diffusion's parts."""
    pipe = StableDiffusionPAGPipeline(**tiny.stable_diffusion().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_an_unknown_class_works_with_a_warning_that_says_what_is_assumed():
    with pytest.warns(NoisepromptWarning, match=r"PAGPipeline.*Assumed.*4 x H/8 x W/8; 50 steps") as caught:
        pipeline = Pipeline(perturbed_attention())
    assert len(caught) == 1
    assert (pipeline.family.name, pipeline.latent_shape(), pipeline.default_size) == (
        "StableDiffusionPAGPipeline",
        (4, 8, 8),
        (64, 64),
    )
    x = noise(pipeline)
    embeds = pipeline.encode(PROMPTS)
    mine = pipeline.sample(embeds, x, num_inference_steps=3, guidance_scale=4.0)
    theirs = pipeline.pipe(
        PROMPTS, negative_prompt=["", ""], latents=x, num_inference_steps=3, guidance_scale=4.0
    ).images
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))
    moved = pipeline.redenoise(embeds, x)
    assert torch.isfinite(moved).all() and (moved - x).abs().max() > 0.01
    assert torch.allclose(pipeline.redenoise(embeds.select([1]), x[1:]), moved[1:], atol=1e-5)


def test_an_unknown_flow_class_redenoises_as_a_loop_written_by_hand():
    with pytest.warns(NoisepromptWarning, match=r"AuraFlowPipeline.*guidance_scale is g.*3\.5 by default"):
        pipeline = Pipeline(tiny_flow.aura_flow())
    pipe, x = pipeline.pipe, noise(pipeline)
    assert pipeline.is_flow and pipeline.latent_shape() == (4, 8, 8)
    second = 1.73 * 0.75 / (1 + 0.73 * 0.75)  # four steps: 1, 0.75, 0.5, 0.25, shifted

    def velocity(x, t, texts):
        text, _, _, _ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False)
        return pipe.transformer(x, encoder_hidden_states=text, timestep=torch.full((2,), t), return_dict=False)[0]

    with torch.no_grad():
        low, high = velocity(x, 1.0, ["", ""]), velocity(x, 1.0, PROMPTS)
        s_from, s_to = pipeline.levels(4)[2:]
        lower = x + (s_to - s_from) * (low + 6 * (high - low))
        upper = lower + (s_from - s_to) * velocity(lower, s_to, PROMPTS)
    mine = pipeline.redenoise(pipeline.encode(PROMPTS), x, denoise_guidance_scale=6.0, num_inference_steps=4)
    assert s_from == 1 and abs(s_to - second) < 0.1
    assert (upper - x).abs().max() > 3e-3 and (mine - upper).abs().max() < 2e-3 * (upper - x).abs().max()


def test_an_unknown_class_from_the_command_line(tmp_path, capsys):
    folder = tiny.save(tiny_flow.aura_flow(), tmp_path / "aura")
    out = tmp_path / "out"
    drawing = ["--methods=standard,redenoise", "--seeds=0-1", "--num_inference_steps=2", "--device=cpu"]
    assert main(["generate", "a red cube", f"--model={folder}", f"--out={out}", *drawing]) == 0
    said = capsys.readouterr().err
    assert "noiseprompt: warning: pipelines of class AuraFlowPipeline are of no known family" in said
    assert len(list(out.glob("*.png"))) == 5
    (tmp_path / "prompts.txt").write_text(
        "".join(
            f"a {c} {shape}\n" for c in ("red", "blue", "green", "yellow") for shape in ("circle", "square", "star")
        )
    )
    npd = [
        f"--prompts={tmp_path / 'prompts.txt'}",
        f"--out={tmp_path / 'npd'}",
        "--num_inference_steps=2",
        "--device=cpu",
    ]
    assert main(["collect", f"--model={folder}", *npd, "--scorers+", "shapes-preference"]) == 0
    training = [f"--npd={tmp_path / 'npd'}", f"--out={tmp_path / 'net'}", "--device=cpu", "--batch_size=1"]
    assert main(["train", f"--model={folder}", *training, "--validation_share=0.4"]) == 2
    assert "has no text embedding for an NPNet" in capsys.readouterr().err


def test_a_known_class_warns_of_nothing(xl):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Pipeline(xl)
        Pipeline(tiny_flow.qwen_image())


def test_an_unknown_class_that_fails_later_says_so():
    with pytest.warns(NoisepromptWarning):
        pipeline = Pipeline(perturbed_attention())
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    pipeline.pipe.unet.register_forward_hook(lambda *args: 1 / 0)
    with pytest.raises(InputError, match=r"of no known family, fails \(ZeroDivisionError"):
        pipeline.redenoise(embeds, x)


def test_what_cannot_work_is_one_clear_error(tmp_path):
    import diffusers

    for name, why in (
        ("StableDiffusionImg2ImgPipeline", "its call has no latents"),
        ("StableVideoDiffusionPipeline", "its call has no prompt"),
        ("NoSuchPipeline", "the installed diffusers does not have it"),
    ):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
        with pytest.raises(ModelLoadError, match=f"{name}.*{why}.*StableDiffusionXLPipeline"):
            Pipeline.load(tmp_path)
    assert unusable(diffusers.StableDiffusionPAGPipeline) == ""
    pipe = perturbed_attention()
    pipe.prepare_latents = lambda *args, **kwargs: torch.zeros(1, 16, 16)
    with pytest.raises(ModelLoadError, match=r"latents for 256 x 256 pixels are \(1, 16, 16\)"):
        Pipeline(pipe)
