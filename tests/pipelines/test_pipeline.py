"""Pipelines against plain diffusers calls."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError, NoiseError, ShapeError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.levels import is_plain_ddim
from noiseprompt.shapes.model import build_pipeline
from tests import tiny
from tests.pipelines.tiny_pair import PROMPTS, noise, tiny_pipeline


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_sampling_is_the_plain_diffusers_call(pipeline, guidance):
    x = noise(pipeline)
    mine = pipeline.sample(pipeline.encode(PROMPTS), x, guidance_scale=guidance, num_inference_steps=4)
    theirs = pipeline.pipe(PROMPTS, latents=x, guidance_scale=guidance, num_inference_steps=4).images
    assert mine.dtype == np.uint8 and mine.shape == (3, 64, 64, 3)
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))
    assert mine.std() > 1


def test_sampling_with_a_scheduler_that_scales_latents(euler):
    x = noise(euler)
    assert euler.pipe.scheduler.init_noise_sigma > 10
    mine = euler.sample(euler.encode(PROMPTS), x, guidance_scale=3.0, num_inference_steps=4)
    theirs = euler.pipe(PROMPTS, latents=x, guidance_scale=3.0, num_inference_steps=4).images
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))


def test_other_sizes_follow_from_the_latents(pipeline):
    x = batch_noise([1], pipeline.latent_shape(128, 64))
    assert x.shape == (1, 4, 16, 8)
    embeds = pipeline.encode(PROMPTS[:1])
    mine = pipeline.sample(embeds, x, num_inference_steps=2, guidance_scale=2.0)
    theirs = pipeline.pipe(PROMPTS[:1], latents=x, height=128, width=64, num_inference_steps=2, guidance_scale=2.0)
    assert np.array_equal(mine[0], np.asarray(theirs.images[0]))
    assert pipeline.redenoise(embeds, x).shape == x.shape
    with pytest.raises(ShapeError, match=r"latents \(1, 4, 16, 8\).*64 x 64"):
        pipeline.sample(embeds, x, height=64, width=64)


@pytest.mark.parametrize("schedule", [{}, {"prediction_type": "v_prediction"}])
@pytest.mark.parametrize("steps", [2, 7, 10])
def test_sampling_after_a_shared_first_step_is_the_full_chain(schedule, steps):
    pipeline = Pipeline(tiny.stable_diffusion(**schedule))
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    settings = {"guidance_scale": 4.0, "num_inference_steps": steps}
    latents = []
    keep = pipeline.pipe.vae.decode
    pipeline.pipe.vae.decode = lambda z, **options: (latents.append(z), keep(z, **options))[1]
    full = pipeline.sample(embeds, x, **settings)
    shared = pipeline.sample(embeds, pipeline.denoise_step(embeds, x, **settings), **settings, after_first_step=True)
    assert torch.allclose(latents[0], latents[1], atol=1e-5 * latents[0].abs().max().item())
    assert np.abs(full.astype(int) - shared).max() <= 1


def test_first_step_is_not_shared_where_that_is_not_exact(euler):
    embeds, x = euler.encode(PROMPTS), noise(euler)
    assert not euler.can_share_first_step
    with pytest.raises(InputError, match="EulerDiscreteScheduler"):
        euler.sample(embeds, x, after_first_step=True)
    assert Pipeline(tiny.stable_diffusion()).can_share_first_step
    for schedule in ({"clip_sample": True}, {"thresholding": True}, {"timestep_spacing": "trailing"}):
        assert not is_plain_ddim(tiny.scheduler(**schedule))


def snapshot(pipeline):
    pipe = pipeline.pipe
    return (
        id(pipe.scheduler),
        dict(pipe.config),
        pipe.scheduler.timesteps.tolist(),
        dict(pipe.__dict__.get("_progress_bar_config", {})),
        dict(pipe.unet._forward_pre_hooks),
        set(pipe.__dict__) - {"_interrupt", "_guidance_scale", "_guidance_rescale", "_clip_skip", "_num_timesteps"},
    )


@pytest.mark.parametrize("bar", [True, False])
def test_the_pipeline_is_as_before_after_success_and_after_an_error(bar):
    pipeline = Pipeline(tiny.stable_diffusion())
    if not bar:
        del pipeline.pipe._progress_bar_config
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    pipeline.pipe(PROMPTS, latents=x, num_inference_steps=2)  # sets the attributes every call sets
    before = snapshot(pipeline)
    pipeline.redenoise(embeds, x)
    assert snapshot(pipeline) == before

    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    hook = pipeline.pipe.unet.register_forward_hook(fail)
    for call in (pipeline.redenoise, functools.partial(pipeline.sample, num_inference_steps=2)):
        with pytest.raises(RuntimeError, match="out of memory"):
            call(embeds, x)
        assert snapshot(pipeline) == before
    hook.remove()
    assert (pipeline.redenoise(embeds, x) - x).abs().max() > 0.05


def test_denoiser_calls_count_rows(pipeline):
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)

    def spent(call, **options):
        before = pipeline.denoiser_calls
        call(embeds, x, **options)
        return pipeline.denoiser_calls - before

    assert spent(pipeline.redenoise) == 3 * 3
    assert spent(pipeline.redenoise, invert_guidance_scale=2.0) == 3 * 4
    assert spent(pipeline.sample, num_inference_steps=4, guidance_scale=1.0) == 3 * 4
    assert spent(pipeline.sample, num_inference_steps=4, guidance_scale=2.0) == 3 * 8
    assert spent(pipeline.sample, num_inference_steps=4, guidance_scale=2.0, after_first_step=True) == 3 * 6


def test_results_do_not_depend_on_the_batch(pipeline):
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    whole, images = pipeline.redenoise(embeds, x), pipeline.sample(embeds, x, num_inference_steps=3)
    for i, prompt in enumerate(PROMPTS):
        alone, row = pipeline.encode([prompt]), x[i : i + 1]
        assert torch.allclose(pipeline.redenoise(alone, row), whole[i : i + 1], atol=1e-4)
        assert torch.allclose(pipeline.redenoise(embeds.select([i]), row), whole[i : i + 1], atol=1e-4)
        assert np.abs(pipeline.sample(alone, row, num_inference_steps=3)[0].astype(int) - images[i]).max() <= 1


def test_embeds_select_rows_of_everything(pipeline):
    embeds = pipeline.encode(PROMPTS)
    picked = embeds.select([2, 0, 2])
    assert len(picked) == 3 and picked.call_kwargs.keys() == embeds.call_kwargs.keys()
    for name, value in embeds.call_kwargs.items():
        assert torch.equal(picked.call_kwargs[name], value[[2, 0, 2]])
    assert torch.equal(picked.prompt_embeds, embeds.prompt_embeds[[2, 0, 2]])
    assert not torch.equal(embeds.prompt_embeds[0], embeds.prompt_embeds[1])


def test_one_row_that_is_not_finite_stays_alone(sd):
    embeds, x = sd.encode(PROMPTS), noise(sd)
    broken = x.clone()
    broken[1] = torch.nan
    target = sd.redenoise(embeds, broken)
    assert torch.allclose(target[[0, 2]], sd.redenoise(embeds, x)[[0, 2]], atol=1e-5)
    assert target[1].isnan().all()
    with pytest.raises(NoiseError):
        sd.sample(embeds, broken)


def test_families(sd):
    assert (sd.family.name, sd.latent_shape(), sd.default_size) == ("stable-diffusion", (4, 8, 8), (64, 64))
    xl = tiny_pipeline("stable_diffusion_xl")
    assert (xl.family.name, xl.family.denoise_guidance_scale, xl.family.invert_guidance_scale) == (
        "stable-diffusion-xl",
        5.5,
        1.0,
    )
    assert xl.encode(PROMPTS).prompt_embeds.shape == (3, 16, 64)
    assert xl.family.collection_steps == 10


def test_the_embedded_world_is_a_stable_diffusion_with_its_own_defaults():
    torch.manual_seed(0)
    world = Pipeline(build_pipeline(), name="shapes")
    assert (world.family.name, world.name, world.latent_shape()) == ("stable-diffusion", "shapes", (4, 16, 16))
    assert (world.default_size, world.family.num_inference_steps) == ((64, 64), 10)
    assert world.family.guidance_scale < 7.5
    embeds = world.encode(["a red circle above a blue square", "two green stars"])
    assert embeds.prompt_embeds.shape == (2, 12, 128)
    x = noise(world, 2)
    assert (world.redenoise(embeds, x) - x).abs().max() > 0.05
    assert world.sample(embeds, x, num_inference_steps=2).shape == (2, 64, 64, 3)


def test_bad_input_is_one_clear_error(sd):
    embeds, x = sd.encode(PROMPTS), noise(sd)
    with pytest.raises(InputError, match=r"guidance scale 0\.5"):
        sd.denoise_step(embeds, x, guidance_scale=0.5, num_inference_steps=10)
    with pytest.raises(InputError, match="steps 0"):
        sd.redenoise(embeds, x, num_inference_steps=0)
    for steps in (1000, 1001):  # 1000 and the offset of 1 lead beyond the schedule
        with pytest.raises(InputError, match=f"num_inference_steps {steps}"):
            sd.levels(steps)
    with pytest.raises(InputError, match="num_inference_steps 0"):
        sd.sample(embeds, x, num_inference_steps=0)
    with pytest.raises(InputError, match="invert_at 'both'"):
        sd.redenoise(embeds, x, invert_at="both")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"\(2, 4, 8, 8\).*\(3, C, H, W\)"):
        sd.redenoise(embeds, x[:2])
    with pytest.raises(ShapeError, match=r"\(3, 3, 8, 8\).*\(B, 4, 8, 8\)"):
        sd.sample(embeds, x[:, :3])
    with pytest.raises(ShapeError, match="65 x 64"):
        sd.latent_shape(65, 64)
    with pytest.raises(InputError, match="height 0"):
        sd.sample(embeds, x, height=0)
    for texts in ("a red cube", []):
        with pytest.raises(InputError, match="list with at least one text"):
            sd.encode(texts)
    with pytest.raises(InputError, match="'sample'"):
        Pipeline(tiny.stable_diffusion(prediction_type="sample")).levels(10)
