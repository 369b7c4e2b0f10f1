"""`noiseprompt shapes`: training of the embedded world's networks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import InputError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.places import check_folder


def _follow(steps: Any) -> None:
    for record in steps:
        print(json.dumps(record), flush=True)


def _check_folders(*folders: Path | None) -> None:
    if len({os.path.realpath(folder) for folder in folders if folder is not None}) < sum(
        f is not None for f in folders
    ):
        raise InputError(f"--export {folders[-1]}, which is the run's own folder", "another folder")
    for folder in folders:
        if folder is not None:
            check_folder(folder)
            _refuse_other(folder)


_OF_OTHERS = ("settings.json", "state.pt", "results.jsonl", "pictures.json", "shard-*.arrow", "best/config.json")
"""Files by which a folder of another stage is known."""


def _refuse_other(folder: Path) -> None:
    """Refuse a folder that another stage works in, or a saved NPNet: their files have the same names.

    Raises:
        InputError: with the file that tells.
    """
    found = [path for name in _OF_OTHERS for path in folder.glob(name)]
    config = folder / "config.json"
    if config.is_file() and "format" in read_json(config):
        found.append(config)
    if found:
        raise InputError(f"{folder} holds {found[0].name} of something else", "a new folder")


def shapes_train(out: Path, settings: Any = None, export: Path | None = None) -> None:
    """Train the embedded world from nothing; the same command continues.

    Args:
        out: run folder.
        export: also write the pipeline there, fp16, in diffusers' layout.
    """
    from noiseprompt.shapes.settings import WorldConfig
    from noiseprompt.shapes.train_world import export as write
    from noiseprompt.shapes.train_world import train_world

    _check_folders(out, export)
    config = settings or WorldConfig()
    _follow(train_world(Path(out), config))
    if export:
        write(Path(out), config, Path(export))


def shapes_features(out: Path, settings: Any = None, export: Path | None = None) -> None:
    """Train the world's feature network from nothing; the same command continues.

    Args:
        out: run folder.
        export: also write the network there.
    """
    from noiseprompt.shapes.features import export as write
    from noiseprompt.shapes.features import train_features
    from noiseprompt.shapes.settings import FeatureConfig

    _check_folders(out, export)
    _follow(train_features(Path(out), settings or FeatureConfig()))
    if export:
        write(Path(out), Path(export))


def shapes_preference(out: Path, settings: Any = None, export: Path | None = None) -> None:
    """Train the world's preference scorer from nothing; the same command continues.

    Args:
        out: run folder.
        export: also write the scorer there.
    """
    from noiseprompt.shapes.preference import export as write
    from noiseprompt.shapes.preference import train_preference
    from noiseprompt.shapes.settings import PreferenceConfig

    _check_folders(out, export)
    _follow(train_preference(Path(out), settings or PreferenceConfig()))
    if export:
        write(Path(out), Path(export))
