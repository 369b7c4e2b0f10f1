"""The five nodes: what they take, what they give, and the words that ComfyUI shows."""

from __future__ import annotations

from typing import Any

import comfy.sample
import torch
from comfy_api.v0_0_2 import io, ui

from noiseprompt import NoisepromptError

from . import networks
from .conditioning import LONG_PROMPTS
from .doctor import examine
from .latents import check_word
from .levels import start_level
from .noises import MixedNoise, NPNetNoise, TrainingFreeNoise
from .steps import METHODS, check_step, first_step

NPNetType = io.Custom("NPNET")

CATEGORY = "noiseprompt"
SOURCE = "the noise to start from, for example of RandomNoise: seed and batch order stay as they are there"


def _strength() -> Any:
    words = "scales the change; 0 is exactly the source noise"
    return io.Float.Input("strength", default=1.0, min=-100.0, max=100.0, step=0.05, tooltip=words)


def _renormalize() -> Any:
    words = "scale each image's noise back to the norm of its source"
    return io.Boolean.Input("renormalize", default=False, tooltip=words)


class LoadNPNet(io.ComfyNode):
    """An NPNet for the noise nodes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """As ComfyUI shows it."""
        words = (
            "a folder or a published checkpoint (.pth, .safetensors) in models/npnet, the path of one, or the id of a "
            "repository on the Hugging Face hub"
        )
        device = "where the network computes; its noise is moved back for the sampler"
        return io.Schema(
            node_id="NoisepromptLoadNPNet",
            display_name="Load NPNet",
            category=CATEGORY,
            description="Load a noise prompt network: noiseprompt's own, or a published checkpoint.",
            inputs=[
                io.String.Input("source", default="", tooltip=words),
                io.Combo.Input("device", options=list(networks.DEVICES), default="default", tooltip=device),
            ],
            outputs=[NPNetType.Output(display_name="npnet")],
        )

    @classmethod
    def validate_inputs(cls, source: str, **_: Any) -> bool | str:
        """Before anything runs."""
        return True if source.strip() else "source is empty: a folder or file in models/npnet, a path, or a hub id"

    @classmethod
    def fingerprint_inputs(cls, source: str, **_: Any) -> Any:
        """A network trained again under the same name is loaded again."""
        return networks.fingerprint(source.strip())

    @classmethod
    def execute(cls, source: str, device: str) -> io.NodeOutput:
        """Load it.

        Raises:
            NoisepromptError: nothing of that name, or no NPNet there.
        """
        return io.NodeOutput(networks.load(source.strip(), device))


class NPNetNoiseNode(io.ComfyNode):
    """The noise that a network predicts for a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """As ComfyUI shows it."""
        model = "for a network that predicts a picture: the model that the sampler runs"
        sigmas = "for a network that predicts a picture: those of the sampler; without them it begins at the greatest"
        text = "leave the network's text term out, so that one made for another model serves too"
        long = "of a prompt longer than the text encoder reads: the first chunk, or the mean of all"
        return io.Schema(
            node_id="NoisepromptNPNetNoise",
            display_name="NPNet Noise",
            category=CATEGORY,
            description="Source noise moved towards a better one for this prompt by one pass of an NPNet.",
            inputs=[
                io.Noise.Input("noise", tooltip=SOURCE),
                NPNetType.Input("npnet"),
                io.Conditioning.Input("conditioning", tooltip="the positive prompt, straight from the text encoder"),
                _strength(),
                _renormalize(),
                io.Boolean.Input("no_text", default=False, tooltip=text),
                io.Combo.Input("long_prompts", options=list(LONG_PROMPTS), default="truncate", tooltip=long),
                io.Model.Input("model", optional=True, tooltip=model),
                io.Sigmas.Input("sigmas", optional=True, tooltip=sigmas),
            ],
            outputs=[io.Noise.Output(display_name="noise")],
        )

    @classmethod
    def execute(
        cls,
        noise: Any,
        npnet: Any,
        conditioning: Any,
        strength: float,
        renormalize: bool,
        no_text: bool,
        long_prompts: str,
        model: Any = None,
        sigmas: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Give the NOISE; the network runs when the sampler asks for it.

        Raises:
            NoisepromptError: a network that predicts a picture without a MODEL, or where sampling has no room for it.
        """
        check_word("long_prompts", long_prompts, LONG_PROMPTS)
        level = None
        if strength != 0 and getattr(npnet, "config", None) and npnet.config.predicts == "picture":
            if model is None:
                came = "an NPNet that predicts a picture, without the MODEL that the sampler runs"
                raise NoisepromptError(came, "model connected, and sigmas where they begin lower than usual")
            level = start_level(model, sigmas)
        made = NPNetNoise(noise, npnet, conditioning, strength, renormalize, no_text, long_prompts, level)
        return io.NodeOutput(made)


class TrainingFreeNoiseNode(io.ComfyNode):
    """The noise that the model itself makes of its guidance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """As ComfyUI shows it."""
        method = "closed form costs two denoiser evaluations an image, re-denoise three"
        sigmas = "the step between the first two is taken: 10 steps move the noise more than 50 do"
        down, up = "guidance of the step down; not the sampler's", "guidance of the step up; 1 is none"
        guide = {"min": 0.0, "max": 100.0, "step": 0.1}
        return io.Schema(
            node_id="NoisepromptTrainingFreeNoise",
            display_name="Training-free Noise",
            category=CATEGORY,
            description="Source noise moved by the model itself: a step down with strong guidance, one up with weak.",
            inputs=[
                io.Noise.Input("noise", tooltip=SOURCE),
                io.Model.Input("model"),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Sigmas.Input("sigmas", tooltip=sigmas),
                io.Combo.Input("method", options=list(METHODS), default="re-denoise", tooltip=method),
                io.Float.Input("denoise_guidance", default=5.5, tooltip=down, **guide),
                io.Float.Input("invert_guidance", default=1.0, tooltip=up, **guide),
                _strength(),
                _renormalize(),
            ],
            outputs=[io.Noise.Output(display_name="noise")],
        )

    @classmethod
    def execute(
        cls,
        noise: Any,
        model: Any,
        positive: Any,
        negative: Any,
        sigmas: torch.Tensor,
        method: str,
        denoise_guidance: float,
        invert_guidance: float,
        strength: float,
        renormalize: bool,
    ) -> io.NodeOutput:
        """Give the NOISE; the model runs when the sampler asks for it.

        Raises:
            NoisepromptError: no step down in the sigmas, or no guidance gap.
        """
        check_word("method", method, METHODS)
        check_step(sigmas, denoise_guidance, invert_guidance)
        target = first_step(model, positive, negative, sigmas, method, denoise_guidance, invert_guidance)
        return io.NodeOutput(TrainingFreeNoise(noise, target, strength, renormalize))


class MixNoiseNode(io.ComfyNode):
    """A noise between two."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """As ComfyUI shows it."""
        words = "0 is the first noise, 1 the second; between them along the sphere, so that it stays noise"
        return io.Schema(
            node_id="NoisepromptMixNoise",
            display_name="Mix Noise",
            category=CATEGORY,
            description="Two noises mixed on the sphere: variations of a picture, or part of another noise's change.",
            inputs=[
                io.Noise.Input("first"),
                io.Noise.Input("second"),
                io.Float.Input("amount", default=0.5, min=0.0, max=1.0, step=0.01, tooltip=words),
            ],
            outputs=[io.Noise.Output(display_name="noise")],
        )

    @classmethod
    def execute(cls, first: Any, second: Any, amount: float) -> io.NodeOutput:
        """Give the NOISE."""
        return io.NodeOutput(MixedNoise(first, second, amount))


class NoiseDoctorNode(io.ComfyNode):
    """What a noise looks like."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """As ComfyUI shows it."""
        model = "gives an empty latent the channels that the sampler would give it"
        return io.Schema(
            node_id="NoisepromptNoiseDoctor",
            display_name="Noise Doctor",
            category=CATEGORY,
            description="Figures and a picture of a noise: mean, deviation, neighbours, spectrum, how far it moved.",
            inputs=[
                io.Noise.Input("noise"),
                io.Latent.Input("latent", tooltip="of the size that will be sampled"),
                io.Noise.Input("source", optional=True, tooltip="the noise it was made of: shows the change"),
                io.Model.Input("model", optional=True, tooltip=model),
            ],
            outputs=[io.Image.Output(display_name="picture"), io.String.Output(display_name="figures")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, noise: Any, latent: Any, source: Any = None, model: Any = None) -> io.NodeOutput:
        """Draw the noise as the sampler would, and look at it.

        Raises:
            NoisepromptError: latents that are no picture's.
        """
        if model is not None:
            latent = {**latent, "samples": comfy.sample.fix_empty_latent_channels(model, latent["samples"])}
        made = noise.generate_noise(latent)
        before = None if source is None else source.generate_noise(latent)
        text, picture = examine(made, before)
        return io.NodeOutput(picture, text, ui=ui.PreviewImage(picture, cls=cls))


NODES = (LoadNPNet, NPNetNoiseNode, TrainingFreeNoiseNode, MixNoiseNode, NoiseDoctorNode)
