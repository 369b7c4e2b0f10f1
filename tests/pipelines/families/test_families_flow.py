"""Flow-matching families: tiny pipelines of their real classes against plain diffusers calls and written-out loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.families.flux import pack, unpack
from tests.pipelines.families.flow_cases import CASES, PROMPTS, Case, packed, pipeline_of, unpacked
from tests.pipelines.families.stages import run_stages

SIZE, TALL = (64, 64), (96, 64)


@pytest.fixture(params=CASES)
def name(request) -> str:
    return request.param


@pytest.fixture
def case(name) -> Case:
    return CASES[name]


@pytest.fixture
def pipeline(name) -> Pipeline:
    return pipeline_of(name)


def noise(pipeline: Pipeline, size=SIZE, count: int = 2) -> torch.Tensor:
    return batch_noise(range(count), pipeline.latent_shape(*size))


def plain(pipeline: Pipeline, case: Case, x: torch.Tensor, guidance: float, **options: Any) -> Any:
    """What a user types without this package."""
    height, width = x.shape[2] * 8, x.shape[3] * 8
    latents = packed(x) if case.packs else x
    return pipeline.pipe(
        list(PROMPTS), latents=latents, height=height, width=width, **case.call(guidance), **options
    ).images


def test_facts(pipeline, case):
    assert pipeline.family.name == case.family and pipeline.is_flow
    assert not pipeline.family.why_no_guidance(pipeline.pipe)
    assert pipeline.latent_shape(*SIZE) == (case.channels, 8, 8)
    assert pipeline.latent_shape(*TALL) == (case.channels, 12, 8)
    for size in ((72, 64), (64, 0), (64, 60)):
        with pytest.raises(ShapeError, match="multiples of 16"):
            pipeline.latent_shape(*size)
    embeds = pipeline.encode(PROMPTS)
    assert embeds.prompt_embeds.shape == (2, *case.text) and embeds.texts == tuple(PROMPTS)
    assert not torch.equal(embeds.prompt_embeds[0], embeds.prompt_embeds[1])
    picked = embeds.select([1, 0, 1])
    assert picked.texts == (PROMPTS[1], PROMPTS[0], PROMPTS[1]) and len(picked) == 3
    for key, value in embeds.call_kwargs.items():
        assert len(picked.call_kwargs[key]) == 3
        assert all(torch.equal(a, value[i]) for a, i in zip(picked.call_kwargs[key], (1, 0, 1), strict=True))


@pytest.mark.parametrize(("size", "guidance"), [(SIZE, 4.0), (TALL, 1.0)])
def test_sampling_is_the_plain_diffusers_call(pipeline, case, size, guidance):
    x = noise(pipeline, size)
    mine = pipeline.sample(pipeline.encode(PROMPTS), x, guidance_scale=guidance, num_inference_steps=3)
    theirs = plain(pipeline, case, x, guidance, num_inference_steps=3)
    assert mine.shape == (2, *size, 3) and mine.std() > 1
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))


@pytest.mark.parametrize("size", [SIZE, TALL])
def test_one_step_down_is_the_first_step_of_the_plain_call(pipeline, case, size):
    x = noise(pipeline, size)
    seen = []

    def first(pipe, index, timestep, kwargs):
        seen.append(kwargs["latents"])
        pipe._interrupt = True
        return kwargs

    plain(pipeline, case, x, 4.0, num_inference_steps=7, output_type="latent", callback_on_step_end=first)
    theirs = unpacked(seen[0], size) if case.packs else seen[0]
    sigmas = pipeline.pipe.scheduler.sigmas[:2].tolist()
    mine = pipeline.denoise_step(pipeline.encode(PROMPTS), x, guidance_scale=4.0, num_inference_steps=7)
    assert (theirs - x).abs().max() > 1e-3 and torch.allclose(mine, theirs, atol=1e-6)
    assert pipeline.levels(7, *size)[2:] == pytest.approx(sigmas, abs=1e-7)


@pytest.mark.parametrize("size", [SIZE, (1024, 1024)])
def test_levels_are_shifted_by_the_size(pipeline, case, name, size):
    tokens = (size[0] // 16) * (size[1] // 16)
    even = 1 - 1 / 10
    # SD3 counts evenly between its shifted ends, in place of 1, 0.9, ... 0.1
    low = 3 * 0.001 / (1 + 2 * 0.001)
    even = 1 + (low - 1) / 9 if name == "sd3" else even
    shift = case.shift(tokens)
    second = shift / (shift + 1 / even - 1)
    if name == "qwen":  # its grid is stretched to end at 0.02
        last = shift / (shift + 1 / 0.1 - 1)
        second = 1 - (1 - second) * (1 - 0.02) / (1 - last)
    if name == "sd3" and size != SIZE:
        pytest.skip("a tiny SD3 has no position embeddings for so large an image")
    t_from, t_to, s_from, s_to = pipeline.levels(10, *size)
    assert (t_from, s_from) == (1000, 1) and s_to == pytest.approx(second, abs=1e-6)
    assert t_to == pytest.approx(1000 * s_to)
    if name == "qwen":
        with pytest.raises(InputError, match="more steps"):
            pipeline.levels(1, *SIZE)
    else:
        assert pipeline.levels(1, *SIZE)[1:] == (0, 1, 0)


@pytest.mark.parametrize("invert_at", ["paper", "published"])
def test_redenoise_is_the_loop_written_by_hand(pipeline, case, invert_at):
    x, pipe = noise(pipeline, TALL), pipeline.pipe
    t_from, t_to, s_from, s_to = pipeline.levels(4, *TALL)

    def guided(x, t, scale):
        conditional = case.velocity(pipe, x, t, list(PROMPTS))
        if scale == 1:
            return conditional
        return case.guide(conditional, case.velocity(pipe, x, t, [case.empty] * 2), scale)

    with torch.no_grad():
        lower = x + (s_to - s_from) * guided(x, t_from, 6.0)
        upper = lower + (s_from - s_to) * guided(lower, t_to if invert_at == "paper" else t_from, 1.0)
    settings = {"denoise_guidance_scale": 6.0, "num_inference_steps": 4, "invert_at": invert_at}
    mine = pipeline.redenoise(pipeline.encode(PROMPTS), x, **settings)
    moved = (upper - x).abs().max()
    assert moved > 3e-3, "the oracle must move the noise"
    assert (mine - upper).abs().max() < 2e-3 * moved


def test_predictions_are_the_guided_velocity(pipeline, case):
    x, embeds = noise(pipeline), pipeline.encode(PROMPTS)
    mine = pipeline.predictions(embeds, x, guidance_scale=3.0, num_inference_steps=5)
    with torch.no_grad():
        conditional = case.velocity(pipeline.pipe, x, 1000.0, list(PROMPTS))
        empty = case.velocity(pipeline.pipe, x, 1000.0, [case.empty] * 2)
    assert mine.dtype == torch.float32
    assert torch.allclose(mine, case.guide(conditional, empty, 3.0), atol=1e-5)


def test_down_and_up_is_the_identity_when_the_velocity_is_constant(name, case):
    pipe = case.build()
    layer = pipe.transformer.get_submodule(case.last)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.constant_(layer.bias, 0.75)
    pipeline = Pipeline(pipe)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    lower = pipeline.denoise_step(embeds, x, guidance_scale=3.0, num_inference_steps=5)
    _, _, s_from, s_to = pipeline.levels(5, *SIZE)
    assert (lower - x - (s_to - s_from) * (0.75 if name != "z" else -0.75)).abs().max() < 1e-5
    back = pipeline.invert_step(embeds, lower, guidance_scale=3.0, num_inference_steps=5)
    assert (back - x).abs().max() < 2e-6
    assert (pipeline.redenoise(embeds, x, denoise_guidance_scale=3.0) - x).abs().max() < 2e-6


def test_denoiser_calls_count_rows(pipeline):
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)

    def spent(call, **options):
        before = pipeline.denoiser_calls
        call(embeds, x, **options)
        return pipeline.denoiser_calls - before

    assert spent(pipeline.redenoise, denoise_guidance_scale=3.0) == 2 * 3
    assert spent(pipeline.sample, num_inference_steps=3, guidance_scale=1.0) == 2 * 3
    assert spent(pipeline.sample, num_inference_steps=3, guidance_scale=2.0) == 2 * 6
    before = pipeline.denoiser_calls
    pipeline.levels(5, *SIZE)
    assert pipeline.denoiser_calls == before


def test_results_do_not_depend_on_the_batch(pipeline):
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    whole = pipeline.redenoise(embeds, x, denoise_guidance_scale=5.0)
    for i, prompt in enumerate(PROMPTS):
        for alone in (pipeline.encode([prompt]), embeds.select([i])):
            row = pipeline.redenoise(alone, x[i : i + 1], denoise_guidance_scale=5.0)
            assert torch.allclose(row, whole[i : i + 1], atol=1e-5)


def test_the_pipeline_is_as_before(pipeline):
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    own, config = pipeline.pipe.scheduler, dict(pipeline.pipe.scheduler.config)
    pipeline.levels(3, *SIZE)
    timesteps = own.timesteps.tolist()
    pipeline.redenoise(embeds, x, denoise_guidance_scale=2.0)
    assert pipeline.pipe.scheduler is own and dict(own.config) == config and own.timesteps.tolist() == timesteps
    assert not pipeline.denoiser._forward_pre_hooks


def test_steps_out_of_range_are_refused(pipeline):
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    for steps in (0, 1001):
        with pytest.raises(InputError, match=f"steps {steps}"):
            pipeline.redenoise(embeds, x, num_inference_steps=steps, denoise_guidance_scale=2.0)
        with pytest.raises(InputError, match=f"num_inference_steps {steps}"):
            pipeline.levels(steps)
    assert not pipeline.can_share_first_step


def test_packing_is_diffusers_packing():
    x = torch.randn(2, 3, 6, 4)
    assert torch.equal(pack(x), packed(x)) and torch.equal(unpack(pack(x), 6, 4), x)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("flow")
    for name in CASES:
        pipeline_of(name).pipe.save_pretrained(root / f"tiny-{name}")
    return {name: root / f"tiny-{name}" for name in CASES}


def test_half_precision_leaves_the_noise_whole(folders, name, case):
    pipeline = Pipeline.load(folders[name], dtype="bfloat16")
    torch.nn.init.zeros_(pipeline.denoiser.get_submodule(case.last).weight)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    target = pipeline.redenoise(embeds, x, denoise_guidance_scale=3.0)
    assert target.dtype == torch.float32 and (target - x).abs().max() < 2e-6
    assert pipeline.sample(embeds, x, num_inference_steps=2).shape == (2, 64, 64, 3)


def test_from_the_command_line(folders, name, case, tmp_path, capsys):
    net = run_stages(folders[name], tmp_path, case.family, size=SIZE)
    assert (net.config.text_length, net.config.text_width) == case.text
