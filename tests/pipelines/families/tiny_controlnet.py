"""Tiny pipelines with a ControlNet, from `tests.tiny` and a ControlNet that is not silent at the start."""

from __future__ import annotations

from typing import Any

import torch

from tests import tiny


def controlnet(unet: Any, seed: int = 1) -> Any:
    """A ControlNetModel for a U-Net; its closing convolutions, zero when fresh, are given random weights."""
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
    hint = net.controlnet_cond_embedding
    for block in (hint.conv_in, *hint.blocks, hint.conv_out):
        torch.nn.init.normal_(block.weight, std=0.2)
    for block in (*net.controlnet_down_blocks, net.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.1)
    return net.eval()


def stable_diffusion_controlnet(seed: int = 0) -> Any:
    """StableDiffusionControlNetPipeline."""
    from diffusers import StableDiffusionControlNetPipeline

    base = tiny.stable_diffusion(seed)
    pipe = StableDiffusionControlNetPipeline(
        **base.components, controlnet=controlnet(base.unet), requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stable_diffusion_xl_controlnet(seed: int = 0) -> Any:
    """StableDiffusionXLControlNetPipeline."""
    from diffusers import StableDiffusionXLControlNetPipeline

    base = tiny.stable_diffusion_xl(seed)
    pipe = StableDiffusionXLControlNetPipeline(
        **base.components, controlnet=controlnet(base.unet), add_watermarker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
