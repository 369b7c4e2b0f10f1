"""From the settings of a stage in a recipe to the keyword arguments of its command."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from noiseprompt.config import from_dict
from noiseprompt.errors import ConfigError


def stage_call(stage: str, options: dict[str, Any], model: str) -> dict[str, Any]:
    """Keyword arguments of the command of that name, its settings as a dataclass. Folders are the caller's.

    Args:
        stage: "collect", "train" or "evaluate".
        options: as on the command line.
        model: unless `options` has another.

    Raises:
        ConfigError: an option the command does not have.
    """
    from noiseprompt.cli import COMMANDS, Command, resolve
    from noiseprompt.families.options import ModelOptions

    command = COMMANDS[stage]
    if not isinstance(command, Command):
        raise ConfigError(f"stage {stage}", "a command that stands alone")
    parameters = inspect.signature(resolve(command.function)).parameters
    classes = {"settings": resolve(command.settings)}
    if "loading" in parameters:
        classes["loading"] = ModelOptions
    own = set(parameters) - set(classes)
    fields = {name: {field.name for field in dataclasses.fields(cls)} for name, cls in classes.items()}
    known = own.union(*fields.values())
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigError(f"{stage} has no option {', '.join(unknown)}", f"some of {', '.join(sorted(known))}")
    call: dict[str, Any] = {"model": model, **{k: v for k, v in options.items() if k in own}}
    for name, cls in classes.items():
        call[name] = from_dict(cls, {k: v for k, v in options.items() if k in fields[name]})
    return call
