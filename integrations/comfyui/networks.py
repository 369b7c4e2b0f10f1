"""An NPNet by its name: a folder, a published checkpoint, or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths

from noiseprompt import NoisepromptError, NPNet

from .latents import check_word

FOLDER = "npnet"
"""Below ComfyUI's models folder."""

LONGEST = 200
"""Letters of a name."""

DEVICES = ("default", "cpu")

folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


def find(source: str) -> Path | None:
    """The file or folder of that name, in a models/npnet folder or as a path; None where it can only be a hub id.

    Raises:
        NoisepromptError: what no file can be called.
    """
    if len(source) > LONGEST or "\0" in source:
        raise NoisepromptError(f"the NPNet {source!r:.60}", f"a name of at most {LONGEST} letters, without NUL")
    places = [Path(folder) / source for folder in folder_paths.get_folder_paths(FOLDER)]
    return next((place for place in [*places, Path(source)] if place.exists()), None)


def load(source: str, device: str = "default") -> NPNet:
    """In evaluation mode, on ComfyUI's device or the CPU.

    Raises:
        NoisepromptError: nothing of that name, or no NPNet there.
    """
    check_word("device", device, DEVICES)
    place = find(source)
    npnet = NPNet.from_pretrained(source if place is None else place)
    return npnet.to("cpu" if device == "cpu" else comfy.model_management.get_torch_device()).eval()


def fingerprint(source: str) -> Any:
    """Changes when the files do, so that a network trained again is loaded again."""
    place = find(source)
    if place is None:
        return source
    try:
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        return [source, *((file.name, stat.st_size, stat.st_mtime_ns) for file in files if (stat := file.stat()))]
    except OSError as error:  # loading it says why
        return [source, str(error)]
