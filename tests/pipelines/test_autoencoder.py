"""Pictures as latents: undone by each pipeline's decoding, and what diffusers' image-to-image pipelines start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch.utils._pytree import tree_map

from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.pipelines import Pipeline
from noiseprompt.shapes.world import reference_scenes, weights_folder
from tests import tiny, tiny_flow
from tests.devices import DEVICE, accelerator
from tests.pipelines.families.checks import PROMPTS
from tests.pipelines.families.tiny_sana import sana

FLOW: dict[str, Callable[[], Any]] = {
    "stable-diffusion-3": tiny_flow.stable_diffusion_3,
    "flux": tiny_flow.flux,
    "qwen-image": tiny_flow.qwen_image,
    "z-image": tiny_flow.z_image,
    "sana": sana,
}


def pictures(side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype(np.uint8)


def standing_still(pipe: Any) -> Any:
    """The pipeline with a velocity of 0: it decodes the latents it is given."""
    pipe.transformer.register_forward_hook(lambda module, args, out: tree_map(lambda x: 0 * x, out))
    return pipe


@pytest.mark.parametrize("name", FLOW)
def test_the_pipeline_decodes_what_the_bare_autoencoder_makes_of_a_picture(name: str) -> None:
    pipe = standing_still(FLOW[name]())
    pipeline = Pipeline(pipe)
    came = pictures(max(64, pipeline.family.multiple(pipe)))
    latents = pipeline.encode_images(came)
    assert latents.dtype == torch.float32 and tuple(latents.shape[1:]) == pipeline.latent_shape(*came.shape[1:3])
    drawn = pipeline.sample(pipeline.encode(PROMPTS), latents, num_inference_steps=2, guidance_scale=1.0)
    pixels = torch.from_numpy(came).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        made = pipe.vae.encode(pixels[:, :, None] if name == "qwen-image" else pixels)
        decoded = pipe.vae.decode(made.latent if name == "sana" else made.latent_dist.mode()).sample
    decoded = decoded[:, :, 0] if name == "qwen-image" else decoded
    expected = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    assert expected.std() > 1 and np.abs(drawn - expected).max() <= 1


def world_vae(**changed: Any) -> Any:
    """The world's trained autoencoder, factor 4, with another shift and scale."""
    trained = AutoencoderKL.from_pretrained(weights_folder() / "vae", torch_dtype=torch.float32)
    vae = AutoencoderKL.from_config({**trained.config, **changed})
    vae.load_state_dict(trained.state_dict())
    return vae.eval()


def test_a_picture_comes_back_through_a_shift() -> None:
    pipe = tiny_flow.flux()
    shifted = type(pipe)(**{**pipe.components, "vae": world_vae(shift_factor=0.7, scaling_factor=0.3)})
    shifted.set_progress_bar_config(disable=True)
    pipeline = Pipeline(standing_still(shifted))
    scenes = np.stack(list(reference_scenes(["a red circle", "two blue squares"], 1)))
    drawn = pipeline.sample(pipeline.encode(PROMPTS), pipeline.encode_images(scenes), num_inference_steps=2)
    assert np.abs(drawn.astype(float) - scenes).mean() < 4


@pytest.mark.parametrize("moments", [False, True])
def test_image_to_image_of_diffusers_starts_from_the_same_latents(
    moments: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import StableDiffusionXLImg2ImgPipeline

    pipe = tiny.stable_diffusion_xl()
    if moments:  # as Playground v2.5 has them
        pipe.vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.4], latents_std=[1.0, 2.0, 3.0, 4.0])
    theirs = StableDiffusionXLImg2ImgPipeline(**pipe.components)
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    image = theirs.image_processor.preprocess(pictures() / 255)
    expected = theirs.prepare_latents(image.float(), None, 2, 1, torch.float32, "cpu", add_noise=False)
    torch.testing.assert_close(Pipeline(pipe).encode_images(pictures()), expected.detach(), atol=1e-5, rtol=1e-5)


def test_an_autoencoder_that_overflows_in_half_precision_computes_in_float32() -> None:
    pipe = tiny.stable_diffusion_xl()
    expected = Pipeline(pipe).encode_images(pictures())
    pipe.vae.half()
    rounded = Pipeline(pipe).encode_images(pictures())
    assert pipe.vae.dtype == torch.float16 and pipe.vae.config.force_upcast
    torch.testing.assert_close(rounded, expected, atol=2e-3, rtol=1e-2)


def test_pictures_on_a_device() -> None:
    expected = Pipeline(tiny.stable_diffusion_xl()).encode_images(pictures())
    with accelerator():
        found = Pipeline(tiny.stable_diffusion_xl().to(DEVICE)).encode_images(pictures())
        assert found.device == DEVICE
        torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-3)


def test_what_is_no_picture_of_this_model_is_refused() -> None:
    pipe = tiny.stable_diffusion_xl()
    pipeline = Pipeline(pipe)
    for wrong in (pictures()[0], pictures() / 255, pictures(60)):
        with pytest.raises(ShapeError):
            pipeline.encode_images(wrong)
    pipe.vae = tiny_flow.flow_vae(16)
    with pytest.raises(InputError, match=r"\(16, 8, 8\) of the autoencoder AutoencoderKL.*\(4, 8, 8\)"):
        pipeline.encode_images(pictures())
    pipe.vae = None
    with pytest.raises(InputError, match="without an autoencoder"):
        pipeline.encode_images(pictures())
