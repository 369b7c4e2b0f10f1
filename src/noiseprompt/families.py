"""Facts about the families of text-to-image pipelines. A new family is one entry of `FAMILIES`.

Representations:
    texts           sequence of str
    call kwargs     what the family's pipeline call takes instead of a prompt: tensors, batch first
    prompt_embeds   (B, L, D), the token embeddings an NPNet sees
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from noiseprompt.errors import ModelLoadError


@dataclass(frozen=True)
class TextEmbeds:
    """Encoded prompts.

    Fields:
        call_kwargs: keyword arguments of the pipeline call, each (B, ...); negative (empty) prompts included, so that
            any guidance scale can follow.
        prompt_embeds: (B, L, D), what an NPNet sees.
    """

    call_kwargs: dict[str, torch.Tensor]
    prompt_embeds: torch.Tensor

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    def select(self, indices: Sequence[int]) -> TextEmbeds:
        """Rows `indices`, in that order; repeats are allowed."""
        chosen = torch.as_tensor(indices, dtype=torch.long, device=self.prompt_embeds.device)
        return TextEmbeds({name: value[chosen] for name, value in self.call_kwargs.items()}, self.prompt_embeds[chosen])


@dataclass(frozen=True)
class Family:
    """What pipelines of one architecture have in common.

    Fields:
        name: as recorded in NPNets and data sets.
        pipeline_classes: names of diffusers classes.
        guidance_scale, num_inference_steps: defaults of sampling.
        denoise_guidance_scale, invert_guidance_scale: guidance down and up of re-denoise, in diffusers' convention
            eps_0 + g (eps_c - eps_0); 1 means no unconditional pass (the paper's settings, section 4).
        collection_steps: number of steps of the grid on which re-denoise makes its one step.
        encode: (diffusers pipeline, texts) -> TextEmbeds.
        denoiser: attribute of the pipeline that holds the network.
    """

    name: str
    pipeline_classes: tuple[str, ...]
    guidance_scale: float
    num_inference_steps: int
    denoise_guidance_scale: float
    collection_steps: int
    encode: Callable[[Any, Sequence[str]], TextEmbeds]
    invert_guidance_scale: float = 1.0
    denoiser: str = "unet"


def encode_stable_diffusion(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """One CLIP text encoder: prompt_embeds (B, 77, 768)."""
    prompt, negative = pipe.encode_prompt(list(texts), pipe._execution_device, 1, True)
    return TextEmbeds({"prompt_embeds": prompt, "negative_prompt_embeds": negative}, prompt)


def encode_stable_diffusion_xl(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """Two CLIP text encoders side by side: prompt_embeds (B, 77, 2048), and the second one's pooled output."""
    prompt, negative, pooled, negative_pooled = pipe.encode_prompt(
        list(texts), device=pipe._execution_device, num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    return TextEmbeds(
        {
            "prompt_embeds": prompt,
            "negative_prompt_embeds": negative,
            "pooled_prompt_embeds": pooled,
            "negative_pooled_prompt_embeds": negative_pooled,
        },
        prompt,
    )


STABLE_DIFFUSION = Family(
    name="stable-diffusion",
    pipeline_classes=("StableDiffusionPipeline",),
    guidance_scale=7.5,
    num_inference_steps=50,
    denoise_guidance_scale=5.5,
    collection_steps=10,
    encode=encode_stable_diffusion,
)

SHAPES = replace(STABLE_DIFFUSION, guidance_scale=4.0, num_inference_steps=10)
"""The embedded world: a StableDiffusionPipeline with guidance and steps of its own."""

STABLE_DIFFUSION_XL = Family(
    name="stable-diffusion-xl",
    pipeline_classes=("StableDiffusionXLPipeline",),
    guidance_scale=5.5,
    num_inference_steps=50,
    denoise_guidance_scale=5.5,
    collection_steps=10,
    encode=encode_stable_diffusion_xl,
)

FAMILIES = (STABLE_DIFFUSION, STABLE_DIFFUSION_XL)


def is_shapes(pipe: Any) -> bool:
    """Whether a StableDiffusionPipeline has the dimensions of the embedded world."""
    config = getattr(getattr(pipe, "unet", None), "config", {})
    return (config.get("sample_size"), config.get("cross_attention_dim")) == (16, 128)


def unsupported(name: str) -> ModelLoadError:
    """The error for a pipeline class of no family."""
    supported = ", ".join(known for family in FAMILIES for known in family.pipeline_classes)
    fix = "choose a model that names one of these in its model_index.json"
    return ModelLoadError(f"pipelines of class {name} are not supported yet", f"one of {supported}", fix)


def find_family(pipe: Any) -> Family:
    """The family of a loaded diffusers pipeline, by its class or a base class.

    Raises:
        ModelLoadError: no family has that class.
    """
    classes = {cls.__name__ for cls in type(pipe).__mro__}
    for family in FAMILIES:
        if classes.intersection(family.pipeline_classes):
            return SHAPES if family is STABLE_DIFFUSION and is_shapes(pipe) else family
    raise unsupported(type(pipe).__name__)


def load_diffusers(model: str | Path, dtype: torch.dtype, revision: str | None, variant: str | None) -> Any:
    """`DiffusionPipeline.from_pretrained` of a folder, hub id or "shapes", without a safety checker.

    Raises:
        ModelLoadError: for all that can go wrong.
    """
    from diffusers import DiffusionPipeline

    if str(model) == "shapes":
        from noiseprompt.shapes import weights_folder

        model = weights_folder()
    folder = Path(model).expanduser()
    fix = (
        "pass a local folder that holds model_index.json (what save_pretrained writes), or a hub id with network access"
    )
    if folder.exists():
        if not (folder / "model_index.json").is_file():
            raise ModelLoadError(f"{model} is not a diffusers pipeline folder", "a folder with model_index.json", fix)
        model = folder
    elif isinstance(model, Path) or str(model).startswith((".", "/", "~")) or str(model).count("/") != 1:
        raise ModelLoadError(f"there is no folder {model}", "an existing folder or a hub id like owner/name", fix)
    try:
        config: dict[str, Any] = DiffusionPipeline.load_config(model, revision=revision)  # type: ignore[assignment]
        name = str(config.get("_class_name"))
        if not any(name in family.pipeline_classes for family in FAMILIES):  # before gigabytes are read
            raise unsupported(name)
        extra = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in config else {}
        return DiffusionPipeline.from_pretrained(model, torch_dtype=dtype, revision=revision, variant=variant, **extra)
    except ModelLoadError:
        raise
    except Exception as error:
        came = f"{model} does not load ({type(error).__name__}: {error})"
        raise ModelLoadError(came, "a complete diffusers pipeline", fix) from error
