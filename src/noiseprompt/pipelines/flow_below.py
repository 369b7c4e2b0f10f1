"""Flow matching from just below pure noise, where there is room for a picture.

A flow model samples from sigma 1, where x = sigma eps + (1 - sigma) x_0 has no picture in it. Begun a little below,
with all levels scaled by `first_sigma`, it takes one from an NPNet that predicts pictures (docs/results.md).
"""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.configuration_utils import register_to_config

from noiseprompt.core.errors import InputError


class FlowMatchEulerBelowOne(FlowMatchEulerDiscreteScheduler):
    """FlowMatchEulerDiscreteScheduler whose every sigma is `first_sigma` times its own, so that it begins there.

    Made for noise that carries a picture. Plain noise is a little too strong for such a first level: compare with
    standard noise under the model's own scheduler.

    Args:
        first_sigma: in (0, 1).

    Raises:
        InputError: a model that counts sigma the other way round (`invert_sigmas`, Mochi).
    """

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        shift: float = 1.0,
        use_dynamic_shifting: bool = False,
        base_shift: float | None = 0.5,
        max_shift: float | None = 1.15,
        base_image_seq_len: int = 256,
        max_image_seq_len: int = 4096,
        invert_sigmas: bool = False,
        shift_terminal: float | None = None,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_beta_sigmas: bool = False,
        time_shift_type: str = "exponential",
        stochastic_sampling: bool = False,
        first_sigma: float = 0.95,
    ) -> None:
        if invert_sigmas:
            raise InputError(
                "a model whose sigmas are inverted", "one that begins at sigma 1", "leave the scheduler out"
            )
        own: dict[str, Any] = {name: self.config[name] for name in self.config if name != "first_sigma"}
        super().__init__(**{name: value for name, value in own.items() if not name.startswith("_")})

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: list[float] | None = None,
        mu: float | None = None,
        timesteps: list[float] | None = None,
    ) -> None:
        """As the class it comes from, then scaled."""
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
        first = self.config["first_sigma"]
        self.sigmas, self.timesteps = self.sigmas * first, self.timesteps * first
