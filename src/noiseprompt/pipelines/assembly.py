"""A model as its options ask for it: loaded, changed, on its device.

`Pipeline.load` checks the options before anything is read, loads the model, and lets `apply_options` change it;
`Pipeline.sample` adds `samplers.schedule_arguments` to the pipeline call.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from noiseprompt.core.devices import resolve_device, resolve_dtype
from noiseprompt.pipelines.adapters import load_loras, replace_unet
from noiseprompt.pipelines.controlnet import with_controlnet
from noiseprompt.pipelines.families import find_family
from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.loading import check_offload, load_diffusers, place, to_channels_last
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.pipelines.samplers import check_schedule, make_scheduler
from noiseprompt.pipelines.table import SCHEDULES


def apply_options(pipe: Any, options: ModelOptions, dtype: Any, name: str) -> tuple[Any, Family]:
    """The pipeline with its U-Net, LoRAs, ControlNet and scheduler: `pipe` itself, changed, or one of the same parts.

    Args:
        pipe: a loaded diffusers pipeline, still on the CPU.
        dtype: torch dtype of weights to load.
        name: of the model, as it was asked for.

    Returns:
        It and its family, whose steps are those of the schedule where there is one.

    Raises:
        ModelLoadError: a pipeline class that cannot work.
        NoisepromptError: as `replace_unet`, `load_loras`, `make_scheduler`, `check_schedule` and `with_controlnet`.
    """
    if options.unet is not None:
        replace_unet(pipe, options.unet, dtype)
    if options.loras:
        load_loras(pipe, options.loras)
    if options.control_image is not None:
        pipe = with_controlnet(pipe, options.controlnet, options.control_image, dtype)
    family = find_family(pipe, (*options.names, name))
    if options.scheduler is not None:
        pipe.scheduler = make_scheduler(pipe, options.scheduler, family.hands_sigmas)
    if options.schedule is not None:
        check_schedule(pipe, family, options.schedule)
    return pipe, with_schedule(family, options.schedule)


def with_schedule(family: Family, schedule: str | None) -> Family:
    """The family with the number of steps of a published schedule as its default."""
    return family if schedule is None else dataclasses.replace(family, num_inference_steps=SCHEDULES[schedule])


def load(model: str | Path, options: ModelOptions) -> tuple[Any, Family]:
    """A diffusers pipeline with its options, on its device, silent; and its family.

    Args:
        model: a folder in diffusers' layout, a hub id, or "shapes", the embedded world.

    Raises:
        InputError: an unknown dtype, device, or option.
        ModelLoadError: nothing loadable there, or a pipeline that cannot work.
    """
    options.check()
    device, dtype = resolve_device(options.device), resolve_dtype(options.dtype)
    check_offload(str(device), options.offload)
    pipe = load_diffusers(model, dtype, options.revision, options.variant)
    pipe, family = apply_options(pipe, options, dtype, str(model))
    place(pipe, str(device), options.offload)
    pipe.set_progress_bar_config(disable=True)
    if device.type == "cpu":
        for network in (getattr(pipe, name, None) for name in ("unet", "transformer", "vae")):
            if network is not None:
                to_channels_last(network)
    return pipe, family
