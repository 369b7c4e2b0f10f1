"""The commands by name: what each runs, its arguments and settings."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """One command.

    Fields:
        function: "module:attribute".
        help: one line.
        positional: its arguments without a dash, in order; "name..." takes one or more.
        settings: "module:Dataclass" whose fields become options and arrive as `settings`, or "".
        flags: options without a value, false unless given.
    """

    function: str
    help: str
    positional: tuple[str, ...] = ()
    settings: str = ""
    flags: tuple[str, ...] = ()


_FLAGS = {
    "verbose": "print the figures of every noise: mean, std, neighbour correlation, size of the perturbation",
    "renormalize": "scale the noise of every method back to the norm of its source",
    "smoke": "for recipes with rows: a few prompts and steps, to see that everything works",
}


_HERE = "noiseprompt.cli.commands:"


_NETWORKS = "noiseprompt.cli.networks:"
_NPD = "noiseprompt.cli.npd:"
_SHAPES = "noiseprompt.cli.shapes:"


COMMANDS: dict[str, Command | dict[str, Command]] = {
    "run": Command(
        "noiseprompt.recipes.run:run", "a recipe: collect, train, evaluate, report", ("recipe",), flags=("smoke",)
    ),
    "tables": Command("noiseprompt.recipes.document:tables", "the paper's tables beside ours", ("out", "runs")),
    "collect": Command(
        "noiseprompt.cli.collecting:collect",
        "stage I: a noise prompt data set",
        (),
        "noiseprompt.stages.collect.settings:CollectConfig",
        ("verbose",),
    ),
    "train": Command(_HERE + "train", "stage II: an NPNet", (), "noiseprompt.stages.train.settings:TrainConfig"),
    "generate": Command(
        _HERE + "generate",
        "stage III: pictures",
        ("prompt",),
        "noiseprompt.stages.generate.settings:GenerateConfig",
        ("verbose", "renormalize"),
    ),
    "evaluate": Command(
        "noiseprompt.cli.evaluating:evaluate",
        "methods compared, with statistics",
        (),
        "noiseprompt.stages.evaluate.plan:EvaluateConfig",
        ("verbose",),
    ),
    "score": Command("noiseprompt.cli.score:score", "any folder of pictures, by any scorers", ("images",)),
    "report": Command(_HERE + "report", "report.html of evaluations", ("folders...",)),
    "demo": Command("noiseprompt.cli.demo:demo", "the shipped world and NPNet: pictures and a measured table"),
    "web": Command("noiseprompt.cli.web:web", "a page in the browser: draw, compare, look at the noise"),
    "doctor": Command("noiseprompt.cli.doctor:doctor", "what is installed, what computes, what is missing"),
    "completion": Command("noiseprompt.cli.completion:completion", "of bash or zsh: a script for it", ("shell",)),
    "import": Command(_NETWORKS + "import_npnet", "a published NPNet (file or hub) -> a folder", ("source", "out")),
    "npnet": {
        "push": Command(_NETWORKS + "npnet_push", "a network -> the hub, with its card", ("folder", "repo")),
    },
    "npd": {
        "info": Command(_NPD + "npd_info", "counts and filter rates", ("folder",)),
        "verify": Command(_NPD + "npd_verify", "checksums of every pair", ("folder",)),
        "export": Command(_NPD + "npd_export", "one parquet file", ("folder", "file")),
        "push": Command(_NPD + "npd_push", "to the hub, with its card", ("folder", "repo")),
        "pull": Command(_NPD + "npd_pull", "from the hub, checked", ("folder", "repo")),
    },
    "shapes": {
        "train": Command(_SHAPES + "shapes_train", "train the world", (), "noiseprompt.shapes.settings:WorldConfig"),
        "preference": Command(
            _SHAPES + "shapes_preference",
            "train the world's preference scorer",
            (),
            "noiseprompt.shapes.settings:PreferenceConfig",
        ),
        "features": Command(
            _SHAPES + "shapes_features",
            "train the world's feature network",
            (),
            "noiseprompt.shapes.settings:FeatureConfig",
        ),
    },
}


def resolve(path: str) -> Any:
    """The object behind "module:attribute"."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
