"""What a user changes about a model when it is loaded: sampler, schedule, U-Net, LoRA, ControlNet, text, device.

The record alone, which the command line lists without torch; `assembly.py` loads a model as it says.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.core.arguments import told
from noiseprompt.core.devices import DTYPES
from noiseprompt.core.digests import files_digest
from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.core.files import public_name
from noiseprompt.core.places import expanded, no_file
from noiseprompt.core.ranges import NAMED, Limits, check, setting
from noiseprompt.pipelines.table import OFFLOADS, SCHEDULES

LONG_PROMPTS = ("truncate", "average")


@told
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
        dtype: float32, float16 or bfloat16; from Python torch's own will do, as for the device.
        device: auto (cuda, then mps, then cpu), cpu, cuda, cuda:1, mps.
        offload: "model" or "sequential": weights stay in main memory and move to the device when they are needed.

    Raises:
        ConfigError: a value that is no text, or none of those listed; all of them at once.
    """

    scheduler: str | None = None
    schedule: str | None = setting(None, Limits(words=tuple(SCHEDULES)))
    unet: str | None = setting(None, NAMED)
    lora: str | tuple[str, ...] | None = None
    controlnet: str | None = setting(None, NAMED)
    control_image: str | None = setting(None, NAMED)
    long_prompts: str = setting("truncate", Limits(words=LONG_PROMPTS))
    revision: str | None = setting(None, NAMED)
    variant: str | None = setting(None, NAMED)
    dtype: str = setting("float32", Limits(words=tuple(DTYPES)))
    device: str = "auto"
    offload: str | None = setting(None, Limits(words=OFFLOADS))

    def __post_init__(self) -> None:
        for name in ("unet", "controlnet", "control_image"):
            if isinstance(value := getattr(self, name), Path):
                object.__setattr__(self, name, str(value))
        for name in ("dtype", "device"):  # torch's own, by name: it is not imported here
            if (kind := type(getattr(self, name))).__module__ == "torch" and kind.__name__ == name:
                object.__setattr__(self, name, str(getattr(self, name)).removeprefix("torch."))
        check(self)
        parts = self.lora.split(",") if isinstance(self.lora, str) else self.lora or ()
        if parts and not "".join(parts).strip():
            raise InputError(f"lora {self.lora!r}", "files or hub ids", "leave it out for none")
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
        from noiseprompt.pipelines.adapters import parse_lora
        from noiseprompt.pipelines.samplers import parse_scheduler

        if self.scheduler is not None:
            parse_scheduler(self.scheduler)
        for text in self.loras:
            parse_lora(text)
        if self.controlnet is not None and self.control_image is None:
            raise InputError("a ControlNet without a control_image", "the picture it follows")
        if self.control_image is not None and not expanded(self.control_image).is_file():
            raise ModelLoadError(no_file(expanded(self.control_image)), "a picture for the ControlNet")

    def record(self) -> dict[str, Any]:
        """What changes results, for run.json and fingerprints: {} for a model as it comes. No folders, no device."""
        from noiseprompt.pipelines.adapters import lora_record
        from noiseprompt.pipelines.samplers import parse_scheduler

        found: dict[str, Any] = {}
        if self.scheduler is not None:
            cls, settings = parse_scheduler(self.scheduler)
            found["scheduler"] = {"class": cls.__name__, **settings}
        if self.loras:
            found["lora"] = [lora_record(text) for text in self.loras]
        if self.control_image is not None:
            found["control_image"] = files_digest(expanded(self.control_image))
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
        from noiseprompt.pipelines.adapters import parse_lora

        return tuple(filter(None, (self.unet, *(parse_lora(text)[0] for text in self.loras))))
