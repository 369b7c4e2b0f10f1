"""Whether the lines of an evaluation are all of it: as many images of each method as its settings ask for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from noiseprompt.core.errors import InputError, NoisepromptWarning, StoreError
from noiseprompt.core.json_lines import of_all
from noiseprompt.core.store import Store
from noiseprompt.results.folder import SETTINGS, iter_told
from noiseprompt.results.lines import FILE, NEW
from noiseprompt.results.summary import Summary


def refuse_none(store: Store) -> None:
    """Refuse an evaluation without an image.

    Raises:
        InputError: with the folder.
        StoreError: as `iter_told`.
    """
    if next(iter_told(store), None) is None:
        there = of_all(store.names(), FILE)
        came = f"{store.where(there[0])} holds no whole line" if there else f"{store} holds no {FILE}"
        raise InputError(f"no results: {came}", "at least one evaluated image", "run the evaluation first")


def check_counts(store: Store, settings: Mapping[str, Any], summary: Summary) -> None:
    """Refuse more images than the settings ask for, which are another evaluation's; tell of fewer.

    Args:
        settings: those of `read_settings`.

    Raises:
        StoreError: more prompts, or more images of a method.
    """
    config, prompts = settings["config"], settings.get("prompts", {}).get("count")
    seeds = len({*config.get("seeds", ())}) or config.get("num_seeds")
    if type(prompts) is not int or type(seeds) is not int:
        return  # of an earlier release
    fewer = []
    for label, method in summary.methods.items():
        if method.images > prompts * seeds or summary.prompts > prompts:
            came = f"{store} holds {method.images} images of {summary.prompts} prompts by {label!r:.60}"
            told = f"the {prompts * seeds} images of {prompts} prompts that {SETTINGS} tells of"
            raise StoreError(came, told, f"restore the files of one evaluation, or {NEW}")
        if method.images < prompts * seeds:
            fewer.append(f"{method.images} of {prompts * seeds} images by {label!r:.60}")
    if fewer:
        more = f" and {len(fewer) - 3} more methods" if len(fewer) > 3 else ""
        came = f"{store} holds {', '.join(fewer[:3])}{more}: figures are of these alone"
        warnings.warn(f"{came}. The same evaluate command draws the rest", NoisepromptWarning, stacklevel=3)
