"""Files of published models, as diffusers and transformers lay them out: looked at before these libraries build any."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.places import no_file, refuse_pointer
from noiseprompt.core.ranges import SHARE, Limits, misfit, shown

AGAIN = "it may be half copied or half saved: copy or download it again"

LARGEST = 10_000
"""Of the numbers that bring latents to a scale."""

MOST_LAYERS = 1000
"""In a row, of any part; the deepest that are published have about 100."""


WIDEST = 100_000_000
"""Of what a part counts: channels, heads, words, places of a text; the largest that are published are a hundredth."""


def check_config(path: Path) -> None:
    """Refuse the description of a model or a part that is torn or hostile; one that is not there is none.

    Raises:
        ModelLoadError: not a bounded JSON object, or more layers than there can be.
    """
    if path.is_file():
        with suppress(OSError):  # told below
            refuse_pointer(path, "settings")
        config = read_json(path, ModelLoadError, "a JSON object", AGAIN, infinite=True)
        wrong, expected = _odd_count(config)
        if wrong:
            raise ModelLoadError(f"{path} asks for {wrong}", expected, AGAIN)
        if path.parent.name == "scheduler":
            check_schedule(path, config)
        if path.parent.name == "vae":
            _check_settings(path, config, LATENTS)
            _check_lengths(path, config)
        _check_settings(path, config, dict.fromkeys(EPSILONS, (float | None, Limits(least=0, most=0.1))))
        quoted = [name for name, value in config.items() if _is_quoted(name, value)]
        if quoted and path.name in ("config.json", "scheduler_config.json"):
            came = f"{path} has {quoted[0]} {shown(config[quoted[0]])} in quotes"
            raise ModelLoadError(came, "it without them: a text is always true, and no number", AGAIN)
    elif os.path.lexists(path):
        raise ModelLoadError(no_file(path), "a JSON object", AGAIN)


SCHEDULE: dict[str, tuple[Any, Limits]] = {
    "num_train_timesteps": (int, Limits(least=1, most=1_000_000)),
    "beta_start": (float, SHARE),
    "beta_end": (float, Limits(above=0, below=1)),
    "trained_betas": (list[float] | None, SHARE),
    "steps_offset": (int, Limits(least=0, most=1_000_000)),
    **dict.fromkeys(("shift", "flow_shift", "sigma_max"), (float | None, Limits(above=0, most=1_000_000))),
    "sigma_min": (float | None, Limits(least=0, most=1_000_000)),
    "shift_terminal": (float | None, Limits(above=0, below=1)),
    **dict.fromkeys(("base_shift", "max_shift"), (float | None, Limits(least=-100, most=100))),
    **dict.fromkeys(("base_image_seq_len", "max_image_seq_len"), (int | None, Limits(least=1, most=1_000_000))),
    "timestep_scaling": (float, Limits(above=0)),
    "original_inference_steps": (int, Limits(least=1)),
    "prediction_type": (
        str | None,
        Limits(words=("epsilon", "sample", "v_prediction", "flow_prediction", "trigflow", "original_sample")),
    ),
    "timestep_type": (str | None, Limits(words=("discrete", "continuous"))),
    "timestep_spacing": (str | None, Limits(words=("linspace", "leading", "trailing"))),
}
"""Of a scheduler's description: what each is where it is there. A beta is the share of the signal that a step takes,
the shift 1 for none."""

LATENTS: dict[str, tuple[Any, Limits]] = {
    "scaling_factor": (float, Limits(above=0, most=LARGEST)),
    "shift_factor": (float | None, Limits(least=-LARGEST, most=LARGEST)),
    "latents_mean": (list[float] | None, Limits(least=-LARGEST, most=LARGEST)),
    "latents_std": (list[float] | None, Limits(above=0, most=LARGEST)),
}
"""Of an autoencoder's description: how its latents are brought to the scale of the noise."""


def _check_lengths(path: Path, config: Mapping[str, Any]) -> None:
    channels = config.get("latent_channels", config.get("z_dim"))
    for name in ("latents_mean", "latents_std"):
        values = config.get(name)
        if isinstance(values, list) and isinstance(channels, int) and len(values) != channels:
            came = f"{path} has {len(values)} {name} of {channels} channels"
            raise ModelLoadError(came, "one for each", AGAIN)


EPSILONS = ("norm_eps", "layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps")
"""What a network adds to a variance before it divides by its root; published are 1e-3 at most."""


def check_schedule(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a noise schedule that is none: the library would fail inside itself, or draw pictures that are not finite.

    Raises:
        ModelLoadError: with the first setting.
    """
    _check_settings(path, config, SCHEDULE)
    betas, steps = config.get("trained_betas"), config.get("num_train_timesteps", 1000)
    if betas is not None and len(betas) != steps:
        came = f"{path} has {len(betas):,} trained_betas with num_train_timesteps {steps:,}"
        raise ModelLoadError(came, "a beta for each", AGAIN)
    least, most = config.get("beta_start"), config.get("beta_end")
    if least is not None and most is not None and least > most and betas is None:
        raise ModelLoadError(f"{path} has beta_start {least:g} above beta_end {most:g}", "noise that grows", AGAIN)
    if config.get("steps_offset", 0) >= steps:
        came = f"{path} has steps_offset {config['steps_offset']:,} with num_train_timesteps {steps:,}"
        raise ModelLoadError(came, "fewer", AGAIN)


_PLAIN = re.compile(r"true|false|yes|no|[-+]?\d+(\.\d*)?(e[-+]?\d+)?", re.IGNORECASE)


def _is_quoted(name: str, value: Any) -> bool:
    """Whether a setting is a number, or true or false, that somebody put in quotes."""
    told = name.startswith("_") or name.endswith("version")
    return isinstance(value, str) and not told and _PLAIN.fullmatch(value) is not None


def _check_settings(path: Path, config: Mapping[str, Any], known: Mapping[str, tuple[Any, Limits]]) -> None:
    for name, (kind, limits) in known.items():
        if name in config and (expected := misfit(kind, config[name], limits)):
            raise ModelLoadError(f"{path} has {name} {shown(config[name])}", expected, AGAIN)


_SIZE = re.compile(r"(heads|channels|groups|hidden_size|intermediate_size|_dim|_embeddings|vocab_size|padding|kernel)$")
"""Ends the name of a setting that counts something."""


def _odd_count(config: Mapping[str, Any]) -> tuple[str, str]:
    """The first number of layers or the like that is none, also in configs inside a config, and what it may be; or two
    empty texts."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            if (found := _odd_count(value))[0]:
                return found
            continue
        layers = "layers" in name or "depth" in name or name.endswith("_blocks")
        for count in value if isinstance(value, list) else [value]:
            if type(count) is int and layers and count > MOST_LAYERS:
                return f"{name} {count}", f"{MOST_LAYERS:,} at most"
            if type(count) is int and _SIZE.search(name) and count > WIDEST:
                return f"{name} {count}", f"{WIDEST:,} at most"
            if type(count) is int and (layers or _SIZE.search(name)) and count < 0:
                return f"{name} {count}", "none below 0"
    return "", ""


_OTHER_SHAPE = re.compile(r"(\S+) expected shape torch\.Size\(\[(.*?)\]\), but got torch\.Size\(\[(.*?)\]\)")
"""In the words of diffusers."""

_OF_ANOTHER = re.compile(r"mismatch for (\S+): copying .*?Size\(\[(.*?)\]\) from .*?model is torch\.Size\(\[(.*?)\]\)")
"""In the words of torch."""


def of_shapes(reason: str) -> str:
    """The words of a library about weights of other shapes, less its advice for callers; "" of anything else."""
    if found := _OTHER_SHAPE.search(reason):
        return f"{found[1]} has the shape [{found[3]}], not [{found[2]}] as its config.json says"
    if found := _OF_ANOTHER.search(reason):
        return f"{found[1]} has the shape [{found[2]}], and the model wants [{found[3]}]"
    if "ignore_mismatched_sizes" not in reason:
        return ""
    told, advice, _ = reason.partition(" If you want")
    return told if advice else "its weights have other shapes than its config.json says"


def has_no_words(tokenizer: Any) -> bool:
    """Whether a tokenizer knows its special tokens alone: transformers makes such a one where there are no files."""
    return len(tokenizer) <= len(set(tokenizer.all_special_tokens))


def last_word(tokenizer: Any) -> int:
    """The largest number that a tokenizer gives a word: its network has to know as many, and one more."""
    return max(tokenizer.get_vocab().values(), default=0)


_LARGEST = 2
"""As eos_token_id: transformers' word for the largest number of a row, as CLIP was published."""


def check_end(tokenizer: Any, config: Any, what: str, fix: str) -> None:
    """Refuse the text encoder of a CLIP that looks for the end of a prompt where its tokenizer puts none: what it says
    of the prompt as a whole would be what it says of the first token.

    Args:
        config: of the text encoder.
        what: it is, for the message.

    Raises:
        ModelLoadError: with the number.
    """
    end, own = config.eos_token_id, tokenizer.eos_token_id
    if not (isinstance(end, int) and 0 <= end < config.vocab_size):
        came = f"{what} has eos_token_id {shown(end)}"
        raise ModelLoadError(came, f"one of its {config.vocab_size:,} words, from 0", fix)
    if own is not None and own < config.vocab_size and end not in (_LARGEST, own):
        raise ModelLoadError(f"{what} has eos_token_id {end}", f"{own}, with which its tokenizer ends a prompt", fix)
