"""What drawing with a gradient keeps in memory, what it leaves on a pipeline, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from noiseprompt.core.errors import InputError
from noiseprompt.pipelines import Pipeline, gradients
from noiseprompt.pipelines.gradients import draw
from tests import tiny
from tests.pipelines.tiny_pair import PROMPTS, noise

SHORT = {"num_inference_steps": 2, "grid_of": 10, "guidance_scale": 3.0}


def made(**schedule) -> Pipeline:
    return Pipeline(tiny.stable_diffusion(**schedule))


def state(pipeline: Pipeline) -> list:
    pipe = pipeline.pipe
    networks = (pipe.unet, pipe.vae, pipe.text_encoder)
    return [
        [(p.requires_grad, p.grad is None) for network in networks for p in network.parameters()],
        [(sorted(network.__dict__), len(network._forward_pre_hooks)) for network in networks],
        id(pipe.scheduler),
        pipe.scheduler.__dict__.get("num_inference_steps"),
    ]


def saved_values(pipeline: Pipeline, steps: int) -> int:
    """Values that autograd keeps between the drawing and its backward pass."""
    kept = []
    x = noise(pipeline).requires_grad_()
    embeds = pipeline.encode(PROMPTS)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
        draw(pipeline, embeds, x, num_inference_steps=steps, grid_of=10, guidance_scale=3.0)
    return sum(kept)


def test_the_activations_of_the_chain_are_not_kept(monkeypatch) -> None:
    pipeline = made()
    few, many = saved_values(pipeline, 2), saved_values(pipeline, 6)
    latents = noise(pipeline).numel()
    assert many - few <= 4 * 8 * latents, "a step keeps a few latents"
    monkeypatch.setattr(gradients, "checkpoint", lambda function, **options: function())
    assert saved_values(pipeline, 2) > 20 * few


def test_every_call_is_made_once_more_in_the_backward_pass() -> None:
    pipeline = made()
    seen, forward = [], pipeline.denoiser.forward
    pipeline.denoiser.forward = lambda *args, **named: (seen.append(torch.is_grad_enabled()), forward(*args, **named))[
        1
    ]
    x = noise(pipeline).requires_grad_()
    images = draw(pipeline, pipeline.encode(PROMPTS), x, **SHORT)
    assert seen == [True] * 2
    images.sum().backward()
    assert len(seen) == 4
    assert pipeline.denoiser_calls == 2 * 2 * len(PROMPTS)


def test_nothing_stays_behind_and_weights_gather_no_gradient() -> None:
    pipeline = made()
    pipeline.denoiser.conv_in.weight.requires_grad_(False)
    before = state(pipeline)
    images = draw(pipeline, pipeline.encode(PROMPTS), noise(pipeline).requires_grad_(), **SHORT)
    assert state(pipeline) == before
    images.sum().backward()
    assert state(pipeline) == before


def test_an_error_leaves_nothing_behind(monkeypatch) -> None:
    pipeline = made()
    embeds = pipeline.encode(PROMPTS)

    def broken(*args, **named):
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline.pipe.vae.decoder, "forward", broken)
    before = state(pipeline)
    with pytest.raises(ZeroDivisionError):
        draw(pipeline, embeds, noise(pipeline).requires_grad_(), **SHORT)
    assert state(pipeline) == before
    assert pipeline.denoiser_calls == 2 * 2 * len(PROMPTS), "what was computed was counted"


def test_a_network_learns_through_it() -> None:
    pipeline = made()
    network = torch.nn.Conv2d(4, 4, 1)
    with torch.no_grad():  # as a stage may call it
        embeds = pipeline.encode(PROMPTS)
    images = draw(pipeline, embeds, network(noise(pipeline)), **SHORT)
    images.mean().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in network.parameters())


def test_without_a_wish_for_a_gradient_there_is_none_and_the_image_is_the_same() -> None:
    pipeline = made()
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    plain, leaf = draw(pipeline, embeds, x, **SHORT), x.clone().requires_grad_()
    with torch.no_grad():
        assert torch.equal(draw(pipeline, embeds, leaf, **SHORT), plain)
    assert not plain.requires_grad


def test_watermarks_and_checkers_are_left_out() -> None:
    pipeline = Pipeline(tiny.stable_diffusion_xl())
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline).requires_grad_()
    expected = draw(pipeline, embeds, x, **SHORT)

    class Mark:
        def apply_watermark(self, images):
            raise AssertionError("an array has no gradient")

    pipeline.pipe.watermark = Mark()
    assert torch.equal(draw(pipeline, embeds, x, **SHORT), expected)
    assert isinstance(pipeline.pipe.watermark, Mark)


def test_a_scheduler_that_keeps_predictions_keeps_no_graph() -> None:
    pipeline = made()
    pipeline.pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.pipe.scheduler.config)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline).requires_grad_()
    images = draw(pipeline, embeds, x, num_inference_steps=3, guidance_scale=3.0)
    assert pipeline.pipe.scheduler.model_outputs == [None, None]
    expected = pipeline.sample(embeds, x.detach(), num_inference_steps=3, guidance_scale=3.0)
    assert np.abs(images.detach().permute(0, 2, 3, 1).numpy() * 255 - expected).max() <= 0.501


def test_a_published_schedule_is_thinned_too() -> None:
    pipeline = made()
    pipeline.pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.pipe.scheduler.config)
    pipeline.schedule = "ays"
    told = []
    hook = pipeline.denoiser.register_forward_pre_hook(lambda m, args: told.append(int(args[1])))
    draw(pipeline, pipeline.encode(PROMPTS), noise(pipeline), num_inference_steps=4, grid_of=10, guidance_scale=1.0)
    hook.remove()
    assert told == [999, 645, 343, 24], "of 999, 850, 736, 645, 545, 455, 343, 233, 124, 24"


def test_what_it_refuses(monkeypatch) -> None:
    pipeline = made()
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline).requires_grad_()
    with pytest.raises(InputError, match="6 steps of a grid of 4 levels"):
        draw(pipeline, embeds, x, num_inference_steps=6, grid_of=4)
    with pytest.raises(InputError, match="0 steps"):
        draw(pipeline, embeds, x, num_inference_steps=0, grid_of=4)
    assert pipeline.denoiser_calls == 0
    monkeypatch.setattr(pipeline.denoiser, "_hf_hook", object(), raising=False)
    with pytest.raises(InputError, match="offloaded"):
        draw(pipeline, embeds, x, **SHORT)
    monkeypatch.undo()
    pipeline.pipe.vae.half()
    with pytest.raises(InputError, match="overflows in float16"):
        draw(pipeline, embeds, x, **SHORT)


def test_a_call_that_cuts_the_graph_is_refused(monkeypatch) -> None:
    pipeline = made()
    post = pipeline.pipe.image_processor.postprocess
    monkeypatch.setattr(pipeline.pipe.image_processor, "postprocess", lambda x, **how: post(x.detach(), **how))
    with pytest.raises(InputError, match="gives no gradient"):
        draw(pipeline, pipeline.encode(PROMPTS), noise(pipeline).requires_grad_(), **SHORT)
