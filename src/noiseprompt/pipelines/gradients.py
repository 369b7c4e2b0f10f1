"""Images from latents with a gradient, through the pipeline's own unmodified call, for every family.

diffusers decorates `__call__` with `torch.no_grad()`; what it wraps is the same call with gradients. Each call of the
denoiser and the decoding are checkpoints: of a chain of N steps the activations of one call at a time are kept, and
each call is made once more in the backward pass. Such second calls are no denoiser calls: those of `Pipeline` count
what is drawn.

    x = network(noise, prompt_embeds)                  # (B, C, H, W), with a graph
    images = draw(pipeline, embeds, x, num_inference_steps=6, grid_of=10)
    scorer.score_tensor(images, prompts).sum().backward()
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError
from noiseprompt.core.types import Sampling
from noiseprompt.pipelines import calls
from noiseprompt.pipelines.short_grids import ShortGrid, thinned

if TYPE_CHECKING:
    from noiseprompt.pipelines.families.embeds import TextEmbeds
    from noiseprompt.pipelines.pipeline import Pipeline

CHUNK = 65_536
"""Latent values that go through a network together: 16 images of 16 x 16, 4 of 64 x 64, 1 of 128 x 128."""


def chunks(noise: torch.Tensor) -> Iterator[list[int]]:
    """Rows of (B, C, H, W) that go through a network together."""
    size = max(1, CHUNK // max(1, noise[0].numel()))
    for start in range(0, len(noise), size):
        yield list(range(start, min(start + size, len(noise))))


def check_differentiable(pipeline: Pipeline) -> None:
    """Refuse a pipeline whose call gives no gradient, before anything long runs.

    Raises:
        InputError: weights that are offloaded, or a float16 autoencoder that changes its precision during the call.
    """
    pipe = pipeline.pipe
    if any(hasattr(part, "_hf_hook") for part in _networks(pipe)):
        came = f"gradients through {pipeline.name!r}, whose weights are offloaded"
        raise InputError(came, "weights that stay on their device", "load it without offload")
    vae = getattr(pipe, "vae", None)
    if vae is not None and vae.dtype == torch.float16 and vae.config.get("force_upcast", False):
        came = f"gradients through {pipeline.name!r}, whose autoencoder overflows in float16"
        raise InputError(came, "bfloat16 or float32", "load with that dtype")


@held
def draw(
    pipeline: Pipeline,
    embeds: TextEmbeds,
    latents: torch.Tensor,
    *,
    num_inference_steps: int | None = None,
    grid_of: int | None = None,
    guidance_scale: float | None = None,
    height: int | None = None,
    width: int | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
) -> torch.Tensor:
    """Images in [0, 1], with a gradient where `latents` ask for one; otherwise what `Pipeline.sample` draws.

    With fewer steps than the sampler's the chain is short but begins at the sampler's own first level: images drawn
    with 4 of 10 steps at levels that start elsewhere taught networks noise that fails at 10. The short chain takes
    every so many of the sampler's levels, the first and the last among them (`short_grids`), by DDIM or Euler steps on
    the model's noise schedule, whatever the sampler: no scheduler has to take timesteps. With all of its steps the
    pipeline's own scheduler draws.

    The denoiser, a ControlNet, the autoencoder and the text encoders are frozen while they compute, here and in the
    backward pass; nothing else of the pipeline changes. Watermarks and safety checkers, which look at finished
    pictures, are left out. Low precision is the pipeline's: load it in bfloat16 where the family bears it; `latents`
    may be float32, and the gradient has their dtype.

    Args:
        embeds: of B prompts.
        latents: (B, C, H, W) unit Gaussian, on any device; of a network, with its graph, or a leaf that requires grad.
        num_inference_steps: of the chain, 1 to `grid_of`; all where None.
        grid_of: steps of the sampler whose levels they are; None for the family's default, or for
            `num_inference_steps` where that is given: then its own grid.
        guidance_scale, height, width: as of `Pipeline.sample`.
        generator: for samplers that add noise on the way, which short chains do not.

    Returns:
        (B, 3, H, W) on the pipeline's device, float32 (float64 where the pipeline computes in it).

    Raises:
        InputError: as `check_differentiable`; more steps than the grid has; a scheduler without a known noise schedule;
            or a pipeline whose call gives no gradient.
        ShapeError: latents that do not fit the prompts, the model or the size.
    """
    check_differentiable(pipeline)
    family, pipe = pipeline.family, pipeline.pipe
    grid_of = num_inference_steps if grid_of is None else grid_of
    how = Sampling(guidance_scale, grid_of, height, width).resolve(family)
    steps = how.num_inference_steps if num_inference_steps is None else num_inference_steps
    thinned(how.num_inference_steps, steps)
    short = steps < how.num_inference_steps
    # a scheduler may keep predictions, and with them their graph: the pipeline's own stays as it is
    scheduler = ShortGrid(pipe.scheduler, steps) if short else copy.deepcopy(pipe.scheduler)
    wanted = latents.requires_grad
    loaded = calls.Loaded(pipe, family)
    try:
        with _differentiable(pipe, pipeline.denoiser) if wanted else _left_out(pipe):
            settings: Any = {"output_type": "pt", "generator": generator, "with_gradient": wanted}
            images = calls.images(loaded, scheduler, embeds, latents, how, pipeline.schedule, **settings)
    finally:
        pipeline.denoiser_calls += loaded.denoiser_calls
    if wanted and not images.requires_grad:
        raise InputError(f"a {type(pipe).__name__}, whose call gives no gradient", "another pipeline")
    return images.to(torch.promote_types(images.dtype, torch.float32))


@contextmanager
def _differentiable(pipe: Any, denoiser: Any) -> Iterator[None]:
    """While it lasts, no network of the pipeline collects gradients, and those with large activations are checkpoints.

    All is put back, also on error.
    """
    with ExitStack() as put_back:
        put_back.enter_context(_left_out(pipe))
        for network in _networks(pipe):
            put_back.enter_context(_frozen(network))
        for network, name in (
            (denoiser, "forward"),
            (getattr(pipe, "controlnet", None), "forward"),
            (pipe.vae, "decode"),
        ):
            if network is not None:
                put_back.enter_context(_replaced(network, name, _checkpointed(network, getattr(network, name))))
        yield


def _networks(pipe: Any) -> list[torch.nn.Module]:
    return [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]


def _checkpointed(network: torch.nn.Module, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its activations computed again in the backward pass, when the network may be no longer frozen."""

    def again(*args: Any, **named: Any) -> Any:
        with _frozen(network):
            return function(*args, **named)

    def checkpoint_of(*args: Any, **named: Any) -> Any:
        # networks in evaluation mode draw no random numbers: nothing to keep of the generators
        return checkpoint(lambda: again(*args, **named), use_reentrant=False, preserve_rng_state=False)

    return checkpoint_of


@contextmanager
def _frozen(network: torch.nn.Module) -> Iterator[None]:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` for a while; what hides the class's own attribute afterwards is what did before."""
    before = owner.__dict__.get(name)
    object.__setattr__(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(owner, name)
        else:
            object.__setattr__(owner, name, before)


@contextmanager
def _left_out(pipe: Any) -> Iterator[None]:
    """No watermark and no safety checker for a while: they make arrays of pictures, which have no gradient."""
    with ExitStack() as put_back:
        for name in ("watermark", "safety_checker"):
            if getattr(pipe, name, None) is not None:
                put_back.enter_context(_replaced(pipe, name, None))
        yield
