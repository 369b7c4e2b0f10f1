"""What every family must do, against diffusers itself. `pipeline` is ours, loaded from a folder; prompts are PROMPTS.

A family whose scheduler is not deterministic, or whose call has no `callback_on_step_end`, writes its own version of
`check_first_step`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline

PROMPTS = ["a red cube", "two blue ball"]


def packed(pipe: Any, x: torch.Tensor) -> torch.Tensor:
    """Latents (B, C, H, W) as the pipeline wants them, by its own packing if it has one."""
    return pipe._pack_latents(x, *x.shape) if hasattr(pipe, "_pack_latents") else x


def check_sampling(pipeline: Pipeline, height: int, width: int, guidance_scale: float, **plain: Any) -> None:
    """`sample` is, bit for bit, the plain call of the diffusers pipeline with prompts, and of the size asked.

    Args:
        plain: further arguments of the plain call.
    """
    x = batch_noise([1, 2], pipeline.latent_shape(height, width))
    settings = {"guidance_scale": guidance_scale, "num_inference_steps": 3}
    mine = pipeline.sample(pipeline.encode(PROMPTS), x, **settings)
    theirs = pipeline.pipe(
        PROMPTS, latents=packed(pipeline.pipe, x), height=height, width=width, **settings, **plain
    ).images
    assert mine.shape == (2, height, width, 3) and mine.std() > 1
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))


def check_first_step(pipeline: Pipeline, height: int, width: int, guidance_scale: float, **plain: Any) -> None:
    """`denoise_step` is the first step of the plain call on ten steps, of a first-order scheduler."""
    x = batch_noise([3, 4], pipeline.latent_shape(height, width))
    seen: list[torch.Tensor] = []

    def keep(pipe: Any, step: int, timestep: Any, found: dict[str, Any]) -> dict[str, Any]:
        seen.append(found["latents"])
        return found

    settings = {"guidance_scale": guidance_scale, "num_inference_steps": 10, "output_type": "latent"}
    size = {"height": height, "width": width}
    pipeline.pipe(PROMPTS, latents=packed(pipeline.pipe, x), callback_on_step_end=keep, **settings, **size, **plain)
    embeds = pipeline.encode(PROMPTS)
    mine = pipeline.denoise_step(embeds, x, guidance_scale=guidance_scale, num_inference_steps=10)
    assert (mine - x).abs().max() > 1e-3
    mine = packed(pipeline.pipe, mine)
    assert (mine - seen[0]).abs().max() < 1e-5 * seen[0].abs().max()


def check_redenoise(pipeline: Pipeline, height: int, width: int) -> None:
    """More guidance, more perturbation; and the identity where the denoiser always says the same."""
    x, embeds = batch_noise([5, 6], pipeline.latent_shape(height, width)), pipeline.encode(PROMPTS)
    base = pipeline.redenoise(embeds, x, denoise_guidance_scale=2.0)
    near, far = (
        (pipeline.redenoise(embeds, x, denoise_guidance_scale=scale) - base).abs().max() for scale in (3.0, 9.0)
    )
    assert 0 < 2 * near < far

    def constant(module: Any, args: Any, output: Any) -> Any:
        same = tuple(torch.full_like(part, 0.75) for part in output if isinstance(part, torch.Tensor))
        return same if isinstance(output, tuple) else type(output)(*same)

    hook = pipeline.denoiser.register_forward_hook(constant)
    try:
        lower = pipeline.denoise_step(embeds, x, guidance_scale=5.0, num_inference_steps=10)
        back = pipeline.redenoise(embeds, x, denoise_guidance_scale=5.0)
    finally:
        hook.remove()
    assert (lower - x).abs().max() > 1e-3 and (back - x).abs().max() < 1e-5
