"""What a user changes about a model when it is loaded: sampler, schedule, U-Net, LoRA, ControlNet, text, device.

`Pipeline.load` checks the options before anything is read, loads the model, and lets `apply_options` change it;
`Pipeline.sample` adds `samplers.schedule_arguments` to the pipeline call.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.core.devices import DTYPES, resolve_device, resolve_dtype
from noiseprompt.core.digests import files_digest
from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.core.files import public_name
from noiseprompt.core.ranges import Limits, check, setting
from noiseprompt.pipelines.adapters import load_loras, lora_record, parse_lora, replace_unet
from noiseprompt.pipelines.controlnet import with_controlnet
from noiseprompt.pipelines.families import find_family
from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.loading import OFFLOADS, check_offload, load_diffusers, place, to_channels_last
from noiseprompt.pipelines.samplers import SCHEDULES, check_schedule, make_scheduler, parse_scheduler

LONG_PROMPTS = ("truncate", "average")


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded and changed. None means: as the model comes.

    Args:
        scheduler: the sampler: a diffusers class name or a short form (ddim, dpm++, euler-ancestral, ...), with
            settings after a colon, e.g. "dpm++:use_karras_sigmas=true".
        schedule: "ays", the timesteps of Align Your Steps (10 steps; Stable Diffusion and SDXL).
        unet: folder or hub id whose U-Net replaces the pipeline's, e.g. of SDXL-DPO.
        lora: LoRA files or hub ids, "NAME" or "NAME:weight" each; in one text, separated by commas.
        controlnet: folder or hub id of a ControlNet for a Stable Diffusion or SDXL model.
        control_image: the picture it follows.
        long_prompts: what an NPNet sees of a prompt over the text encoder's limit: "truncate" (what the pipeline sees)
            or "average" (the mean over the embeddings of its chunks).
        revision: of a hub model.
        variant: of a hub model, e.g. "fp16".
        dtype: float32, float16 or bfloat16.
        device: auto (cuda, then mps, then cpu), cpu, cuda, cuda:1, mps.
        offload: "model" or "sequential": weights stay in main memory and move to the device when they are needed.

    Raises:
        ConfigError: a value that is no text, or none of those listed; all of them at once.
    """

    scheduler: str | None = None
    schedule: str | None = setting(None, Limits(words=tuple(SCHEDULES)))
    unet: str | None = None
    lora: str | tuple[str, ...] | None = None
    controlnet: str | None = None
    control_image: str | None = None
    long_prompts: str = setting("truncate", Limits(words=LONG_PROMPTS))
    revision: str | None = None
    variant: str | None = None
    dtype: str = setting("float32", Limits(words=tuple(DTYPES)))
    device: str = "auto"
    offload: str | None = setting(None, Limits(words=OFFLOADS))

    def __post_init__(self) -> None:
        for name in ("unet", "controlnet", "control_image"):
            if isinstance(value := getattr(self, name), Path):
                object.__setattr__(self, name, str(value))
        check(self)
        parts = self.lora.split(",") if isinstance(self.lora, str) else self.lora or ()
        object.__setattr__(self, "lora", tuple(part.strip() for part in parts if part.strip()) or None)

    @property
    def loras(self) -> tuple[str, ...]:
        """One text a LoRA; none is ()."""
        return tuple(self.lora or ())

    def but(self, **changes: Any) -> ModelOptions:
        """These options with other values.

        Raises:
            InputError: an option that there is not.
        """
        known = [field.name for field in dataclasses.fields(self)]
        unknown = [name for name in changes if name not in known]
        if unknown:
            raise InputError(f"option {', '.join(unknown)} of a model", f"some of {', '.join(known)}")
        return dataclasses.replace(self, **changes)

    def check(self) -> None:
        """Refuse what cannot be right, before anything is loaded.

        Raises:
            UnknownNameError: no such scheduler.
            InputError: a LoRA without a name, or a ControlNet without a picture.
            ModelLoadError: a file that is not there.
        """
        if self.scheduler is not None:
            parse_scheduler(self.scheduler)
        for text in self.loras:
            parse_lora(text)
        if self.controlnet is not None and self.control_image is None:
            raise InputError("a ControlNet without a control_image", "the picture it follows")
        if self.control_image is not None and not Path(self.control_image).expanduser().is_file():
            raise ModelLoadError(f"there is no file {self.control_image}", "a picture for the ControlNet")

    def record(self) -> dict[str, Any]:
        """What changes results, for run.json and fingerprints: {} for a model as it comes. No folders, no device."""
        found: dict[str, Any] = {}
        if self.scheduler is not None:
            cls, settings = parse_scheduler(self.scheduler)
            found["scheduler"] = {"class": cls.__name__, **settings}
        if self.loras:
            found["lora"] = [lora_record(text) for text in self.loras]
        if self.control_image is not None:
            found["control_image"] = files_digest(Path(self.control_image).expanduser())
        for name in ("unet", "controlnet"):
            if getattr(self, name) is not None:
                found[name] = public_name(getattr(self, name))
        if self.long_prompts != "truncate":
            found["long_prompts"] = self.long_prompts
        plain = {"schedule": self.schedule, "revision": self.revision, "variant": self.variant}
        return found | {name: value for name, value in plain.items() if value is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is put into the model: some families tell their checkpoints' defaults by name."""
        return tuple(filter(None, (self.unet, *(parse_lora(text)[0] for text in self.loras))))


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
