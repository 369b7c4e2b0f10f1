"""`noiseprompt run RECIPE.yaml`: the whole story, stage after stage, resumable at every one.

A recipe is a YAML mapping: `out`, then any of `collect`, `train`, `evaluate`, each holding the options of the command
of that name. Folders follow from `out`: OUT/npd, OUT/npnet, OUT/evaluation. In `evaluate: methods:` the word {npnet}
stands for the network just trained.
"""

from __future__ import annotations

import dataclasses
import inspect
import time
from pathlib import Path
from typing import Any

from noiseprompt import commands
from noiseprompt.config import from_dict, read_yaml
from noiseprompt.errors import ConfigError

STAGES = ("collect", "train", "evaluate")


def run(recipe: Path, out: Path | None = None) -> None:
    """Run a recipe; a stage that is complete is quickly passed over, an interrupted one continues.

    Args:
        recipe: the YAML file.
        out: folder for everything; the recipe's own `out` unless given.

    Raises:
        ConfigError: a stage or setting the recipe may not have.
    """
    data = read_yaml(Path(recipe))
    unknown = sorted(set(data) - {*STAGES, "out", "model", "about"})
    if unknown:
        raise ConfigError(f"{recipe} has {', '.join(unknown)}", f"out, model, about and {', '.join(STAGES)}")
    folder = Path(out or data.get("out") or Path("runs") / Path(recipe).stem)
    model = data.get("model", "shapes")
    calls = [_call(name, data[name] or {}, folder, model) for name in STAGES if name in data]
    for name, options in calls:
        started = time.time()
        print(f"== {name}")
        getattr(commands, name)(**options)
        print(f"== {name}: {time.time() - started:.0f} s\n")


def _call(stage: str, options: dict[str, Any], folder: Path, model: str) -> tuple[str, dict[str, Any]]:
    """The command's keyword arguments, with the stage's settings as a dataclass. Checked before anything runs."""
    from noiseprompt.cli import COMMANDS, Command, resolve

    command = COMMANDS[stage]
    assert isinstance(command, Command)
    settings_class = resolve(command.settings)
    own = set(inspect.signature(resolve(command.function)).parameters) - {"settings"}
    names = {field.name for field in dataclasses.fields(settings_class)}
    unknown = sorted(set(options) - own - names)
    if unknown:
        raise ConfigError(f"{stage} has no option {', '.join(unknown)}", f"some of {', '.join(sorted(own | names))}")
    plain: dict[str, Any] = {"model": model, **{k: v for k, v in options.items() if k in own}}
    plain["settings"] = from_dict(settings_class, {k: v for k, v in options.items() if k in names})
    folders = {"collect": {"out": folder / "npd"}, "train": {"npd": folder / "npd", "out": folder / "npnet"}}
    plain.update(folders.get(stage, {"out": folder / "evaluation"}))
    if isinstance(plain.get("methods"), str):
        plain["methods"] = plain["methods"].replace("{npnet}", str(folder / "npnet" / "best"))
    return stage, plain
