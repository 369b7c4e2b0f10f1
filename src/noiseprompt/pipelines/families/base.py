"""What a family of text-to-image pipelines is: facts, and a few small functions of a loaded diffusers pipeline.

Representations:
    texts           sequence of str
    call kwargs     what the family's pipeline call takes instead of a prompt: tensors or lists, batch first
    prompt_embeds   (B, L, D), the token embeddings an NPNet sees
    latents         (B, C, H, W) unit Gaussian at our border; `pack` and `unpack` lead to the pipeline's own layout

To add a family: one file here that defines FAMILY (or several, FAMILIES), and its name in `FILES`, in
`__init__.py`. What to look for in the pipeline's source:

1. `encode_prompt`: which outputs it has; what `__call__` accepts in place of prompts (`call_kwargs`, empty negative
   prompts and masks included); which of them an NPNet should see (`prompt_embeds`). A family whose number of tokens
   depends on the batch pads `prompt_embeds` (not the call kwargs) to a fixed length (`embeds.fixed_length`). Which
   tokenizers it asks, and how many tokens are read of each (`token_limits`).
2. `prepare_latents`: channels, spatial factor, packing, the multiple of pixels that is drawn as asked. Whatever lets
   the pipeline draw another size than asked is switched off in `fixed_kwargs`.
3. The guidance line of the denoising loop. Ours is eps_0 + g (eps_c - eps_0) everywhere, 1 means no second pass.
   `guidance_argument` is the name of that scale in `__call__`, `guidance_offset` what is added to get the pipeline's.
   A pipeline that cannot compute both predictions says why in `no_guidance`; arguments that it warns about where
   there is no guidance are `guided_only`. Whether the call hands sigmas to its scheduler (`hands_sigmas`).
4. Defaults and where they stand (`source`): the paper, the model card or diffusers. Checkpoints of the same pipeline
   class that are used with other settings are `variants`.

Prove it on a tiny pipeline of the real classes: sample equals the plain diffusers call, denoise_step equals a step of
a diffusers scheduler, sizes come out as asked, the four commands run (tests/pipelines/families/).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from noiseprompt.core.errors import InputError, ModelLoadError, ShapeError
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.families.sizes import at_least_eight, scale_factor, unet_channels, unet_size


@dataclass(frozen=True)
class Variant:
    """Checkpoints of a family that are used with other settings than the rest of it.

    Fields:
        name: for people.
        changes: fields of `Family` with their other values.
        source: where these settings stand.
        pattern: regular expression, searched for in the lower-case last part of the model's id or folder (and of a
            replaced denoiser or LoRA).
        applies: or a function of the loaded pipeline.
    """

    name: str
    changes: Mapping[str, Any]
    source: str
    pattern: str = ""
    applies: Callable[[Any], bool] | None = None

    def matches(self, pipe: Any, names: Sequence[str]) -> bool:
        """Whether a loaded pipeline with these names is one of them."""
        if self.applies is not None and self.applies(pipe):
            return True
        return bool(self.pattern) and any(re.search(self.pattern, Path(name).name.lower()) for name in names)


MOST_SIDES = 8
"""How many times a side of its own size a model is asked to draw: beyond a few it draws nothing of use, and the time
grows with the fourth power."""
UNLIMITED = 100_000
"""Tokens of a tokenizer without a limit of its own (transformers writes 1e30)."""


def nothing_more(pipe: Any) -> dict[str, Any]:
    """The `more_kwargs` of most families."""
    return {}


def always_guided(pipe: Any) -> str:
    """The `no_guidance` of a pipeline that always can compute both predictions."""
    return ""


@dataclass(frozen=True)
class Family:
    """What pipelines of one architecture have in common. Functions take the loaded diffusers pipeline.

    Fields:
        name: as recorded in NPNets and data sets.
        pipeline_classes: names of diffusers classes; subclasses count.
        encode: (pipeline, texts) -> TextEmbeds; `texts` is filled in by the caller.
        guidance_scale, num_inference_steps: defaults of sampling.
        denoise_guidance_scale, invert_guidance_scale: guidance down and up of re-denoise, in the convention
            eps_0 + g (eps_c - eps_0); 1 means no unconditional pass (the paper's settings, section 4).
        collection_steps: number of steps of the grid on which re-denoise makes its one step.
        source: where these defaults stand.
        denoiser: attribute of the pipeline that holds the network.
        channels: latent channels C.
        factor: pixels a latent along each side.
        multiple: height and width in pixels must be multiples of it.
        default_size: (height, width) in pixels the model was made for.
        pack: (B, C, H, W) -> the pipeline's own latents; None where they are the same.
        unpack: (packed, H, W) -> (B, C, H, W).
        frames: the autoencoder takes a picture as a film of one frame, (B, C, 1, H, W).
        guidance_argument: of the pipeline call.
        guidance_offset: the pipeline's own scale is ours plus this.
        guided_only: arguments of the pipeline call that are left out where the guidance scale is 1; some pipelines warn
            about each of them.
        fixed_kwargs: more arguments of every pipeline call.
        more_kwargs: arguments of every pipeline call that depend on the loaded pipeline, e.g. its control image.
        token_limits: attribute of the pipeline that holds a tokenizer -> number of tokens, special ones included, that
            is read of it; what the tokenizer itself says (`model_max_length`) where that is less. Tokenizers that are
            not named have no part in the token embeddings.
        may_lack: parts that may be None, all together, although their class does not call them optional.
        float32_latents: the pipeline wants float32 latents whatever the precision of its denoiser.
        grid: of re-denoise with epsilon and v-prediction: "ddim", or "dpm-solver" for the DPM-Solver++ grid, whose
            first step is first-order and so the same move between other levels. Flow pipelines use their own grid.
        hands_sigmas: the pipeline call hands sigmas to its scheduler, which must take them.
        timestep_schedules: published timestep schedule, e.g. "ays" -> its name in `diffusers.schedulers.AysSchedules`.
        renamed_classes: class of transformers that a model_index.json may name and newer versions lack -> the class
            that reads the same files.
        no_guidance: why there is no guidance gap in a loaded pipeline, "" where there is one.
        traps: what is known to go wrong, for people.
        generic: nothing is known of this pipeline class; errors of its calls are the user's to read.
        variants: checkpoints with other defaults; the first that matches.
        variant: name of the variant these values are of, "" for the family's own.
    """

    name: str
    pipeline_classes: tuple[str, ...]
    encode: Callable[[Any, Sequence[str]], TextEmbeds]
    guidance_scale: float
    num_inference_steps: int
    denoise_guidance_scale: float
    collection_steps: int
    invert_guidance_scale: float = 1.0
    source: str = ""
    denoiser: str = "unet"
    channels: Callable[[Any], int] = unet_channels
    factor: Callable[[Any], int] = scale_factor
    multiple: Callable[[Any], int] = at_least_eight
    default_size: Callable[[Any], tuple[int, int]] = unet_size
    pack: Callable[[torch.Tensor], torch.Tensor] | None = None
    unpack: Callable[[torch.Tensor, int, int], torch.Tensor] | None = None
    frames: bool = False
    guidance_argument: Literal["guidance_scale", "true_cfg_scale"] = "guidance_scale"
    guidance_offset: float = 0.0
    guided_only: tuple[str, ...] = ()
    fixed_kwargs: Mapping[str, Any] = field(default_factory=dict)
    more_kwargs: Callable[[Any], dict[str, Any]] = nothing_more
    token_limits: Mapping[str, int] = field(default_factory=lambda: {"tokenizer": UNLIMITED, "tokenizer_2": UNLIMITED})
    may_lack: tuple[str, ...] = ()
    float32_latents: bool = False
    grid: Literal["ddim", "dpm-solver"] = "ddim"
    hands_sigmas: bool = False
    timestep_schedules: Mapping[str, str] = field(default_factory=dict)
    renamed_classes: Mapping[str, str] = field(default_factory=dict)
    no_guidance: Callable[[Any], str] = always_guided
    traps: tuple[str, ...] = ()
    generic: bool = False
    variants: tuple[Variant, ...] = ()
    variant: str = ""

    def of(self, pipe: Any, names: Sequence[str] = ()) -> Family:
        """This family with the defaults of the first variant that matches a loaded pipeline.

        A name that says how many steps it is for ("sdxl_lightning_8step") is believed.
        """
        for variant in self.variants:
            if variant.matches(pipe, names):
                found = {"source": variant.source, **variant.changes}
                for name in names if variant.pattern else ():
                    if told := re.search(r"(\d+)[-_]?step", Path(name).name.lower()):
                        found["num_inference_steps"] = int(told[1])
                return replace(self, **found, variant=variant.name)
        return self

    def latent_shape(self, pipe: Any, height: int | None, width: int | None) -> tuple[int, int, int]:
        """(C, H, W) of the latents of an image of `height` x `width` pixels, by default the model's own size.

        Raises:
            ShapeError: a size the pipeline cannot draw, or more than `MOST_SIDES` times a side of its own.
        """
        if height is None or width is None:
            own = self.default_size(pipe)
            height, width = own[0] if height is None else height, own[1] if width is None else width
        unit, factor = self.multiple(pipe), self.factor(pipe)
        if height < unit or width < unit or height % unit or width % unit:
            raise ShapeError(f"image size {height} x {width}", f"positive multiples of {unit} pixels")
        self._check_reach(pipe, height, width)
        return self.channels(pipe), height // factor, width // factor

    def _check_reach(self, pipe: Any, height: int, width: int) -> None:
        try:
            own = self.default_size(pipe)
        except ModelLoadError:  # a configuration that does not tell
            return
        most = MOST_SIDES * own[0], MOST_SIDES * own[1]
        if height > most[0] or width > most[1]:
            came = f"image size {height} x {width} of a model that was made for {own[0]} x {own[1]} pixels"
            raise ShapeError(came, f"at most {most[0]} x {most[1]}, {MOST_SIDES} times a side")

    def why_no_guidance(self, pipe: Any) -> str:
        """Why the pipeline cannot compute guided predictions, or ""."""
        if self.guidance_argument not in inspect.signature(type(pipe).__call__).parameters:
            return f"{type(pipe).__name__} of the installed diffusers has no {self.guidance_argument}"
        return self.no_guidance(pipe)

    def call_settings(self, pipe: Any, embeds: TextEmbeds, guidance_scale: float) -> dict[str, Any]:
        """Arguments of a pipeline call: fixed ones, guidance, and what takes the place of prompts."""
        left_out = self.guided_only if guidance_scale <= 1 else ()
        named = {key: value for key, value in embeds.call_kwargs.items() if key not in left_out}
        settings = {**self.fixed_kwargs, **self.more_kwargs(pipe)}
        if self.guidance_argument in inspect.signature(type(pipe).__call__).parameters:
            settings[self.guidance_argument] = guidance_scale + self.guidance_offset
        return {**settings, **named}

    def check_guidance(self, pipe: Any, guidance_scale: float) -> None:
        """Refuse a guidance scale of one step that the pipeline does not take.

        Raises:
            InputError: below 1, or above 1 where there is no guidance.
        """
        if guidance_scale < 1:
            came = f"guidance scale {guidance_scale}"
            raise InputError(came, "1 or more: diffusers pipelines take anything less as 1")
        if guidance_scale > 1 and (why := self.why_no_guidance(pipe)):
            raise InputError(f"guidance scale {guidance_scale} with a {type(pipe).__name__}: {why}", "1")

    def check_gap(self, pipe: Any, down: float, up: float) -> None:
        """Refuse two guidance scales of re-denoise between which there is no gap.

        Raises:
            InputError: the pipeline has no guidance, or the scales are the same.
        """
        why = self.why_no_guidance(pipe)
        if why:
            came = f"re-denoise with a {type(pipe).__name__}: {why}, so there is no guidance gap to work with"
            raise InputError(came, "a pipeline with classifier-free guidance", "use an NPNet trained for this model")
        if down == up:
            free = f" ({self.variant or self.name} is sampled without guidance)" if self.guidance_scale <= 1 else ""
            came = (
                f"re-denoise with guidance scale {down:g} both down and up{free}: there is no guidance gap to work with"
            )
            expected = "a denoise_guidance_scale above the invert_guidance_scale"
            raise InputError(came, expected, "set denoise_guidance_scale if the model bears it, or use an NPNet")

    @property
    def announced(self) -> bool:
        """Whether a user should be told that other defaults hold than the pipeline class suggests."""
        return any(variant.name == self.variant and variant.pattern for variant in self.variants)

    def describe_variant(self) -> str:
        """What is assumed of a variant, in one line."""
        settings = f"guidance {self.guidance_scale:g}, {self.num_inference_steps} steps"
        collection = f"re-denoise from guidance {self.denoise_guidance_scale:g} on {self.collection_steps} steps"
        return f"taken for {self.variant} by its name: {settings}; {collection} ({self.source})"
