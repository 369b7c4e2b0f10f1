"""The baseline: the source noise as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noiseprompt.methods.base import NoiseMethod

if TYPE_CHECKING:
    import torch

    from noiseprompt.pipelines import Pipeline, TextEmbeds


class Standard(NoiseMethod):
    """Standard sampling: noise in, the same noise out."""

    name = "standard"
    teaches = False

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        return noise
