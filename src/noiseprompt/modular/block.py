"""The block: prompt embeddings and generator in, `latents` out, exactly those of `winning_noise`.

What it knows of a model it asks the standard pipeline of the same family, made of the same components for the moment.
"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import torch
from diffusers.modular_pipelines import ModularPipelineBlocks, PipelineState
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, InputParam, OutputParam

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import check_value, kind_of
from noiseprompt.methods.base import STRENGTH
from noiseprompt.npnet.base import NPNet
from noiseprompt.stages.generate.winning import winning_noise

BEFORE = "denoise"
"""Name of the block before which noise is made, the same in every text-to-image pipeline of Modular Diffusers."""


class NoiseBlock(ModularPipelineBlocks):
    """Source noise, drawn as the pipeline would draw it, moved by an NPNet: the component `npnet` of the pipeline.

    Args:
        strength: where a call gives no `noise_strength`: 0 is the pipeline's own noise exactly.
        renormalize, no_text: as of `winning_noise`.

    Raises:
        ConfigError: a strength that is no number or out of its range, or another option that is not true or false.
    """

    @held
    def __init__(self, strength: float = 1.0, renormalize: bool = False, no_text: bool = False) -> None:
        super().__init__()
        check_value("strength", float, strength, STRENGTH)
        self.strength, self.renormalize, self.no_text = strength, renormalize, no_text

    @property
    def description(self) -> str:
        """Shown when a pipeline with this block is printed."""
        return "Moves the source noise towards a better one for the prompt, by one pass of an NPNet."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        """The network; the rest belongs to the blocks around this one."""
        return [ComponentSpec("npnet", NPNet, description="a noise prompt network made for this model")]

    @property
    def inputs(self) -> list[InputParam]:
        """As of a call of the pipeline, and what its text encoder gives."""
        strength = "scales the change of the noise; 0 is the pipeline's own noise"
        own = "nothing: the block makes them"
        return [
            InputParam("prompt_embeds", required=True, description="what the text encoder gives, and an NPNet sees"),
            InputParam("num_images_per_prompt", type_hint=int, default=1),
            InputParam("generator", description="draws the source noise"),
            InputParam("height", type_hint=int),
            InputParam("width", type_hint=int),
            InputParam("num_inference_steps", type_hint=int),
            InputParam("noise_strength", type_hint=float, default=self.strength, description=strength),
            InputParam("latents", type_hint=torch.Tensor, description=own),
            InputParam("image_latents", type_hint=torch.Tensor, description=own),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        """What the blocks that follow start from."""
        return [OutputParam("latents", type_hint=torch.Tensor, description="the noise, as the pipeline takes it")]

    @torch.no_grad()
    def __call__(self, components: Any, state: PipelineState) -> tuple[Any, PipelineState]:
        """Called by the pipeline.

        Raises:
            InputError: no network, latents or a picture to start from, or as `winning_noise`.
            ShapeError, ModelMismatchError, NoiseError: as `winning_noise`.
        """
        given: Any = self.get_block_state(state)
        for name in ("latents", "image_latents"):
            if getattr(given, name) is not None:
                came = f"{name} with a NoiseBlock, which makes noise for text to image"
                raise InputError(came, f"no {name}", "use the pipeline without the block")
        npnet = getattr(components, "npnet", None)
        if npnet is None:
            fix = 'write pipe.update_components(npnet=NPNet.from_pretrained("..."))'
            raise InputError("a NoiseBlock in a pipeline without npnet", "the network as a component", fix)
        given.latents = winning_noise(
            standard_pipeline(components),
            npnet,
            prompt_embeds=_rows(given.prompt_embeds, state),
            generator=given.generator,
            num_images_per_prompt=given.num_images_per_prompt,
            strength=given.noise_strength,
            renormalize=self.renormalize,
            no_text=self.no_text,
            height=given.height,
            width=given.width,
            num_inference_steps=given.num_inference_steps,
        )
        self.set_block_state(state, given)
        return components, state


def _rows(prompt_embeds: Any, state: PipelineState) -> Any:
    """As `winning_noise` takes them: a list where the encoder gives a mask, which pads with zeros."""
    return list(prompt_embeds) if "prompt_embeds_mask" in state.values else prompt_embeds


@held
def with_noise(blocks: Any, strength: float = 1.0, renormalize: bool = False, no_text: bool = False) -> Any:
    """`blocks` with a `NoiseBlock` inserted before "denoise".

    Args:
        blocks: of a text-to-image pipeline of Modular Diffusers, e.g. StableDiffusionXLAutoBlocks(); changed in place.
        strength, renormalize, no_text: of the block.

    Raises:
        InputError: no blocks, none of that name among them, or a `NoiseBlock` already.
    """
    names = list(getattr(blocks, "sub_blocks", ()))
    if BEFORE not in names or not hasattr(blocks.sub_blocks, "insert"):
        came = f"blocks: {kind_of(blocks)}" + f" with {', '.join(names)}" * bool(names)
        raise InputError(came, f"blocks of Modular Diffusers with one named {BEFORE!r}")
    if any(isinstance(block, NoiseBlock) for block in blocks.sub_blocks.values()):
        raise InputError("blocks that have a NoiseBlock already", "blocks without one", "leave the second out")
    blocks.sub_blocks.insert("noise", NoiseBlock(strength, renormalize, no_text), names.index(BEFORE))
    return blocks


def standard_pipeline(components: Any) -> Any:
    """The standard pipeline of a modular one: the same components, on the same device; StableDiffusionXLPipeline of a
    StableDiffusionXLModularPipeline.

    Raises:
        InputError: diffusers has none of that name.
    """
    modular = type(components).__name__
    kind = getattr(diffusers, modular.replace("ModularPipeline", "Pipeline"), None)
    if kind is None or "Modular" not in modular:
        raise InputError(f"a NoiseBlock in a {modular}", "a modular pipeline of a family that has a standard one")
    held, parts = components.components, {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if name in held or (name != "self" and parameter.default is parameter.empty):
            parts[name] = held.get(name)
    device = property(lambda _: components._execution_device)  # of an offloaded model, what runs it, not where it lies
    return type(kind.__name__, (kind,), {"_execution_device": device})(**parts)
