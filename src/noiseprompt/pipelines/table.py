"""Samplers, published timestep schedules and kinds of offloading by name; no torch, for settings are read by it."""

from __future__ import annotations

from noiseprompt.core.registry import Registry

SCHEDULERS = Registry(
    "scheduler",
    {
        name: f"diffusers:{target}"
        for target, names in {
            "DDIMScheduler": ("ddim",),
            "DDPMScheduler": ("ddpm",),
            "DEISMultistepScheduler": ("deis",),
            "DPMSolverMultistepScheduler": ("dpm++",),
            "DPMSolverSinglestepScheduler": ("dpm++-single",),
            "EulerAncestralDiscreteScheduler": ("euler-ancestral",),
            "EulerDiscreteScheduler": ("euler",),
            "FlowMatchEulerDiscreteScheduler": ("flow-euler",),
            "FlowMatchHeunDiscreteScheduler": ("flow-heun",),
            "HeunDiscreteScheduler": ("heun",),
            "KDPM2AncestralDiscreteScheduler": ("kdpm2-ancestral",),
            "KDPM2DiscreteScheduler": ("kdpm2",),
            "LCMScheduler": ("lcm",),
            "LMSDiscreteScheduler": ("lms",),
            "PNDMScheduler": ("pndm",),
            "TCDScheduler": ("tcd",),
            "UniPCMultistepScheduler": ("unipc",),
        }.items()
        for name in (target, *names)
    }
    | {"flow-euler-below": "noiseprompt.pipelines.flow_below:FlowMatchEulerBelowOne"},
)
"""diffusers' class names and short forms, and one of ours."""

SCHEDULES = {"ays": 10}
"""Published timestep schedules -> their number of steps."""

OFFLOADS = ("model", "sequential")
"""Ways to keep weights in main memory until they are needed."""
