"""Stable Diffusion and SDXL with a ControlNet: the families themselves, with a control image in every call.

They keep the names of their families, so that an NPNet for SDXL also starts SDXL with a ControlNet (paper, figure 12).
The control image is an openpose, canny or depth picture that is ready for the ControlNet; making one is not done here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from noiseprompt.core.errors import InputError
from noiseprompt.pipelines.families import stable_diffusion, stable_diffusion_xl

CLASSES = {
    "StableDiffusionPipeline": "StableDiffusionControlNetPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLControlNetPipeline",
}
"""Pipeline class -> the one that has a ControlNet too."""

TRAPS = (
    "the control image takes part in both steps of re-denoise, as in sampling; one image serves every prompt",
    "the control image is stretched to the size that is drawn: give it the same proportions",
    "calls of the ControlNet itself are not counted as denoiser calls",
)


def control_image(pipe: Any) -> dict[str, Any]:
    """What the pipeline call needs besides prompt and latents.

    Raises:
        InputError: no picture was set.
    """
    image = getattr(pipe, "control_image", None)
    if image is None:
        raise InputError(
            f"a {type(pipe).__name__} without a picture to follow",
            "a control image",
            "pass --control_image FILE, or call noiseprompt.pipelines.controlnet.set_control_image(pipe, image)",
        )
    return {"image": image}


STABLE_DIFFUSION = replace(
    stable_diffusion.FAMILY,
    pipeline_classes=(CLASSES["StableDiffusionPipeline"],),
    more_kwargs=control_image,
    traps=(*stable_diffusion.FAMILY.traps, *TRAPS),
)

STABLE_DIFFUSION_XL = replace(
    stable_diffusion_xl.FAMILY,
    pipeline_classes=(CLASSES["StableDiffusionXLPipeline"],),
    more_kwargs=control_image,
    traps=(*stable_diffusion_xl.FAMILY.traps, *TRAPS),
)

FAMILIES = (STABLE_DIFFUSION, STABLE_DIFFUSION_XL)
