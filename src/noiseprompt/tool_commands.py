"""The smaller commands: reports, data sets on disk, imported checkpoints, training of the embedded world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from noiseprompt.errors import InputError


def report(folders: list[str], out: Path | None = None) -> None:
    """Write the figures, report.html and report.md of an evaluation again; of several evaluations together in one page.

    Args:
        folders: that `noiseprompt evaluate` made.
        out: for the page; the evaluation's own folder where there is one, else "report".
    """
    from noiseprompt.evaluate import summarize_run
    from noiseprompt.report import report as write_report

    for folder in folders:
        summarize_run(folder)
    target = out if out is not None or len(folders) == 1 else Path("report")
    print(f"report: {write_report(folders, target)}")


def import_npnet(file: Path, out: Path) -> None:
    """Turn a published NPNet checkpoint (.pth or flattened .safetensors) into a folder `NPNet.from_pretrained` loads.

    Args:
        file: the checkpoint; loaded without executing anything in it.
        out: the folder to write.
    """
    from noiseprompt.npnet import import_published

    import_published(Path(file), Path(out))
    print(f"NPNet in {out}")


def npd_info(folder: Path) -> None:
    """Counts, scores and the share each filter would remove.

    Args:
        folder: of a noise prompt data set.
    """
    from noiseprompt.npd_tools import info

    print(json.dumps(info(Path(folder)), indent=2, ensure_ascii=False))


def npd_verify(folder: Path) -> int:
    """Read every pair and check digests, shapes and ids; exit status 1 where something is wrong.

    Args:
        folder: of a noise prompt data set.
    """
    from noiseprompt.npd_tools import verify

    problems = verify(Path(folder))
    print("\n".join(problems) if problems else "all pairs are sound")
    return 1 if problems else 0


def npd_export(folder: Path, file: Path) -> None:
    """Write a data set as one parquet file.

    Args:
        folder: of a noise prompt data set.
        file: the parquet file.
    """
    from noiseprompt.npd_tools import export

    if Path(file).exists():
        raise InputError(f"{file} exists", "a new file", "choose another name")
    export(Path(folder), Path(file))
    print(f"written to {file}")


def _follow(steps: Any) -> None:
    for record in steps:
        print(json.dumps(record), flush=True)


def shapes_train(out: Path, settings: Any = None, export: Path | None = None) -> None:
    """Train the embedded world from nothing; the same command continues.

    Args:
        out: run folder.
        export: also write the pipeline there, fp16, in diffusers' layout.
    """
    from noiseprompt.shapes.train_world import WorldConfig, train_world
    from noiseprompt.shapes.train_world import export as write

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
    from noiseprompt.shapes.features import FeatureConfig, train_features
    from noiseprompt.shapes.features import export as write

    _follow(train_features(Path(out), settings or FeatureConfig()))
    if export:
        write(Path(out), Path(export))


def shapes_preference(out: Path, settings: Any = None, export: Path | None = None) -> None:
    """Train the world's preference scorer from nothing; the same command continues.

    Args:
        out: run folder.
        export: also write the scorer there.
    """
    from noiseprompt.shapes.preference import PreferenceConfig, train_preference
    from noiseprompt.shapes.preference import export as write

    _follow(train_preference(Path(out), settings or PreferenceConfig()))
    if export:
        write(Path(out), Path(export))
