"""A command whose work is shared with other processes: it is handed to an engine as plain data, and done by each worker
as the command itself would do it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noiseprompt.cli.options import read_options, refuse
from noiseprompt.cli.table import COMMANDS, Command
from noiseprompt.core.config import to_dict
from noiseprompt.core.places import Address, place
from noiseprompt.engines.job import Job, Report
from noiseprompt.engines.options import RAY, Sharing


def run_shared(
    sharing: Sharing, target: str, folder: str | Path, options: Mapping[str, Any], should_stop: Callable[[], bool]
) -> Iterator[Report]:
    """Let the workers of an engine do a command; yields the state of all together.

    Args:
        target: "module:function" as of `Job`; its options are those of `plain`.
        folder: of the command's output, which all workers share.
        options: keyword arguments of the command, its records included.

    Raises:
        NoisepromptError: as the engine; a worker's own errors too.
    """
    found = place(folder)
    shared = str(found if isinstance(found, Address) else found.absolute())
    job = Job(target, {**plain(options), **({"part": sharing.part} if sharing.part else {})}, shared)
    if sharing.engine == RAY:
        from noiseprompt.engines.ray import run as on_ray

        yield from on_ray(job, sharing, should_stop)
    else:
        from noiseprompt.engines.local import run as here

        yield from here(job, sharing.workers, should_stop)


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a command as options of a file: records' fields among them, what is not given left out."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed = {f.name for f in dataclasses.fields(value) if getattr(value, f.name) != f.default}
            flat |= {key: one for key, one in to_dict(value).items() if key in changed}
        elif value is not None:
            flat |= to_dict({name: value})
    return flat


def typed(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a command from `plain` ones.

    Raises:
        ConfigError: what does not fit.
    """
    from noiseprompt.cli.entry import option_parser

    command = COMMANDS[name]
    assert isinstance(command, Command)
    given, mistakes = read_options(option_parser(command), options)
    refuse(name, mistakes)
    return grouped(command, given)


def grouped(command: Command, given: Mapping[str, Any]) -> dict[str, Any]:
    """Typed options of a command as its keyword arguments: those of records as records."""
    from noiseprompt.cli.entry import records

    rest = dict(given)
    found = {}
    for parameter, cls in records(command).items():
        names = [field.name for field in dataclasses.fields(cls) if field.name in rest]
        found[parameter] = cls(**{name: rest.pop(name) for name in names})
    return {**rest, **found}
