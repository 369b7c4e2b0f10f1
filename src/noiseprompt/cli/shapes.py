"""`noiseprompt shapes`: training of the embedded world's networks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.kinds import WORLD, refuse_other
from noiseprompt.core.places import check_folder
from noiseprompt.shapes.world import NAME


def _follow(steps: Any) -> None:
    for record in steps:
        print(json.dumps(record), flush=True)


def _check_folders(out: Path, export: Path | None, settings: Any) -> None:
    """Refuse folders that cannot be written, are one and the same, or hold the work of something else.

    Raises:
        InputError, ConfigError: with the folder.
    """
    from noiseprompt.shapes.settings import WorldConfig
    from noiseprompt.shapes.training import check_export

    check_folder(out)
    refuse_other(out, WORLD)
    if (begun := out / "settings.json").exists():  # of a training or an evaluation that made nothing else yet
        raise InputError(f"{out} holds {begun.name} of something else", "a new folder")
    if export is None:
        return
    if os.path.realpath(out) == os.path.realpath(export):
        raise InputError(f"--export {export}, which is the run's own folder", "another folder")
    check_folder(export)
    if not isinstance(settings, WorldConfig):
        refuse_other(export, "")
        check_export(export, settings)
    elif not _is_world(export):  # one exported before is written over
        refuse_other(export, "")


def _is_world(folder: Path) -> bool:
    """Whether a model's folder was exported here: the world's autoencoder carries its name."""
    try:
        return read_json(folder / "vae" / "config.json").get("_name_or_path") == NAME
    except NoisepromptError:
        return False


def shapes_train(out: Path, settings: Any = None, export: Path | None = None) -> None:
    """Train the embedded world from nothing; the same command continues.

    Args:
        out: run folder.
        export: also write the pipeline there, fp16, in diffusers' layout.
    """
    from noiseprompt.shapes.settings import WorldConfig
    from noiseprompt.shapes.train_world import export as write
    from noiseprompt.shapes.train_world import train_world

    config = settings or WorldConfig()
    _check_folders(out, export, config)
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

    config = settings or FeatureConfig()
    _check_folders(out, export, config)
    _follow(train_features(Path(out), config))
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

    config = settings or PreferenceConfig()
    _check_folders(out, export, config)
    _follow(train_preference(Path(out), config))
    if export:
        write(Path(out), Path(export))
