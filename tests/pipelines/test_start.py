"""The level where sampling begins: what the denoiser of the unmodified pipeline is shown first, against the formula."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError, ShapeError
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.samplers import make_scheduler
from noiseprompt.pipelines.table import SCHEDULERS
from tests import tiny, tiny_flow
from tests.pipelines.families import tiny_hunyuan, tiny_pixart, tiny_sana

PROMPT = "a red cube"


class Reached(Exception):
    """The denoiser was reached."""


def first_seen(pipe: Any, denoiser: str, **arguments: Any) -> tuple[torch.Tensor, float]:
    """What the denoiser of an unmodified pipeline is given first, and its timestep."""
    seen: dict[str, Any] = {}

    def before(module: Any, args: tuple, named: dict[str, Any]) -> None:
        seen.update(zip(inspect.signature(module.forward).parameters, args, strict=False))
        seen.update(named)
        raise Reached

    hook = getattr(pipe, denoiser).register_forward_pre_hook(before, with_kwargs=True)
    try:
        with pytest.raises(Reached):
            pipe(PROMPT, **arguments)
    finally:
        hook.remove()
    sample = next(seen[name] for name in ("sample", "hidden_states", "x") if name in seen)
    timestep = next(seen[name] for name in ("timestep", "t") if name in seen)
    return sample[:1].double(), float(torch.as_tensor(timestep).flatten()[0])


def bars(zero_snr: bool = False) -> np.ndarray:
    """alpha-bar of Stable Diffusion's schedule, if asked moved and stretched to end at 0 (Lin et al., algorithm 1)."""
    roots = np.sqrt(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
    if zero_snr:
        roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    return roots**2


@functools.cache
def sd() -> Any:
    return tiny.stable_diffusion()


def with_scheduler(text: str, **own: Any) -> Pipeline:
    """The tiny Stable Diffusion, its parts shared, with another scheduler."""
    pipe = copy.copy(sd())
    pipe.scheduler = tiny.scheduler(**own)
    pipe.scheduler = make_scheduler(pipe, text)
    return Pipeline(pipe)


def two(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(1, *shape, generator=generator), torch.rand(1, *shape, generator=generator)


SPACED = ["ddim", "deis", "dpm++", "euler", "euler-ancestral", "heun", "kdpm2", "lms", "pndm", "unipc"]
KARRAS = ["deis", "dpm++", "dpm++-single", "euler", "heun", "unipc"]
NAMES = [
    *(name for name in SCHEDULERS if name == name.lower() and not name.startswith("flow")),
    *(f"{name}:timestep_spacing={way}" for name in SPACED for way in ("trailing", "linspace")),
    *(f"{name}:use_karras_sigmas=true" for name in KARRAS),
    "dpm++:algorithm_type=sde-dpmsolver++",
    "euler:use_exponential_sigmas=true",
    "pndm:skip_prk_steps=false",
]


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("steps", [4, 11])
def test_the_denoiser_is_shown_the_forward_process(text: str, steps: int) -> None:
    pipeline = with_scheduler(text)
    level = pipeline.start_level(steps)
    x, h = two((4, 8, 8))
    latents = level.noise * x + level.signal * h
    seen, timestep = first_seen(pipeline.pipe, "unet", latents=latents, num_inference_steps=steps, guidance_scale=3.0)
    alpha = float(np.interp(timestep, np.arange(1000), bars()))
    expected = np.sqrt(1 - alpha) * x.double() + np.sqrt(alpha) * h.double()
    assert timestep > 700 and (seen - expected).abs().max() < 2e-3


@pytest.mark.parametrize("text", ["euler", "heun", "euler-ancestral"])
def test_latents_that_the_pipeline_only_multiplies_by_sigma(text: str) -> None:
    level = with_scheduler(f"{text}:timestep_spacing=trailing").start_level(10)
    alpha = bars()[999]
    assert level.noise == pytest.approx(1, abs=1e-5)
    assert level.signal == pytest.approx(np.sqrt(alpha / (1 - alpha)), rel=1e-4)
    level = with_scheduler(text).start_level(10)
    assert (level.noise, level.signal) == pytest.approx((np.sqrt(1 - bars()[901]), np.sqrt(bars()[901])), rel=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["ddim", "dpm++", "euler"])
def test_zero_terminal_snr(name: str, prediction: str) -> None:
    own = {"rescale_betas_zero_snr": True, "prediction_type": prediction}
    pipeline = with_scheduler(f"{name}:rescale_betas_zero_snr=true", **own)
    level, (x, h) = pipeline.start_level(4), two((4, 8, 8))
    seen, timestep = first_seen(
        pipeline.pipe, "unet", latents=level.noise * x + level.signal * h, num_inference_steps=4, guidance_scale=1.0
    )
    alpha = bars(zero_snr=True)[int(timestep)]
    assert 0 < alpha < 0.3
    assert (seen - (np.sqrt(1 - alpha) * x + np.sqrt(alpha) * h).double()).abs().max() < 1e-3


@pytest.mark.parametrize(
    "text", [*(f"{name}:timestep_spacing=trailing" for name in ("ddim", "dpm++", "euler")), "lcm:"]
)
def test_zero_terminal_snr_without_room_is_refused(text: str) -> None:
    mark = "" if text.endswith(":") else ","
    pipeline = with_scheduler(f"{text}{mark}rescale_betas_zero_snr=true", rescale_betas_zero_snr=True)
    with pytest.raises(InputError, match=r"begin at pure noise \(zero terminal SNR\).*spacing=leading"):
        pipeline.start_level(4)


def test_a_published_schedule_and_the_default_number_of_steps() -> None:
    pipeline = with_scheduler("dpm++")
    assert pipeline.start_level() == pipeline.start_level(pipeline.family.num_inference_steps)
    pipeline.schedule = "ays"
    level = pipeline.start_level(10)
    alpha = bars()[999]  # Align Your Steps begins at the last timestep
    assert (level.noise, level.signal) == pytest.approx((np.sqrt(1 - alpha), np.sqrt(alpha)), rel=1e-4)
    x, h = two((4, 8, 8))
    ays = diffusers.schedulers.AysSchedules["StableDiffusionTimesteps"]
    latents = level.noise * x + level.signal * h
    seen, timestep = first_seen(pipeline.pipe, "unet", latents=latents, timesteps=ays, guidance_scale=1.0)
    assert timestep == 999 and (seen - latents).abs().max() < 1e-4
    with pytest.raises(InputError, match="7 steps with schedule 'ays'"):
        pipeline.start_level(7)


OTHERS = {
    "stable_diffusion_xl": (tiny.stable_diffusion_xl, "unet"),
    "hunyuan_dit": (tiny_hunyuan.hunyuan_dit, "transformer"),
    "pixart": (tiny_pixart.pixart, "transformer"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_families(name: str) -> None:
    build, denoiser = OTHERS[name]
    pipeline = Pipeline(build())
    level, (x, h) = pipeline.start_level(5), two(pipeline.latent_shape())
    latents, own = level.noise * x + level.signal * h, pipeline.pipe.scheduler
    height, width = pipeline.default_size
    arguments: dict[str, Any] = {"height": height, "width": width, "num_inference_steps": 5}
    if "use_resolution_binning" in inspect.signature(type(pipeline.pipe).__call__).parameters:
        arguments["use_resolution_binning"] = False
    seen, timestep = first_seen(pipeline.pipe, denoiser, latents=latents, **arguments)
    alpha = float(own.alphas_cumprod[int(timestep)])
    assert (seen - (np.sqrt(1 - alpha) * x + np.sqrt(alpha) * h).double()).abs().max() < 1e-3


def shifted(pipe: Any, sigma_max: float = 0.9) -> Any:
    """A flow pipeline whose scheduler begins below pure noise."""
    pipe.scheduler.sigma_max = sigma_max
    return pipe


@pytest.mark.parametrize("scheduler", ["own", "dpm++:flow_shift=0.05", "flow-heun"])
def test_flow(scheduler: str) -> None:
    pipe = tiny_flow.stable_diffusion_3()
    pipe.scheduler = pipe.scheduler if scheduler == "own" else make_scheduler(pipe, scheduler)
    pipeline = Pipeline(shifted(pipe))
    level, (x, h) = pipeline.start_level(4), two((16, 8, 8))
    seen, timestep = first_seen(
        pipe, "transformer", latents=level.noise * x + level.signal * h, num_inference_steps=4, guidance_scale=1.0
    )
    sigma = timestep / 1000  # which is what the denoiser is told
    assert sigma < 0.99
    assert (seen - (sigma * x + (1 - sigma) * h).double()).abs().max() < 2e-3  # DPM-Solver rounds timesteps


@pytest.mark.parametrize("build", [tiny_flow.stable_diffusion_3, tiny_flow.flux, tiny_flow.z_image, tiny_sana.sana])
def test_flow_that_begins_at_pure_noise_is_refused(build: Any) -> None:
    pipeline = Pipeline(build())
    with pytest.raises(
        InputError, match=r'begin at pure noise \(flow matching at sigma 1\).*[Cc]hoose scheduler "flow-euler-below"'
    ):
        pipeline.start_level(4, 64, 64)


@pytest.mark.parametrize("build", [tiny_flow.stable_diffusion_3, tiny_flow.flux, tiny_flow.z_image, tiny_sana.sana])
@pytest.mark.parametrize("first", [0.95, 0.9])
def test_flow_from_below_pure_noise_has_room(build: Any, first: float) -> None:
    pipe = build()
    text = "flow-euler-below" if first == 0.95 else f"flow-euler-below:first_sigma={first}"
    pipe.scheduler = make_scheduler(pipe, text)
    pipeline = Pipeline(pipe)
    level = pipeline.start_level(4, 64, 64)
    assert (level.noise, level.signal) == pytest.approx((first, 1 - first), abs=1e-6)
    assert [round(float(s), 6) for s in scaled(pipe, first)] == [round(float(s), 6) for s in pipe.scheduler.sigmas]


def scaled(pipe: Any, first: float) -> Any:
    """The sigmas of diffusers' own class for three steps, times `first`; the pipeline's scheduler is set for them."""
    plain = diffusers.FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config)
    mu = {"mu": 1.15} if plain.config.use_dynamic_shifting else {}
    plain.set_timesteps(3, **mu)
    pipe.scheduler.set_timesteps(3, **mu)
    assert torch.equal(pipe.scheduler.timesteps, plain.timesteps * first)
    return plain.sigmas * first


def test_a_call_from_below_is_diffusers_own_with_these_sigmas() -> None:
    """A picture is carried from there, and drawn as the plain pipeline draws it."""
    pipe = tiny_flow.stable_diffusion_3(shift=1.0)
    plain = copy.deepcopy(pipe.scheduler)
    pipe.scheduler = make_scheduler(pipe, "flow-euler-below:first_sigma=0.9")
    pipeline = Pipeline(pipe)
    level, (x, h) = pipeline.start_level(4), two((16, 8, 8))
    latents = level.noise * x + level.signal * h
    mine = pipeline.sample(pipeline.encode(["a cat"]), latents, num_inference_steps=4, guidance_scale=3.0)
    plain.set_timesteps(4)
    pipe.scheduler, sigmas = plain, [0.9 * float(s) for s in plain.sigmas[:-1]]
    theirs = pipe("a cat", latents=latents, sigmas=sigmas, guidance_scale=3.0, output_type="np").images
    assert np.abs(mine / 255 - theirs).max() < 0.01 and theirs.std() > 0.01


@pytest.mark.parametrize("first", ["0", "1", "1.5", "nan", "x"])
def test_a_first_sigma_out_of_range_is_refused(first: str) -> None:
    with pytest.raises(NoisepromptError, match="first_sigma"):
        make_scheduler(tiny_flow.stable_diffusion_3(), f"flow-euler-below:first_sigma={first}")


def test_steps_and_sizes_out_of_range() -> None:
    pipeline = Pipeline(sd())
    with pytest.raises(InputError, match="num_inference_steps 1001"):
        pipeline.start_level(1001)
    with pytest.raises(InputError, match=r"num_inference_steps 1000 with a DDIMScheduler.*fewer steps"):
        pipeline.start_level(1000)
    with pytest.raises(ConfigError):
        pipeline.start_level(0)
    with pytest.raises(ShapeError):
        pipeline.start_level(4, 65, 64)


def test_the_scheduler_is_left_as_it_was() -> None:
    pipeline = with_scheduler("pndm")
    own = pipeline.pipe.scheduler
    own.set_timesteps(7)
    before = own.timesteps.clone()
    pipeline.start_level(3)
    assert pipeline.pipe.scheduler is own and torch.equal(own.timesteps, before)


def test_other_schedulers_are_read_or_refused() -> None:
    """EDM's state is x_0 + sigma eps as Euler's, whatever it shows its denoiser; VQ diffusion has no such level."""
    pipeline = with_scheduler("ddim")
    pipeline.pipe.scheduler = diffusers.EDMEulerScheduler()
    level = pipeline.start_level(4)
    assert (level.noise, level.signal) == pytest.approx((80 / 6401**0.5, 1 / 6401**0.5), rel=1e-4)
    pipeline.pipe.scheduler = diffusers.VQDiffusionScheduler(num_vec_classes=7)
    with pytest.raises(InputError, match="VQDiffusionScheduler, of which the first noise level cannot be read"):
        pipeline.start_level(4)
