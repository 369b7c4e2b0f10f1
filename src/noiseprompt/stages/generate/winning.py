"""Winning noise, from one forward pass of an NPNet: the `latents` to hand to a diffusers pipeline, or plain tensors."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noiseprompt.core.arguments import called, held
from noiseprompt.core.errors import ConfigError, InputError, ShapeError
from noiseprompt.core.ranges import COUNT, check_value, shown
from noiseprompt.core.types import Sampling, StartLevel
from noiseprompt.methods.base import STRENGTH, renormalized
from noiseprompt.methods.npnet import level_for, source_of
from noiseprompt.noise.guard import Guard, carried
from noiseprompt.noise.seeds import batch_noise, check_noise
from noiseprompt.npnet.transfer import without_text
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.families.embeds import fixed_length
from noiseprompt.pipelines.long_prompts import warn_cut
from noiseprompt.pipelines.own_noise import own_noise

if TYPE_CHECKING:
    from noiseprompt.npnet import NPNet


MOST_IMAGES = 10_000
"""Of one call of `winning_noise`: what is asked for beyond is a mistake, and no memory holds it."""


@torch.no_grad()
@held
def winning_noise(
    pipe: Any,
    npnet: NPNet | str | Path,
    prompt: str | Sequence[str] | None = None,
    *,
    prompt_embeds: torch.Tensor | Sequence[torch.Tensor] | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    seeds: Sequence[int] | None = None,
    num_images_per_prompt: int = 1,
    strength: float = 1.0,
    renormalize: bool = False,
    no_text: bool = False,
    long_prompts: str | None = None,
    height: int | None = None,
    width: int | None = None,
    num_inference_steps: int | None = None,
) -> torch.Tensor:
    """The `latents` to hand to an unmodified diffusers pipeline: source noise moved by NPNet towards a winning ticket.

    Args:
        pipe: a loaded diffusers pipeline (or a `noiseprompt.Pipeline`).
        npnet: a network made for this pipeline's family, latent shape and text width; or its folder or hub id, of
            which it is loaded in this call: load it yourself to call often.
        prompt: one text, or several.
        prompt_embeds: instead of `prompt`: (B, L, D) embeddings of B prompts, pre-computed or weighted, as NPNet sees
            them: the token embeddings that the pipeline takes as `prompt_embeds`. A list of B tensors (L_i, D), as
            Z-Image takes them, is padded with zeros to the length that the network was made for.
        generator: as for the pipeline itself: one for the whole batch, or one an image, of the CPU or of the pipeline's
            device. The source noise is the one the pipeline would have drawn from it.
        seeds: instead of `generator`: one an image.
        num_images_per_prompt: images of one prompt are neighbours in the result, as in diffusers.
        strength: scales the perturbation; 0 returns the source noise exactly, 1 is what NPNet predicts.
        renormalize: scale each image's noise back to the norm of its source.
        no_text: leave NPNet's text term out, so that one trained for another family serves too (the paper, table 6).
        long_prompts: what NPNet sees of prompts over the text encoder's limit: "truncate" or "average" (the mean over
            the embeddings of their chunks); the pipeline's own setting unless given.
        height, width: pixels; the pipeline's own default unless given.
        num_inference_steps: that the pipeline will be called with; the default of its call (of the family, where `pipe`
            is a `noiseprompt.Pipeline`) unless given. Only a network that predicts a picture asks: its noise carries
            the picture at the level where those steps begin on the pipeline's own scheduler. Timesteps or sigmas that
            the call is given itself are not known here.

    Returns:
        (B * num_images_per_prompt, C, H, W) latents in the pipeline's dtype and on its device: unit Gaussian
            noise, or noise that carries a picture. For pipelines of diffusers that take theirs packed (FLUX,
            Qwen-Image, Chroma), packed; a `noiseprompt.Pipeline` packs itself.

    Raises:
        InputError: both or neither of prompt and prompt_embeds, both or the wrong number of generators or seeds, a
            generator of another device, a strength or number of steps out of its range, `no_text` with an NPNet that
            has no text term of its own, or one that predicts a picture where sampling begins at pure noise.
        ShapeError, ModelMismatchError: NPNet or prompt_embeds do not fit the pipeline or the size.
        NoiseError: the result is not finite.

    Warns:
        TextWarning: a prompt is longer than the text encoder reads.
        NoiseWarning: the result is not like unit Gaussian noise.
    """
    check_value("strength", float, strength, STRENGTH)
    check_value("num_inference_steps", int | None, num_inference_steps, COUNT)
    if not isinstance(npnet, str | Path):
        _check_net(npnet, "an NPNet, or its folder or hub id")
    pipeline = pipe if isinstance(pipe, Pipeline) else Pipeline(pipe)
    if isinstance(npnet, str | Path):
        npnet = _loaded(npnet, pipeline)
    given = _padded(prompt_embeds, npnet)
    embeds = _embeds(pipeline, prompt, given, num_images_per_prompt, long_prompts)
    shape = pipeline.latent_shape(height, width)
    source = _source_noise(pipeline, (len(embeds), *shape), generator, seeds).float()
    if no_text:
        npnet = without_text(npnet)
    npnet.check(shape, embeds_shape=tuple(embeds.shape[1:]), family=pipeline.family.name)
    level = None
    if strength != 0:
        steps = call_steps(pipe) if num_inference_steps is None else num_inference_steps
        level = level_for(npnet, pipeline, Sampling(None, steps, height, width))
    moved = _moved(npnet, source, embeds, strength, renormalize, level)
    latents = moved.to(pipeline.device, torch.float32 if pipeline.family.float32_latents else pipeline.dtype)
    _watch(latents, source, strength, level)
    pack = None if isinstance(pipe, Pipeline) else pipeline.family.pack
    return pack(latents) if pack else latents


@torch.no_grad()
@called
def perturb_noise(
    npnet: NPNet,
    noise: torch.Tensor,
    prompt_embeds: torch.Tensor,
    *,
    strength: float = 1.0,
    renormalize: bool = False,
    no_text: bool = False,
    level: StartLevel | None = None,
) -> torch.Tensor:
    """What `winning_noise` makes of a source noise, where there is no pipeline of diffusers: tensors in, tensors out.

    Args:
        npnet: the network.
        noise: (B, C, H, W) unit Gaussian source noise.
        prompt_embeds: (B, L, D), as the denoiser sees them.
        strength, renormalize, no_text: as of `winning_noise`.
        level: where the sampler that will run begins; a network that predicts a picture needs it.

    Returns:
        (B, C, H, W) of the device and dtype of `noise`.

    Raises:
        InputError: a strength out of its range, no tensors of floating point numbers, `no_text` with an NPNet that has
            no text term of its own, or one that predicts a picture, without a level.
        ShapeError: shapes the network was not made for.
        NoiseError: the result is not finite.

    Warns:
        NoiseWarning: the result is not like unit Gaussian noise.
    """
    check_value("strength", float, strength, STRENGTH)
    check_value("renormalize", bool, renormalize)
    check_value("no_text", bool, no_text)
    check_value("level", StartLevel | None, level)
    _check_net(npnet)
    check_noise(noise, "the source noise")
    check_noise(prompt_embeds, "the prompt embeddings", "(B, L, D)")
    if noise.ndim != 4 or prompt_embeds.ndim != 3 or not len(noise):
        came = f"noise of shape {tuple(noise.shape)} with prompt embeddings of shape {tuple(prompt_embeds.shape)}"
        raise ShapeError(came, "(B, C, H, W) with (B, L, D), B from 1 on")
    if no_text:
        npnet = without_text(npnet)
    npnet.check(noise.shape[1:], embeds_shape=prompt_embeds.shape[1:])
    source, strength = noise.float(), float(strength)
    latents = _moved(npnet, source, prompt_embeds, strength, renormalize, level).to(noise)
    _watch(latents, source, strength, level)
    return latents


def _check_net(npnet: object, expected: str = "a network that NPNet.from_pretrained gave") -> None:
    """Refuse what is no NPNet, or one without values."""
    from noiseprompt.npnet.base import NPNet

    if not isinstance(npnet, NPNet):
        raise ConfigError(f"npnet {shown(npnet)}", expected)
    if any(value.is_meta for value in npnet.parameters()):
        raise InputError("an NPNet without values (meta)", "one that was loaded: NPNet.from_pretrained")
    if strange := {str(value.dtype) for value in npnet.parameters() if not value.is_floating_point()}:
        raise InputError(f"an NPNet with weights of {', '.join(sorted(strange))}", "floating point numbers")


def _moved(
    npnet: NPNet,
    source: torch.Tensor,
    embeds: torch.Tensor,
    strength: float,
    renormalize: bool,
    level: StartLevel | None,
) -> torch.Tensor:
    """source + strength (NPNet's noise - source), float32 where `source` is; strength 0 is `source` itself."""
    if strength == 0:
        return source
    device = next(iter(npnet.parameters())).device
    predicted = npnet(source.to(device), embeds.to(device, torch.float32), level).to(source)
    latents = source + strength * (predicted - source)
    return renormalized(latents, source) if renormalize else latents


def _watch(latents: torch.Tensor, source: torch.Tensor, strength: float, level: StartLevel | None) -> None:
    signal = carried(strength, level.signal) if level else 0.0
    Guard().watch(f"NPNet at strength {strength:g}", latents, source, signal)


def call_steps(pipe: Any) -> int | None:
    """Steps of the pipeline's own call without num_inference_steps; None, the family's, of a `noiseprompt.Pipeline`."""
    known = {} if isinstance(pipe, Pipeline) else inspect.signature(type(pipe).__call__).parameters
    default = known["num_inference_steps"].default if "num_inference_steps" in known else None
    return default if isinstance(default, int) else None


def _loaded(source: str | Path, pipeline: Pipeline) -> NPNet:
    """The network of a folder, a hub id, or a name of the world's own."""
    from noiseprompt.npnet.base import NPNet

    return NPNet.from_pretrained(source_of(str(source), pipeline)).to(pipeline.device)


def _padded(given: Any, npnet: NPNet) -> Any:
    """(B, L, D) of a list of (L_i, D), each cut or padded with zeros to the length the network was made for."""
    if not isinstance(given, Sequence):
        return given
    tensors = [isinstance(one, torch.Tensor) and one.ndim == 2 for one in given]
    if not tensors or not all(tensors):
        raise InputError(f"prompt_embeds: a list of {len(given)}", "a tensor (B, L, D), or a list of tensors (L_i, D)")
    if len(widths := {one.shape[1] for one in given}) > 1:
        raise ShapeError(f"prompt_embeds of the widths {', '.join(map(str, sorted(widths)))}", "(L_i, D), of one D")
    length = npnet.config.text_length
    return torch.cat([fixed_length(one[None], length) for one in given])


def _embeds(
    pipeline: Pipeline, prompt: str | Sequence[str] | None, given: torch.Tensor | None, each: int, long: str | None
) -> torch.Tensor:
    """(B * each, L, D) what NPNet sees."""
    if (prompt is None) == (given is None):
        raise InputError(
            f"{'neither' if given is None else 'both'} of prompt and prompt_embeds", "one of the two: texts or tensors"
        )
    if long not in (None, "truncate", "average"):
        raise InputError(f"long_prompts {long!r}", '"truncate" or "average"')
    if given is not None and given.ndim != 3:
        raise ShapeError(f"prompt_embeds of shape {tuple(given.shape)}", "(B, L, D), one row a prompt")
    texts = [prompt] if isinstance(prompt, str) else list(prompt or ())
    count = len(texts) if given is None else len(given)
    if not count or each < 1:
        raise InputError(f"{count} prompts with {each} images each", "at least one of both")
    if count * each > MOST_IMAGES:
        raise InputError(f"{count} prompts with {each:,} images each", f"at most {MOST_IMAGES:,} images in one call")
    if given is not None:
        check_noise(given, "prompt_embeds", "(B, L, D)")
        return given.repeat_interleave(each, dim=0)
    warn_cut(pipeline.text_limits, texts)
    before, pipeline.long_prompts = pipeline.long_prompts, long or pipeline.long_prompts
    try:
        return pipeline.encode(texts).prompt_embeds.repeat_interleave(each, dim=0)
    finally:
        pipeline.long_prompts = before


def _source_noise(
    pipeline: Pipeline, shape: tuple[int, ...], generator: Any, seeds: Sequence[int] | None
) -> torch.Tensor:
    """(B, C, H, W) of the seeds, or as the pipeline draws it from a generator."""
    count = shape[0]
    if seeds is not None and generator is not None:
        raise InputError("both generator and seeds", "one of them")
    if seeds is not None:
        if len(seeds) != count:
            raise InputError(f"{len(seeds)} seeds for {count} images", "one seed an image")
        return batch_noise(seeds, shape[1:])
    return own_noise(pipeline, shape, generator)
