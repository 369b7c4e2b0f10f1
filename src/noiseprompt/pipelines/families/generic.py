"""Pipelines of no family: what can be read from the class itself, and a warning that says what is assumed.

The prompt goes to the pipeline as text, so re-denoise and sampling work; an NPNet sees no text embedding and cannot be
trained. Pipelines that pack their latents, or whose call lacks an argument, end in one error.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from noiseprompt.core.errors import NoisepromptWarning
from noiseprompt.pipelines.families.base import UNLIMITED, Family
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.families.sizes import at_least_eight, patches

NEEDED = ("prompt", "latents", "height", "width", "num_inference_steps", "output_type")
HANDS_SIGMAS = ("Lumina",)
"""Beginnings of class names whose calls hand sigmas to their scheduler, beside those that are named after a family."""
ELSE = {
    "mask_image": "its call fills a hole in a picture",
    "num_frames": "it draws films",
    "video_length": "it draws films",
    "audio_end_in_s": "it makes sounds",
}
"""Argument of a call -> what such a pipeline does in place of drawing a picture from a prompt."""

SIDE = 32  # latents along each side of the image that is only asked for


class Unusable(Exception):
    """Why a pipeline class cannot work without a family of its own."""


def unusable(kind: type) -> str:
    """Why a pipeline class cannot work without a family of its own, or ""."""
    arguments = inspect.signature(kind.__call__).parameters
    lacking = [name for name in NEEDED if name not in arguments]
    if lacking:
        return f"its call has no {', '.join(lacking)}"
    asked = [name for name, p in arguments.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if set(asked) - {"self", "prompt"}:
        return f"its call cannot do without {', '.join(sorted(set(asked) - {'self', 'prompt'}))}"
    for argument, why in ELSE.items():
        if argument in arguments:
            return why
    if not denoiser_of(kind):
        return "it has neither a unet nor a transformer"
    return "" if hasattr(kind, "prepare_latents") else "it has no prepare_latents"


def denoiser_of(kind: type) -> str:
    """ "unet", "transformer", or "" for a pipeline class that has neither."""
    components = inspect.signature(kind.__init__).parameters
    return next((name for name in ("unet", "transformer") if name in components), "")


def generic_family(pipe: Any, namesake: Family | None = None) -> Family:
    """What is assumed of a loaded pipeline of no family, said in a warning.

    Args:
        namesake: the family that the class is named after; schedulers and tokenizers are taken to be the same.

    Raises:
        Unusable: it cannot work.
    """
    kind = type(pipe)
    why = unusable(kind)
    if why:
        raise Unusable(why)
    denoiser = denoiser_of(kind)
    factor = int(getattr(pipe, "vae_scale_factor", 8))
    channels = latent_channels(pipe, getattr(pipe, denoiser), factor)
    arguments = inspect.signature(kind.__call__).parameters
    named = "true_cfg_scale" if "true_cfg_scale" in arguments else "guidance_scale"
    guidance = _default(arguments, named, 1.0)
    steps = int(_default(arguments, "num_inference_steps", 50))
    warnings.warn(
        f"pipelines of class {kind.__name__} are of no known family. Assumed: the prompt goes in as text; {named} is g"
        f" of eps_0 + g (eps_c - eps_0), {guidance:g} by default, with an empty negative prompt; latents are"
        f" {channels} x H/{factor} x W/{factor}; {steps} steps. Re-denoise and sampling work; an NPNet needs a family",
        NoisepromptWarning,
        stacklevel=2,
    )
    return Family(
        name=kind.__name__,
        pipeline_classes=(kind.__name__,),
        encode=partial(as_text, negative="negative_prompt" in arguments),
        guidance_scale=max(guidance, 1.0),
        num_inference_steps=steps,
        denoise_guidance_scale=max(guidance, 1.0),
        collection_steps=10,
        source="the defaults of the pipeline's call; nothing of it is in the paper",
        denoiser=denoiser,
        channels=lambda pipe: channels,
        factor=lambda pipe: factor,
        multiple=patches if denoiser == "transformer" and hasattr(pipe, "vae_scale_factor") else at_least_eight,
        default_size=partial(_size, denoiser=denoiser, factor=factor),
        guidance_argument=named,
        guided_only=("negative_prompt",) if named == "true_cfg_scale" else (),
        token_limits=token_limits(pipe, namesake.token_limits if namesake else {}),
        hands_sigmas=namesake.hands_sigmas if namesake else kind.__name__.startswith(HANDS_SIGMAS),
        timestep_schedules=namesake.timestep_schedules if namesake else {},
        generic=True,
    )


def token_limits(pipe: Any, known: Mapping[str, int]) -> dict[str, int]:
    """`Family.token_limits` of a loaded pipeline: what its class says (`max_sequence_length`), else what is known.

    CLIP and BERT read what their tokenizer says.
    """
    found = {}
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        own = type(getattr(pipe, name, None)).__name__.startswith(("CLIP", "Bert"))
        found[name] = UNLIMITED if own else _max_sequence_length(type(pipe)) or known.get(name, UNLIMITED)
    return found


def _max_sequence_length(kind: type) -> int | None:
    for function in (kind.__call__, getattr(kind, "encode_prompt", None)):
        parameter = inspect.signature(function).parameters.get("max_sequence_length") if function else None
        if parameter is not None and isinstance(parameter.default, int):
            return parameter.default
    return None


def as_text(pipe: Any, texts: Sequence[str], negative: bool) -> TextEmbeds:
    """The prompts themselves and as many empty ones; nothing for an NPNet to see, (B, 0, 0)."""
    named: dict[str, Any] = {"prompt": list(texts)}
    if negative:
        named["negative_prompt"] = [""] * len(texts)
    return TextEmbeds(named, torch.zeros(len(texts), 0, 0))


def latent_channels(pipe: Any, denoiser: Any, factor: int) -> int:
    """C of the latents that the pipeline itself would draw, (1, C, H/factor, W/factor).

    Raises:
        Unusable: they have another layout, or cannot be asked for.
    """
    side = SIDE * factor
    known = {
        "batch_size": 1,
        "num_channels_latents": denoiser.config.get("in_channels"),
        "height": side,
        "width": side,
        "dtype": torch.float32,
        "device": pipe._execution_device,
        "generator": torch.Generator("cpu").manual_seed(0),
        "latents": None,
    }
    arguments = inspect.signature(pipe.prepare_latents).parameters
    try:
        drawn = pipe.prepare_latents(**{key: known[key] for key in arguments if key in known})
    except Exception as error:  # whatever an unknown class raises
        raise Unusable(f"its prepare_latents cannot be asked ({type(error).__name__}: {error})") from error
    latents = drawn[0] if isinstance(drawn, tuple) else drawn
    if latents.ndim != 4 or tuple(latents.shape[2:]) != (SIDE, SIDE):
        shape = tuple(latents.shape)
        raise Unusable(f"its latents for {side} x {side} pixels are {shape}, not (1, C, {SIDE}, {SIDE})")
    return int(latents.shape[1])


def _default(arguments: Any, name: str, otherwise: float) -> float:
    value = arguments[name].default if name in arguments else None
    return float(value) if isinstance(value, int | float) else otherwise


def _size(pipe: Any, denoiser: str, factor: int) -> tuple[int, int]:
    size = getattr(pipe, denoiser).config.get("sample_size") or getattr(pipe, "default_sample_size", None)
    height, width = (size, size) if isinstance(size, int) else size or (1024 // factor, 1024 // factor)
    return height * factor, width * factor
