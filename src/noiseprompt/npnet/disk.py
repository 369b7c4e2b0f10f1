"""The folder of a saved network: config.json, model.safetensors and README.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from noiseprompt.core.cards import CARD_FILE
from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptError
from noiseprompt.core.files import make_folder, replace, replacing
from noiseprompt.core.json_files import read_json
from noiseprompt.core.kinds import NETWORK, refuse_other
from noiseprompt.core.network_files import packed
from noiseprompt.core.weights import read_metadata

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT = "noiseprompt-npnet"
FORMAT_VERSION = 1
LAYOUT = f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, as save_pretrained writes it"
FIX = "give the path of a local folder or published checkpoint, or a hub id (OWNER/NAME, or OWNER/NAME:FILE)"

_MADE_AS = "noiseprompt.config"
"""Key of the weights' header: the fingerprint of the settings that say what the tensors do."""

_FREE = ("denoiser", "family", "any_size", "picture_scale")
"""Settings that say what a network is for. A picture's scale changes while it is trained, and a kill may fall between
the two files."""


def write(folder: Path, settings: Mapping[str, Any], state: Mapping[str, Tensor], card: str) -> None:
    """Save a network; each file appears whole or not at all.

    Raises:
        StoreError: the folder cannot be written, or the disk is full.
        InputError: it holds another model, or another kind of work.
    """
    refuse_other(folder, NETWORK)
    _refuse_foreign(folder / WEIGHTS_FILE)
    marked = {"format": FORMAT, "format_version": FORMAT_VERSION, **settings}
    make_folder(folder)
    with replacing(folder / WEIGHTS_FILE) as file:
        file.write(packed(state, {_MADE_AS: _made_as(settings)}))
    replace(folder / CARD_FILE, card)
    replace(folder / CONFIG_FILE, json.dumps(marked, indent=2) + "\n")


def _refuse_foreign(weights: Path) -> None:
    """Refuse a file of weights that nobody saved as a network, such as a published one that was fetched there; what a
    killed `write` left before its configuration is its own.

    Raises:
        InputError: it is there.
    """
    if not weights.is_file() or (weights.parent / CONFIG_FILE).exists():
        return
    with suppress(ModelLoadError):
        if _MADE_AS in read_metadata(weights):
            return
    came = f"{weights.parent} holds a {WEIGHTS_FILE} of something else, without {CONFIG_FILE}"
    raise InputError(came, "a new folder, or one with a saved network", "choose another")


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a network that `write` saved, as far as its configuration tells."""
    try:
        return read_json(folder / CONFIG_FILE).get("format") == FORMAT
    except NoisepromptError:
        return False


def read_settings(folder: Path) -> dict[str, Any]:
    """What `write` was given as settings.

    Raises:
        ModelLoadError: no readable configuration of an NPNet.
    """
    path = folder / CONFIG_FILE
    if not path.exists() and (folder / "best" / CONFIG_FILE).is_file():
        raise ModelLoadError(f"{folder} is the folder of a training", LAYOUT, f"name {folder / 'best'}")
    data = read_json(path, ModelLoadError, LAYOUT, FIX)
    if data.get("format") != FORMAT:
        raise ModelLoadError(f"{path} is not the configuration of an NPNet", LAYOUT, FIX)
    version = data.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        fix = "use the noiseprompt that wrote it"
        raise ModelLoadError(f"{path} has format version {version!r}", f"version {FORMAT_VERSION}", fix)
    return {name: value for name, value in data.items() if name not in ("format", "format_version")}


def check_together(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse weights beside the configuration of another network of the same shapes.

    Args:
        settings: as `read_settings` gives them.

    Raises:
        ModelLoadError: they do not belong together; weights of before this was recorded pass.
    """
    told = read_metadata(folder / WEIGHTS_FILE).get(_MADE_AS)
    if told is not None and told != _made_as(settings):
        came = f"{folder / WEIGHTS_FILE} was saved with another {CONFIG_FILE} than the one beside it"
        raise ModelLoadError(came, "both files of one network", "copy the whole folder again")


def _made_as(settings: Mapping[str, Any]) -> str:
    return fingerprint({name: value for name, value in settings.items() if name not in _FREE})
