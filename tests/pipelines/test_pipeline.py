"""Pipelines against plain diffusers calls, and re-denoise against a loop written out here."""

from __future__ import annotations

import functools
import json
import math

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler

from noiseprompt.core.errors import InputError, ModelLoadError, NoiseError, ShapeError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.levels import ddim_levels, is_plain_ddim
from noiseprompt.shapes.model import build_pipeline
from tests import tiny

PROMPTS = ["a red cube", "nine green birds", "of an age"]
KINDS = ["stable_diffusion", "stable_diffusion_xl"]


@functools.cache
def tiny_pipeline(kind: str) -> Pipeline:
    return Pipeline(getattr(tiny, kind)())


@pytest.fixture(params=KINDS)
def pipeline(request) -> Pipeline:
    return tiny_pipeline(request.param)


@pytest.fixture
def sd() -> Pipeline:
    return tiny_pipeline("stable_diffusion")


@pytest.fixture
def euler(sd):
    """Tiny Stable Diffusion with the scheduler SDXL is published with: scaled latents, another class."""
    own = sd.pipe.scheduler
    sd.pipe.scheduler = EulerDiscreteScheduler.from_config(own.config)
    yield sd
    sd.pipe.scheduler = own


def noise(pipeline: Pipeline, count: int = 3) -> torch.Tensor:
    return batch_noise(range(count), pipeline.latent_shape())


def by_hand(pipe, x, prompts, down, up, steps, invert_at):
    """Re-denoise of a pipeline with a denoiser that predicts eps or v: equations 1 and 2, nothing of ours."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bar = torch.cumprod(1 - betas, 0)
    k = 1000 // steps
    t_from, t_to = k * (steps - 1) + 1, k * (steps - 2) + 1

    def embed(texts):
        if not hasattr(pipe, "text_encoder_2"):
            return pipe.text_encoder(tokens(pipe.tokenizer, texts))[0], None
        first = pipe.text_encoder(tokens(pipe.tokenizer, texts), output_hidden_states=True).hidden_states[-2]
        second = pipe.text_encoder_2(tokens(pipe.tokenizer_2, texts), output_hidden_states=True)
        return torch.cat([first, second.hidden_states[-2]], -1), second.text_embeds

    def tokens(tokenizer, texts):
        options = {"padding": "max_length", "max_length": tiny.TEXT_LENGTH, "truncation": True, "return_tensors": "pt"}
        return tokenizer(texts, **options).input_ids

    def empty(text, pooled):
        return embed([""] * len(prompts)) if pooled is None else (text * 0, pooled * 0)

    def predict(x, t, text, pooled):
        size = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * len(x))
        added = None if pooled is None else {"text_embeds": pooled, "time_ids": size}
        return pipe.unet(x.float(), t, encoder_hidden_states=text, added_cond_kwargs=added).sample.double()

    def eps(x, t, guidance):
        text = embed(prompts)
        cond, uncond = predict(x, t, *text), predict(x, t, *empty(*text))
        guided = uncond + guidance * (cond - uncond)
        if pipe.scheduler.config.prediction_type == "v_prediction":
            return bar[t].sqrt() * guided + (1 - bar[t]).sqrt() * x
        return guided

    def ddim(x, e, t, to):
        x_0 = (x - (1 - bar[t]).sqrt() * e) / bar[t].sqrt()
        return bar[to].sqrt() * x_0 + (1 - bar[to]).sqrt() * e

    with torch.no_grad():
        lower = ddim(x.double(), eps(x.double(), t_from, down), t_from, t_to)
        return ddim(lower, eps(lower, t_to if invert_at == "paper" else t_from, up), t_to, t_from)


def assert_close(mine, theirs, source):
    assert (theirs - source).abs().max() > 0.05, "the oracle must move the noise"
    assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("invert_at", ["paper", "published"])
@pytest.mark.parametrize("scales", [(5.5, 1.0), (1.0, 5.5), (3.0, 2.0)])
def test_redenoise_is_the_loop_written_by_hand(pipeline, invert_at, scales):
    x = noise(pipeline)
    options = {"denoise_guidance_scale": scales[0], "invert_guidance_scale": scales[1], "num_inference_steps": 10}
    mine = pipeline.redenoise(pipeline.encode(PROMPTS), x, **options, invert_at=invert_at)
    assert_close(mine, by_hand(pipeline.pipe, x, PROMPTS, *scales, 10, invert_at), x)


@pytest.mark.parametrize("invert_at", ["paper", "published"])
def test_redenoise_with_v_prediction(invert_at):
    pipeline = Pipeline(tiny.stable_diffusion(prediction_type="v_prediction"))
    x = noise(pipeline)
    mine = pipeline.redenoise(pipeline.encode(PROMPTS), x, invert_at=invert_at, num_inference_steps=4)
    assert_close(mine, by_hand(pipeline.pipe, x, PROMPTS, 5.5, 1.0, 4, invert_at), x)


def test_the_two_places_of_inversion_differ(sd):
    embeds, x = sd.encode(PROMPTS), noise(sd)
    difference = sd.redenoise(embeds, x) - sd.redenoise(embeds, x, invert_at="published")
    assert difference.abs().max() > 1e-3


def test_redenoise_does_not_depend_on_the_sampler(euler):
    x = noise(euler)
    assert_close(euler.redenoise(euler.encode(PROMPTS), x), by_hand(euler.pipe, x, PROMPTS, 5.5, 1.0, 10, "paper"), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("invert_at", ["paper", "published"])
def test_redenoise_is_the_identity_when_the_denoiser_is_constant(dtype, invert_at):
    pipe = tiny.stable_diffusion()
    torch.nn.init.zeros_(pipe.unet.conv_out.weight)
    torch.nn.init.constant_(pipe.unet.conv_out.bias, 0.75)
    pipeline = Pipeline(pipe.to(dtype))
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    lower = pipeline.denoise_step(embeds, x, guidance_scale=5.5, num_inference_steps=10)
    assert (lower - x).abs().max() > 0.1
    back = pipeline.redenoise(embeds, x, invert_at=invert_at)
    assert back.dtype == torch.float32
    assert (back - x).abs().max() < 5e-6  # latents are not rounded to the network's precision on the way
    assert pipeline.redenoise(embeds, x.bfloat16()).dtype == torch.bfloat16


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


@pytest.mark.parametrize("steps", [2, 10, 50, 300, 999])
def test_levels_are_the_first_two_of_the_grid(sd, steps):
    k = 1000 // steps
    bar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    t_from, t_to, a, b = sd.levels(steps)
    assert (t_from, t_to) == (k * (steps - 1) + 1, k * (steps - 2) + 1)
    assert a == pytest.approx(bar[t_from].item(), rel=1e-4) and b == pytest.approx(bar[t_to].item(), rel=1e-4)


def test_levels_with_one_step_end_at_timestep_zero():
    trailing = tiny.scheduler(timestep_spacing="trailing", set_alpha_to_one=True)
    levels = ddim_levels(trailing.config, 1)
    assert (levels.t_from, levels.t_to, levels.alpha_to) == (999, 0, 1.0)
    pipeline = Pipeline(tiny.stable_diffusion(timestep_spacing="trailing"))
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    theirs = pipeline.pipe(PROMPTS, latents=x, num_inference_steps=1, guidance_scale=3.0, output_type="latent").images
    mine = pipeline.denoise_step(embeds, x, guidance_scale=3.0, num_inference_steps=1)
    assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_bad_input_is_one_clear_error(sd):
    embeds, x = sd.encode(PROMPTS), noise(sd)
    with pytest.raises(InputError, match=r"guidance scale 0\.5"):
        sd.denoise_step(embeds, x, guidance_scale=0.5, num_inference_steps=10)
    with pytest.raises(InputError, match="num_inference_steps 0"):
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
    with pytest.raises(ShapeError, match="0 x 64"):
        sd.sample(embeds, x, height=0)
    for texts in ("a red cube", []):
        with pytest.raises(InputError, match="list with at least one text"):
            sd.encode(texts)
    with pytest.raises(InputError, match="'sample'"):
        Pipeline(tiny.stable_diffusion(prediction_type="sample")).levels(10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("models") / "tiny")


def test_loading_a_folder(folder):
    mine, theirs = Pipeline.load(folder), DiffusionPipeline.from_pretrained(folder)
    assert (mine.name, mine.dtype, mine.device.type) == (str(folder), torch.float32, "cpu")
    x = noise(mine)
    weight = mine.pipe.unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    images = mine.sample(mine.encode(PROMPTS), x, guidance_scale=3.0, num_inference_steps=3)
    plain = theirs(PROMPTS, latents=x, guidance_scale=3.0, num_inference_steps=3).images
    assert np.abs(images.astype(int) - np.stack([np.asarray(image) for image in plain])).max() <= 1
    assert Pipeline.load(str(folder), dtype="bfloat16").dtype == torch.bfloat16


def test_loading_by_the_name_of_the_world(folder, monkeypatch):
    monkeypatch.setattr("noiseprompt.shapes.world.weights_folder", lambda: folder)
    assert Pipeline.load("shapes").name == "shapes"


def test_what_cannot_be_loaded_says_how_to_point_at_a_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model_index.json").write_text((folder / "model_index.json").read_text())
    for model in (
        tmp_path / "missing",
        str(tmp_path / "missing"),
        "missing",
        tmp_path / "empty",
        tmp_path / "broken",
        "no/thing",
    ):
        with pytest.raises(ModelLoadError, match="Pass a local folder") as caught:
            Pipeline.load(model)
        assert str(model) in str(caught.value)


def test_unsupported_pipelines_are_named(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "AudioLDMPipeline"}))
    with pytest.raises(ModelLoadError, match=r"AudioLDMPipeline.*StableDiffusionPipeline, StableDiffusionXLPipeline"):
        Pipeline.load(tmp_path)

    class OtherPipeline:
        config = {}

    with pytest.raises(ModelLoadError, match="OtherPipeline"):
        Pipeline(OtherPipeline())


def test_unusable_devices_and_dtypes_are_named(folder):
    with pytest.raises(InputError, match=r"'float8'.*float32"):
        Pipeline.load(folder, dtype="float8")
    with pytest.raises(InputError, match="'abacus'"):
        Pipeline.load(folder, device="abacus")


def test_coefficient_through_a_pipeline_is_the_theorems(sd):
    _, _, a, b = sd.levels(10)
    assert (math.sqrt(a * (1 - b)) - math.sqrt(b * (1 - a))) / math.sqrt(b) == pytest.approx(-0.385, abs=5e-4)
