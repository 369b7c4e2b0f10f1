"""Parts of a loaded pipeline, looked at two by two: those of different models load, and draw nothing of the prompt."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import ModelLoadError, NoisepromptWarning
from noiseprompt.core.model_files import AGAIN, check_end, has_no_words, last_word
from noiseprompt.core.part_files import refuse_damaged
from noiseprompt.pipelines.families import named_family

FEWEST_WORDS = 0.9
"""Share of the words of a text encoder that its tokenizer has at least: some round their number up."""

_ENDLESS = 1_000_000
"""Tokens of a tokenizer that says nothing of its length begin far above."""

_ONE_MODEL = f"take all parts of one model ({AGAIN})"


def check_together(model: str | Path, pipe: Any) -> None:
    """Refuse a U-Net that reads text of another width than the text encoders give, a denoiser of latents of other
    channels than the autoencoder has, and a tokenizer with more words, numbers beyond them or longer prompts than its
    text encoder; tell of one with far fewer words.

    Args:
        model: for the message.
        pipe: of diffusers, loaded.

    Raises:
        ModelLoadError: with both.
    """
    encoders = [getattr(pipe, f"text_encoder{number}", None) for number in ("", "_2", "_3")]
    _check_width(model, pipe, [encoder for encoder in encoders if encoder is not None])
    _check_latents(model, pipe)
    for number, encoder in zip(("", "_2", "_3"), encoders, strict=True):
        tokenizer = getattr(pipe, f"tokenizer{number}", None)
        if tokenizer is not None and isinstance(getattr(getattr(encoder, "config", None), "vocab_size", None), int):
            _check_words(model, number, tokenizer, encoder)


def _check_words(model: str | Path, number: str, tokenizer: Any, encoder: Any) -> None:
    known = encoder.config.vocab_size
    length = tokenizer.model_max_length
    if isinstance(length, float) and length < _ENDLESS:
        came = f"tokenizer{number} of {model} has model_max_length {length:g}"
        raise ModelLoadError(came, "a whole number of tokens", AGAIN)
    if has_no_words(tokenizer):
        refuse_damaged(Path(str(model)) / f"tokenizer{number}")
        came = f"tokenizer{number} of {model} has no words: its files are empty, or not there"
        raise ModelLoadError(came, f"{known:,}, those of text_encoder{number}", AGAIN)
    came = f"tokenizer{number} of {model} has {len(tokenizer)} words, text_encoder{number} {known}"
    if type(encoder).__name__.startswith("CLIPText"):
        _check_clip(model, number, tokenizer, encoder.config)
    if len(tokenizer) > known:
        raise ModelLoadError(came, "as many", _ONE_MODEL)
    if (last := last_word(tokenizer)) >= known:
        told = f"tokenizer{number} of {model} gives a word the number {last:,}"
        raise ModelLoadError(told, f"at most {known - 1:,}, the last that text_encoder{number} knows", _ONE_MODEL)
    if len(tokenizer) < FEWEST_WORDS * known:
        told = f"{came}: it may be another model's, and prompts mean something else then"
        warnings.warn(told, NoisepromptWarning, stacklevel=4)


def _check_clip(model: str | Path, number: str, tokenizer: Any, config: Any) -> None:
    """Of a text encoder of CLIP, which reads the prompt as a whole at its end token and has a place for each token."""
    check_end(tokenizer, config, f"text_encoder{number} of {model}", _ONE_MODEL)
    reads, most = tokenizer.model_max_length, config.max_position_embeddings
    if tokenizer.pad_token is None:
        came = f"tokenizer{number} of {model} has no pad_token in its tokenizer_config.json"
        raise ModelLoadError(came, "one: it fills prompts up to one length", _ONE_MODEL)
    if isinstance(most, int) and not (isinstance(reads, int) and reads <= most):
        told = f"{reads:,} tokens" if isinstance(reads, int) and reads < _ENDLESS else "prompts of any length"
        came = f"tokenizer{number} of {model} reads {told} (its model_max_length)"
        raise ModelLoadError(came, f"at most {most:,}, as text_encoder{number} does", _ONE_MODEL)


def _check_width(model: str | Path, pipe: Any, encoders: Sequence[Any]) -> None:
    unet = getattr(pipe, "unet", None)
    if unet is not None and encoders and all(type(encoder).__name__.startswith("CLIPText") for encoder in encoders):
        wide = sum(encoder.config.hidden_size for encoder in encoders)
        reads = unet.config.cross_attention_dim
        if isinstance(reads, int) and unet.config.encoder_hid_dim_type is None and reads != wide:
            came = f"unet of {model} reads text of width {reads}"
            raise ModelLoadError(came, f"{wide}, of its text encoders", _ONE_MODEL)


def _check_latents(model: str | Path, pipe: Any) -> None:
    family = named_family(type(pipe).__name__)
    if family is None or getattr(pipe, family.denoiser, None) is None:
        return
    try:
        takes = family.channels(pipe)
    except (TypeError, ValueError, AttributeError):  # a configuration that says nothing of them
        return
    config = getattr(getattr(pipe, "vae", None), "config", None)
    gives = getattr(config, "latent_channels", None) or getattr(config, "z_dim", None)
    if isinstance(gives, int) and takes != gives:
        came = f"{family.denoiser} of {model} takes latents of {takes} channels"
        raise ModelLoadError(came, f"{gives}, of its vae", _ONE_MODEL)
    made = pipe.unet.config.out_channels if family.denoiser == "unet" else gives
    if isinstance(made, int) and isinstance(gives, int) and made != gives:
        raise ModelLoadError(f"unet of {model} gives {made} channels", f"{gives}, of its vae", _ONE_MODEL)
