"""Every family on an accelerator: texts, steps and images, from noise on the CPU as the commands draw it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.families import FAMILIES
from tests import tiny, tiny_flow
from tests.devices import DEVICE, accelerator
from tests.pipelines.families.checks import PROMPTS
from tests.pipelines.families.tiny_pixart import pixart
from tests.pipelines.families.tiny_sana import sana

# without Hunyuan-DiT, which makes tensors of tensors: the pretended device cannot
PIPELINES: dict[str, Callable[[], Any]] = {
    "stable-diffusion-xl": tiny.stable_diffusion_xl,
    "stable-diffusion-3": tiny_flow.stable_diffusion_3,
    "flux": tiny_flow.flux,
    "qwen-image": tiny_flow.qwen_image,
    "z-image": tiny_flow.z_image,
    "pixart": pixart,
    "sana": sana,
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_family_works_on_a_device(name: str) -> None:
    def drawn(device: Any) -> tuple[torch.Tensor, np.ndarray]:
        pipeline = Pipeline(PIPELINES[name]().to(device))
        assert pipeline.family.name in {family.name for family in FAMILIES}
        side = max(32, pipeline.family.multiple(pipeline.pipe))
        noise, embeds = batch_noise([1, 2], pipeline.latent_shape(side, side)), pipeline.encode(PROMPTS)
        assert embeds.select([1]).prompt_embeds.device == torch.device(device)
        target = pipeline.redenoise(embeds, noise, denoise_guidance_scale=3.0)
        assert target.device.type == "cpu"
        generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        return target, pipeline.sample(embeds, target, num_inference_steps=2, generator=generators)

    expected, images = drawn("cpu")
    with accelerator(float64=True):  # diffusers asks by name which devices lack it
        found, pictures = drawn(DEVICE)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-2)
    assert np.abs(images.astype(int) - pictures).max() <= 2
