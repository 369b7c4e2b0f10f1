"""The NOISE objects: `seed`, and `generate_noise(latent)`, a CPU tensor shaped like latent["samples"].

Each is made of other NOISEs, so the source noise, its seed and a batch's order (`batch_index`) stay theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from noiseprompt import NoisepromptError, NPNet, StartLevel, mix_noise, perturb_noise

from .conditioning import prompt_embeds
from .latents import as_picture, check_plain


@dataclass(frozen=True, eq=False)
class NPNetNoise:
    """source + strength (NPNet(source, prompt) - source).

    Fields:
        source: a NOISE.
        npnet: the network.
        conditioning: of the prompt.
        strength: 0 is the source exactly, 1 what the network predicts.
        renormalize: scale each image's noise back to the norm of its source.
        no_text: leave the network's text term out.
        long_prompts: of `conditioning.LONG_PROMPTS`.
        level: where the sampler begins, for a network that predicts a picture.
    """

    source: Any
    npnet: NPNet
    conditioning: Any
    strength: float = 1.0
    renormalize: bool = False
    no_text: bool = False
    long_prompts: str = "truncate"
    level: StartLevel | None = None

    @property
    def seed(self) -> int:
        """Of the source."""
        return self.source.seed

    def generate_noise(self, latent: dict[str, Any]) -> torch.Tensor:
        """Asked by the sampler.

        Raises:
            NoisepromptError: latents or a prompt that the network was not made for.
        """
        noise = self.source.generate_noise(latent)
        if self.strength == 0:
            return noise
        check_plain(noise, "NPNet noise")
        picture = as_picture(noise, "NPNet noise")
        embeds = prompt_embeds(self.conditioning, self.npnet, len(picture), self.long_prompts)
        made = perturb_noise(
            self.npnet,
            picture,
            embeds,
            strength=self.strength,
            renormalize=self.renormalize,
            no_text=self.no_text,
            level=self.level,
        )
        return made.reshape(noise.shape)


@dataclass(frozen=True, eq=False)
class TrainingFreeNoise:
    """source + strength (target(source) - source), the target by the model itself (`steps.first_step`)."""

    source: Any
    target: Callable[[torch.Tensor, int], torch.Tensor]
    strength: float = 1.0
    renormalize: bool = False

    @property
    def seed(self) -> int:
        """Of the source."""
        return self.source.seed

    def generate_noise(self, latent: dict[str, Any]) -> torch.Tensor:
        """Asked by the sampler, before it loads the model itself.

        Raises:
            NoisepromptError: nested latents, or a result that is not finite.
        """
        noise = self.source.generate_noise(latent)
        if self.strength == 0:
            return noise
        check_plain(noise, "training-free noise")
        target = self.target(noise, self.seed).float()
        made = noise.float() + self.strength * (target - noise.float())
        if self.renormalize:
            norms = [x.flatten(1).norm(dim=1) for x in (noise.float(), made)]
            made = made * (norms[0] / norms[1].clamp_min(1e-12)).reshape(-1, *[1] * (made.ndim - 1))
        if not bool(torch.isfinite(made).all()):
            raise NoisepromptError("training-free noise that is not finite", "finite values", "use a lower strength")
        return made.to(noise)


@dataclass(frozen=True, eq=False)
class MixedNoise:
    """The point at `amount` of the arc from one noise to another; its seed is the first's."""

    first: Any
    second: Any
    amount: float

    @property
    def seed(self) -> int:
        """Of the first."""
        return self.first.seed

    def generate_noise(self, latent: dict[str, Any]) -> torch.Tensor:
        """Asked by the sampler.

        Raises:
            NoisepromptError: nested latents.
        """
        if self.amount in (0, 1):  # nothing is drawn that is not used
            return (self.second if self.amount else self.first).generate_noise(latent)
        noises = [each.generate_noise(latent) for each in (self.first, self.second)]
        for noise in noises:
            check_plain(noise, "mixed noise")
        return mix_noise(noises[0], noises[1], self.amount)
