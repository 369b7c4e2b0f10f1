"""The model card of the world's pipeline."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from noiseprompt.core.files import replace
from noiseprompt.core.tables import table
from noiseprompt.shapes.training import read_metrics


def write_card(run: Path, config: Any, out: Path) -> None:
    """README.md in `out`: what it is, the command, settings and hardware that made it, the training curve of `run`."""
    curve = {(r.stage, r.step): r.loss for r in read_metrics(run)}
    rows = [(stage, step, f"{loss:.4f}") for (stage, step), loss in curve.items() if step % 250 == 0]
    flat = {name: value for name, value in asdict(config).items() if name != "phases"}
    for number, phase in enumerate(asdict(config)["phases"], 1):
        flat[f"phase {number}"] = ", ".join(f"{name} {value:g}" for name, value in phase.items() if value)
    hardware = f"{os.cpu_count()} cores of a CPU ({platform.machine()})"
    text = f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---
# The shapes world

A small text-to-image latent diffusion model: 64 x 64 pictures of one to three coloured shapes, latents 4 x 16 x 16,
SDXL's noise schedule. `StableDiffusionPipeline.from_pretrained` loads it. Prompts: "a red circle", "a red circle and a
blue square", "a red circle left of a blue square" (right of, above, below), "two red circles" (three), "a small red
circle" (large).

It was trained on noisy captions on purpose, so that it errs as large models do: objects missing or doubled, attributes
exchanged, relations ignored. Colour-shape pairs in `noiseprompt.shapes.scenes.HELD_OUT` and all prompts of the
validation and test splits were never seen.

Made by `noiseprompt shapes train --out RUN --export OUT`, seed {config.seed}, on {hardware}.

{table(("setting", "value"), list(flat.items()))}

Loss (autoencoder: L1 + squared error; U-Net: squared error weighted as its phase says, so that phases do not compare):

{table(("stage", "step", "loss"), rows)}
"""
    replace(out / "README.md", text)
