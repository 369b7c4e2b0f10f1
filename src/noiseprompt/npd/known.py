"""The settings of a data set that readers go by, and those whose kind is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noiseprompt.core.errors import ConfigError
from noiseprompt.core.ranges import ANY, COUNT, SHARE, Limits, check_value
from noiseprompt.core.types import check_shape

SCHEMA_VERSION = 1
PICTURES = "pictures"
"""What `settings["targets"]` says where targets are pictures; absent where they are noises."""

_NUMBER = (float | None, ANY)
_KNOWN: dict[str, tuple[Any, Limits]] = {
    "scorers": (list[str], ANY),
    "store_source": (bool, ANY),
    "shard_size": (int, COUNT),
    "scored_share": (float, SHARE),
    "parts": (dict, ANY),
    "targets": (str, Limits(words=(PICTURES,))),
    "schema_version": (int, Limits(least=SCHEMA_VERSION, most=SCHEMA_VERSION)),
    **dict.fromkeys(("guidance_scale", "denoise_guidance_scale", "invert_guidance_scale"), _NUMBER),
    **dict.fromkeys(("num_inference_steps", "sampling_steps", "height", "width"), (int | None, COUNT)),
    **dict.fromkeys(("pipeline", "family", "dtype", "weights"), (str | None, ANY)),
}


def check_known(settings: Mapping[str, Any]) -> None:
    """Refuse settings that no run records.

    Raises:
        KeyError: there is no latent_shape.
        ValueError, TypeError: with the first setting.
    """
    check_shape("latent_shape", settings["latent_shape"])
    for name, (kind, limits) in _KNOWN.items():
        if name in settings:
            check_value(name, kind, settings[name], limits)
    height, width, (_, rows, columns) = settings.get("height"), settings.get("width"), settings["latent_shape"]
    if height and width and height * columns != width * rows:
        came = f"latent_shape {tuple(settings['latent_shape'])} with pictures of {height} x {width}"
        raise ConfigError(came, "channels, height and width, as the pictures have them")
