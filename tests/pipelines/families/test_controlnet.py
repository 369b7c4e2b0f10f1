"""Stable Diffusion and SDXL with a ControlNet, on tiny pipelines of the real classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from noiseprompt.core.errors import InputError, ModelLoadError, ModelMismatchError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.controlnet import set_control_image
from tests import tiny
from tests.pipelines.families import tiny_controlnet
from tests.pipelines.families.stages import run_stages

PROMPTS = ["a red cube", "nine green birds"]
KINDS = {"stable_diffusion": "stable-diffusion", "stable_diffusion_xl": "stable-diffusion-xl"}


def picture(seed: int = 0) -> Image.Image:
    """Lines as a canny picture has them."""
    pixels = np.random.default_rng(seed).random((64, 64, 1)) > 0.8
    return Image.fromarray(np.repeat(pixels, 3, 2).astype(np.uint8) * 255)


class Folders:
    """What a user has on disk: a base model, a ControlNet, a control image."""

    def __init__(self, root: Path, kind: str) -> None:
        self.kind, self.base, self.net, self.image = kind, root / "base", root / "canny", root / "canny.png"
        pipe = getattr(tiny, kind)()
        pipe.save_pretrained(self.base)
        tiny_controlnet.controlnet(pipe.unet).save_pretrained(self.net)
        picture().save(self.image)

    def load(self, **options) -> Pipeline:
        return Pipeline.load(self.base, controlnet=str(self.net), control_image=self.image, **options)


@pytest.fixture(scope="module", params=KINDS)
def folders(request, tmp_path_factory) -> Folders:
    return Folders(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def pipeline(folders) -> Pipeline:
    return folders.load()


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_sampling_is_the_plain_diffusers_call(folders, pipeline, guidance):
    x = batch_noise([1, 2], pipeline.latent_shape())
    settings = {"guidance_scale": guidance, "num_inference_steps": 3}
    mine = pipeline.sample(pipeline.encode(PROMPTS), x, **settings)
    expected = pipeline.pipe(PROMPTS, image=picture(), latents=x, **settings).images
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in expected])) and mine.std() > 1
    built = getattr(tiny_controlnet, f"{folders.kind}_controlnet")()  # not loaded, not put together here
    other = built(PROMPTS, image=picture(), latents=x, output_type="np", **settings).images
    assert np.abs(mine - 255 * other).max() < 1
    plain = Pipeline.load(folders.base)
    assert not np.array_equal(mine, plain.sample(plain.encode(PROMPTS), x, **settings)), "the image must matter"


def by_hand(pipe, embeds, x, image, down, up):
    """Equations 1 and 2 in float64 on SDXL's schedule; the ControlNet and the U-Net called directly."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bar = torch.cumprod(1 - betas, 0)
    hint = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255

    def eps_of(x, t, negative):
        text = embeds.call_kwargs["negative_prompt_embeds" if negative else "prompt_embeds"]
        named = {"encoder_hidden_states": text}
        if "pooled_prompt_embeds" in embeds.call_kwargs:
            pooled = embeds.call_kwargs["negative_pooled_prompt_embeds" if negative else "pooled_prompt_embeds"]
            ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * len(x))
            named["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids}
        hints = hint.expand(len(x), -1, -1, -1)
        residuals, middle = pipe.controlnet(x.float(), t, controlnet_cond=hints, return_dict=False, **named)
        return pipe.unet(
            x.float(), t, down_block_additional_residuals=residuals, mid_block_additional_residual=middle, **named
        ).sample.double()

    def eps(x, t, guidance):
        empty = eps_of(x, t, True)
        return empty + guidance * (eps_of(x, t, False) - empty)

    def ddim(x, e, t, to):
        return (bar[to] / bar[t]).sqrt() * (x - (1 - bar[t]).sqrt() * e) + (1 - bar[to]).sqrt() * e

    with torch.no_grad():
        lower = ddim(x.double(), eps(x.double(), 901, down), 901, 801)
        return lower, ddim(lower, eps(lower, 801, up), 801, 901)


def test_redenoise_sees_the_control_image_in_both_steps(pipeline):
    x, embeds = batch_noise([3, 4], pipeline.latent_shape()), pipeline.encode(PROMPTS)
    lower, upper = by_hand(pipeline.pipe, embeds, x, picture(), 5.5, 1.0)
    mine = pipeline.redenoise(embeds, x)
    assert (upper - x).abs().max() > 0.05, "the oracle must move the noise"
    assert (mine - upper).abs().max() < 1e-4 * upper.abs().max()
    down = pipeline.denoise_step(embeds, x, guidance_scale=5.5, num_inference_steps=10)
    assert (down - lower).abs().max() < 1e-4 * lower.abs().max()
    _, other = by_hand(pipeline.pipe, embeds, x, picture(1), 5.5, 1.0)
    assert (other - upper).abs().max() > 1e-3, "another image must give another noise"


def test_it_keeps_its_family_and_its_sizes(folders, pipeline):
    assert pipeline.family.name == KINDS[folders.kind]
    assert pipeline.latent_shape() == (4, 8, 8) and pipeline.latent_shape(128, 64) == (4, 16, 8)
    wide = batch_noise([1], pipeline.latent_shape(128, 64))
    assert pipeline.sample(pipeline.encode(PROMPTS[:1]), wide, num_inference_steps=1).shape == (1, 128, 64, 3)


def test_a_saved_pipeline_with_its_controlnet_needs_only_the_image(folders, pipeline, tmp_path):
    pipeline.pipe.save_pretrained(tmp_path / "whole")
    again = Pipeline.load(tmp_path / "whole", control_image=folders.image)
    x, embeds = batch_noise([3], pipeline.latent_shape()), pipeline.encode(PROMPTS[:1])
    assert torch.equal(again.redenoise(embeds, x), pipeline.redenoise(embeds, x))
    bare = Pipeline.load(tmp_path / "whole")
    assert bare.latent_shape() == (4, 8, 8) and len(bare.encode(PROMPTS)) == 2  # enough for an NPNet
    with pytest.raises(InputError, match="control_image"):
        bare.sample(embeds, x)


def test_precision_is_kept(folders):
    pipe = folders.load(dtype="bfloat16").pipe
    kinds = {next(part.parameters()).dtype for part in (pipe.unet, pipe.controlnet, pipe.vae, pipe.text_encoder)}
    assert kinds == {torch.bfloat16}


def test_what_does_not_fit_is_refused(folders, pipeline, tmp_path):
    with pytest.raises(ModelLoadError, match="ControlNet"):
        Pipeline.load(folders.base, controlnet=str(tmp_path / "none"), control_image=folders.image)
    with pytest.raises(ModelMismatchError, match="control image"):
        Pipeline.load(folders.base, control_image=folders.image)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ModelLoadError, match="not a readable picture"):
        set_control_image(pipeline.pipe, tmp_path / "text.png")
    other = next(kind for kind in KINDS if kind != folders.kind)
    pipe = getattr(tiny, other)()
    pipe.save_pretrained(tmp_path / "other")
    with pytest.raises(ModelMismatchError, match="cross_attention_dim"):
        Pipeline.load(tmp_path / "other", controlnet=str(folders.net), control_image=folders.image)


def test_from_the_command_line(folders, tmp_path):
    options = [f"--controlnet={folders.net}", f"--control_image={folders.image}"]
    run_stages(folders.base, tmp_path, KINDS[folders.kind], options=options)
