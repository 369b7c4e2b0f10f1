"""Other samplers and schedules: bit for bit what diffusers draws with the same scheduler and the same latents."""

from __future__ import annotations

import copy
import functools
import re
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.schedulers import AysSchedules

from noiseprompt.core.errors import InputError, UnknownNameError
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.noise.seeds import batch_noise, sampler_generators
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.samplers import check_steps, make_scheduler, schedule_arguments
from noiseprompt.stages.collect.collect import find_teacher
from noiseprompt.stages.collect.pairs import PairMaker
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.generate.winning import winning_noise
from tests import tiny
from tests.evaluation_fakes import FakeScorer
from tests.pipelines.families import tiny_sana

PROMPTS = ["a red cube", "of an age"]
SEEDS = [3, 4]
SAMPLERS = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "ddpm": "DDPMScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "kdpm2-ancestral": "KDPM2AncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "unipc": "UniPCMultistepScheduler",
    "lcm": "LCMScheduler",
    "EulerDiscreteScheduler": "EulerDiscreteScheduler",
}


@functools.cache
def sdxl() -> Any:
    return tiny.stable_diffusion_xl()


@functools.cache
def npnet() -> NPNet:
    torch.manual_seed(1)
    net = build(tokens_config((4, 8, 8), tiny.TEXT_LENGTH, 64, family="stable-diffusion-xl"))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


@pytest.fixture
def pipeline() -> Any:
    """Tiny SDXL; its own scheduler is put back afterwards."""
    own = sdxl().scheduler
    yield Pipeline(sdxl())
    sdxl().scheduler = own


@pytest.mark.parametrize(("name", "cls"), SAMPLERS.items())
def test_winning_noise_through_any_sampler(pipeline: Pipeline, name: str, cls: str) -> None:
    pipe = pipeline.pipe
    latents = winning_noise(pipe, npnet(), PROMPTS, seeds=SEEDS)
    assert (latents - batch_noise(SEEDS, (4, 8, 8))).abs().max() > 1e-3
    plain = copy.copy(pipe)
    extra = {"skip_prk_steps": True} if name == "pndm" else {}  # as in the configuration of every Stable Diffusion
    plain.scheduler = getattr(diffusers, cls).from_config(pipe.scheduler.config, **extra)
    same = {"guidance_scale": 4.0, "num_inference_steps": 3}
    theirs = plain(PROMPTS, latents=latents, generator=sampler_generators(SEEDS), output_type="np", **same).images
    pipe.scheduler = make_scheduler(pipe, name)
    assert type(pipe.scheduler).__name__ == cls
    mine = pipeline.sample(pipeline.encode(PROMPTS), latents, generator=sampler_generators(SEEDS), **same)
    np.testing.assert_array_equal(mine, (theirs * 255).round().astype(np.uint8))


@pytest.mark.parametrize("name", [*SAMPLERS, "dpm++:use_karras_sigmas=true"])
def test_collection_moves_on_the_ddim_grid_whatever_draws_the_images(pipeline: Pipeline, name: str) -> None:
    x, embeds = batch_noise(SEEDS, (4, 8, 8)), pipeline.encode(PROMPTS)
    expected = pipeline.redenoise(embeds, x)
    pipeline.pipe.scheduler = make_scheduler(pipeline.pipe, name)
    assert torch.equal(pipeline.redenoise(embeds, x), expected)
    assert type(pipeline.pipe.scheduler).__name__ == SAMPLERS.get(name, "DPMSolverMultistepScheduler")


def test_pairs_keep_their_targets_and_change_their_scores(pipeline: Pipeline) -> None:
    items = [(Prompt(text), seed) for text, seed in zip(PROMPTS, SEEDS, strict=True)]
    config = CollectConfig(
        denoise_guidance_scale=5.5,
        invert_guidance_scale=1.0,
        redenoise_steps=4,
        guidance_scale=3.0,
        num_inference_steps=4,
    )

    def make() -> list[Any]:
        teacher = find_teacher(pipeline, config)
        return PairMaker(pipeline, [FakeScorer()], teacher, Sampling.of(config)).make(items)

    plain = make()
    pipeline.pipe.scheduler = make_scheduler(pipeline.pipe, "euler-ancestral")
    other, again = make(), make()
    for a, b, c in zip(plain, other, again, strict=True):
        assert not a.rejected and not b.rejected
        np.testing.assert_array_equal(a.target, b.target)
        assert a.scores != b.scores
        assert b.scores == c.scores  # the sampler's own noise follows from the seed


def test_noise_is_unit_gaussian_at_our_border(pipeline: Pipeline) -> None:
    """Euler starts from latents scaled by 5 or 14; what the denoiser sees first is the unit noise that was given."""
    pipeline.pipe.scheduler = make_scheduler(pipeline.pipe, "euler")
    seen: list[torch.Tensor] = []
    hook = pipeline.denoiser.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[0]), with_kwargs=True
    )
    x = winning_noise(pipeline, npnet(), PROMPTS, seeds=SEEDS)
    pipeline.sample(pipeline.encode(PROMPTS), x, guidance_scale=1.0, num_inference_steps=3)
    hook.remove()
    assert float(pipeline.pipe.scheduler.init_noise_sigma) > 3
    torch.testing.assert_close(seen[0], x, atol=1e-5, rtol=1e-5)


def test_two_images_of_one_seed_get_the_same_sampler_noise(pipeline: Pipeline) -> None:
    first, second = sampler_generators([5, 5])
    other = sampler_generators([6])[0]
    a, b, c = (torch.randn(4, generator=g) for g in (first, second, other))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert not torch.equal(a, torch.randn(4, generator=torch.Generator().manual_seed(5)))  # not the source noise again


# ------------------------------------------------------------------------------------------------------------ schedules


@pytest.mark.parametrize("name", ["dpm++", "euler", "heun", "ddpm"])
def test_ays_is_the_plain_call_with_its_timesteps(pipeline: Pipeline, name: str) -> None:
    pipe = pipeline.pipe
    pipe.scheduler = make_scheduler(pipe, name)
    x = batch_noise(SEEDS, (4, 8, 8))
    same = {"generator": sampler_generators(SEEDS), "guidance_scale": 3.0}
    theirs = pipe(PROMPTS, latents=x, timesteps=AysSchedules["StableDiffusionXLTimesteps"], output_type="np", **same)
    pipeline.schedule = "ays"
    same["generator"] = sampler_generators(SEEDS)
    mine = pipeline.sample(pipeline.encode(PROMPTS), x, num_inference_steps=10, **same)
    np.testing.assert_array_equal(mine, (theirs.images * 255).round().astype(np.uint8))


@pytest.mark.parametrize("name", ["ddim", "euler-ancestral", "pndm", "unipc", "dpm++:use_karras_sigmas=true"])
def test_ays_is_refused_where_it_cannot_be_followed(pipeline: Pipeline, name: str) -> None:
    pipeline.pipe.scheduler = make_scheduler(pipeline.pipe, name)
    with pytest.raises(InputError, match=r"schedule 'ays'.*(dpm\+\+|noise levels)"):
        schedule_arguments(pipeline.pipe, pipeline.family, "ays", 10)


def test_ays_has_ten_steps_and_two_kinds_of_models(pipeline: Pipeline) -> None:
    pipe = pipeline.pipe
    pipe.scheduler = make_scheduler(pipe, "dpm++")
    with pytest.raises(InputError, match="20 steps.*expected 10".replace("expected", "Expected")):
        schedule_arguments(pipe, pipeline.family, "ays", 20)
    assert schedule_arguments(pipe, pipeline.family, None, 20) == {}
    one = tiny.stable_diffusion()
    one.scheduler = make_scheduler(one, "dpm++")
    family = Pipeline(one).family
    assert schedule_arguments(one, family, "ays", 10) == {"timesteps": AysSchedules["StableDiffusionTimesteps"]}


# -------------------------------------------------------------------------------------------------- building schedulers


def test_the_noise_schedule_stays_whatever_the_class_supposes() -> None:
    """LCM's class default is another beta schedule than DDIM's; a v-prediction stays one; latents are not clipped."""
    pipe = tiny.stable_diffusion()
    pipe.scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction")  # linear betas, clipping by default
    betas = torch.linspace(1e-4, 0.02, 1000)
    for name in ("lcm", "ddpm", "dpm++", "ddim", "unipc"):
        made = make_scheduler(pipe, name)
        torch.testing.assert_close(made.betas, betas)
        assert made.config.prediction_type == "v_prediction"
        assert not made.config.get("clip_sample") and not made.config.get("thresholding")


def test_settings_after_a_colon() -> None:
    made = make_scheduler(sdxl(), "dpm++:use_karras_sigmas=true, solver_order=3")
    assert made.config.use_karras_sigmas is True and made.config.solver_order == 3
    with pytest.raises(InputError, match=r"option 'karras=1' of the scheduler.*use_karras_sigmas"):
        make_scheduler(sdxl(), "dpm++:karras=1")
    with pytest.raises(InputError, match="DPMSolverMultistepScheduler does not take algorithm_type=wrong"):
        make_scheduler(sdxl(), "dpm++:algorithm_type=wrong")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dpm++:num_train_timesteps=0", "num_train_timesteps 0. Expected a whole number from 1 to 10,000"),
        ("dpm++:solver_order=9", "solver_order 9. Expected a whole number from 1 to 3"),
        ("ddim:steps_offset=-5", "steps_offset -5. Expected a whole number, 0 or more"),
        ("ddim:steps_offset=5000", "does not take steps_offset=5000: its timesteps leave its noise schedule"),
        ("ddim:beta_start=0.9,beta_end=0.1", "beta_start 0.9 with beta_end 0.1"),
        ("ddim:beta_end=2", "beta_end 2. Expected a number between 0 and 1"),
        ("ddim:trained_betas=0.1", "trained_betas 0.1. Expected a list, each a"),
        ("euler:steps_offset=5000", "does not take steps_offset=5000: its timesteps leave its noise schedule"),
        ("euler:sigma_min=-1", "sigma_min -1. Expected a number, 0 or more"),
        ("euler:sigma_max=0", "sigma_max 0. Expected a number above 0"),
        ("euler:sigma_min=5000,use_karras_sigmas=true", "its noise grows on the way"),
        ("euler:sigma_min=0,use_karras_sigmas=true", "it draws what is not finite"),
        ("lcm:timestep_scaling=-1", "timestep_scaling -1. Expected a number above 0"),
        ("dpm++:variance_type=5", "variance_type 5. Expected one of"),
        ("flow-euler:shift=0", "shift 0. Expected a number above 0 to 1,000"),
        ("flow-euler:shift_terminal=1", "shift_terminal 1. Expected a number between 0 and 1"),
        ("unipc:flow_shift=1e9", "flow_shift 1000000000.0. Expected a number above 0 to 1,000"),
    ],
)
def test_settings_that_diffusers_would_draw_something_of_are_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        make_scheduler(sdxl(), text)


@pytest.mark.parametrize(
    ("text", "steps", "told"),
    [
        (
            "lcm:original_inference_steps=5",
            6,
            "num_inference_steps 6 of a LCMScheduler with original_inference_steps 5",
        ),
        ("lcm", 51, "Expected 1 to 50"),
        ("ddim:steps_offset=50", 50, "50 with a DDIMScheduler: timestep 1030. Expected timesteps to 999"),
        ("euler:steps_offset=50", 50, "timestep 1030. Expected timesteps to 1000"),
        ("ddim", 1001, "num_inference_steps 1001. Expected 1 to 1000"),
        ("ddim", 0, "num_inference_steps 0. Expected 1 to 1000"),
        ("pndm:steps_offset=5", 1000, "1000 with a PNDMScheduler: timestep 1004. Expected timesteps to 999"),
    ],
)
def test_steps_that_a_scheduler_cannot_do_are_refused(text: str, steps: int, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        check_steps(make_scheduler(sdxl(), text), steps)


@pytest.mark.parametrize(
    ("text", "steps"), [("lcm:original_inference_steps=5", 5), ("euler", 1000), ("ddim", 50), ("pndm", 1)]
)
def test_steps_that_a_scheduler_can_do_are_not(text: str, steps: int) -> None:
    check_steps(make_scheduler(sdxl(), text), steps)


@pytest.mark.parametrize(
    ("name", "hint"), [("dmp++", "dpm[+][+]"), ("DDIMSheduler", "DDIMScheduler"), ("x", "expected")]
)
def test_unknown_names_get_suggestions(name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=f"(?i)unknown scheduler.*{hint}"):
        make_scheduler(sdxl(), name)


def test_flow_schedulers_are_for_flow_models() -> None:
    with pytest.raises(InputError, match="no flow-matching model"):
        make_scheduler(sdxl(), "flow-euler")


def test_a_flow_model_with_other_flow_samplers() -> None:
    """Sana as published draws with DPM-Solver++ in its flow form; Euler's is built on the same shift."""
    pipe = tiny_sana.sana()
    x = torch.randn(1, 32, 2, 2, generator=torch.Generator().manual_seed(1))
    for name, expected in (
        ("flow-euler", diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)),
        ("unipc", diffusers.UniPCMultistepScheduler.from_config(pipe.scheduler.config)),
    ):
        plain = copy.copy(pipe)
        plain.scheduler = expected
        same = {"guidance_scale": 3.0, "num_inference_steps": 3, "use_resolution_binning": False}
        theirs = plain("a red cube", latents=x, height=64, width=64, output_type="np", **same)
        pipeline = Pipeline(tiny_sana.sana())
        pipeline.pipe.scheduler = make_scheduler(pipeline.pipe, name)
        mine = pipeline.sample(pipeline.encode(["a red cube"]), x, guidance_scale=3.0, num_inference_steps=3)
        np.testing.assert_array_equal(mine, (theirs.images * 255).round().astype(np.uint8))
    with pytest.raises(InputError, match="flow-matching model"):
        make_scheduler(pipe, "ddim")
