"""Figures of the paper that no evaluation gives: facts of the pairs and of the trained networks.

Every analysis takes a plan whose stages have run and returns {"columns": [...], "rows": [[...]], "note": text}.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noiseprompt.core.errors import InputError
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet
from noiseprompt.npnet.svd import tile
from noiseprompt.recipes.plan import Plan
from noiseprompt.recipes.steps import npd_folder
from noiseprompt.results.statistics import paired_bootstrap
from noiseprompt.results.summary import SetFigures, read_summary

MOST_PAIRS = 500
"""Pairs of a data set that the singular vectors are compared on."""

Table = dict[str, Any]


def check_analyses(plan: Plan) -> None:
    """Refuse an analysis that there is not, before anything runs.

    Raises:
        InputError: with its name.
    """
    for name in plan.recipe.get("analyse") or ():
        if name not in ANALYSES:
            raise InputError(f"analysis {name!r} of {plan.name}", f"one of {', '.join(ANALYSES)}")


def analyse(name: str, plan: Plan) -> Table:
    """One analysis by name.

    Raises:
        InputError: nothing to analyse.
    """
    return ANALYSES[name](plan)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """|cosine| of the singular vectors of two noises, sorted from the most similar (figure 5).

    Args:
        source, target: (C, H, W), tiled to a matrix as NPNet's singular branch sees them.

    Returns:
        (2, N): left and right vectors, in [0, 1].
    """
    left, _, right = np.linalg.svd(tile(torch.from_numpy(source)[None])[0].double().numpy())
    left2, _, right2 = np.linalg.svd(tile(torch.from_numpy(target)[None])[0].double().numpy())
    pairs = [np.abs((left * left2).sum(0)), np.abs((right * right2).sum(1))]
    return np.stack([np.sort(values)[::-1] for values in pairs])


def singular_vectors(plan: Plan) -> Table:
    """Similarity of the singular vectors of source and target noise, beside that of two unrelated noises (figure 5)."""
    folders = [stage.folder for stage in plan.stages.values() if stage.name == "collect"]
    if not folders:
        raise InputError("no pairs to analyse", "a recipe whose rows need a data set")
    npd = Npd(npd_folder(plan, folders[0]))
    chosen = np.flatnonzero(npd.usable())[:MOST_PAIRS]
    seeds, targets = npd.seeds(), np.asarray(npd.targets(chosen), np.float32)
    sources = np.asarray(npd.sources(chosen), np.float32)
    unrelated = [initial_noise(int(seeds[i]) + 10**6, npd.latent_shape).numpy() for i in chosen]
    rows = []
    for title, others in (("source and target", targets), ("two unrelated noises", unrelated)):
        curves = np.stack([similarity(s, t) for s, t in zip(sources, others, strict=True)])
        for side, name in enumerate(("left", "right")):
            one = curves[:, side]
            interval = paired_bootstrap(one.mean(1))
            at = [one[:, round(q * (one.shape[1] - 1))].mean() for q in (0.0, 0.25, 0.5, 0.75, 1.0)]
            rows.append([title, name, len(one), _interval(interval), *(f"{value:.2f}" for value in at)])
    columns = ["noises", "vectors", "pairs", "mean abs. cosine [95 %]", "largest", "25 %", "median", "75 %", "smallest"]
    return {"columns": columns, "rows": rows, "note": "Vectors are matched by the rank of their singular value."}


def scalars(plan: Plan) -> Table:
    """alpha and beta of the trained networks (table 13); "-" for a network without that term."""
    rows = []
    for title, net in _nets(plan).items():
        values = [float(value) if (value := getattr(net, key, None)) is not None else None for key in ("alpha", "beta")]
        rows.append([title, *("-" if value is None else f"{value:.3g}" for value in values)])
    return {"columns": ["network", "alpha", "beta"], "rows": rows, "note": "One training each."}


def memory(plan: Plan) -> Table:
    """Weights of the networks beside those of the pipeline (figure 16), in MB; activations are not counted."""
    from noiseprompt.pipelines import Pipeline

    model = next(iter(plan.stages.values())).options["model"]
    modules = [part for part in Pipeline.load(model).pipe.components.values() if isinstance(part, torch.nn.Module)]
    whole = sum(map(_megabytes, modules))
    rows: list[list[Any]] = [["pipeline", f"{whole:.1f}", "1"]]
    for title, net in _nets(plan).items():
        rows.append([title, f"{_megabytes(net):.1f}", f"{_megabytes(net) / whole:.3f}"])
    return {"columns": ["", "MB of weights", "share of the pipeline"], "rows": rows, "note": "Weights as loaded."}


def set_metrics(plan: Plan) -> Table:
    """Frechet distance, precision and recall of each method's images, all of them together (figure 6)."""
    rows, notes = [], []
    for cell in plan.cells:
        made = read_summary(cell.evaluation)
        sets = made.methods[cell.method].sets or SetFigures(0, None, None, None)
        shown = ["-" if value is None else f"{value:.4g}" for value in (sets.fid, sets.precision, sets.recall)]
        rows.append([" ".join(filter(None, (cell.group_title, cell.row_title))), sets.images, *shown])
        if about := made.sets:
            notes.append(f"Features: {about.features}; {about.reference_images} pictures of {about.reference}.")
    columns = ["", "images", "Frechet distance", "precision", "recall"]
    return {"columns": columns, "rows": rows, "note": notes[0] if notes else ""}


ANALYSES: dict[str, Callable[[Plan], Table]] = {
    "singular-vectors": singular_vectors,
    "scalars": scalars,
    "memory": memory,
    "sets": set_metrics,
}


def _nets(plan: Plan) -> dict[str, NPNet]:
    folders: dict[Path, str] = {}
    for cell in plan.cells:
        if cell.npnet is not None:
            folders.setdefault(cell.npnet, " ".join(filter(None, (cell.group_title, cell.row_title))))
    return {title: NPNet.from_pretrained(folder / "best") for folder, title in folders.items()}


def _megabytes(module: torch.nn.Module) -> float:
    return sum(p.numel() * p.element_size() for p in module.parameters()) / 1e6


def _interval(interval: Any) -> str:
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
