"""`--config FILE`, or YAML itself in its place: read strictly, all of its mistakes told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile

from noiseprompt.cli.options import option_types, read_options, refuse, spelled
from noiseprompt.core.config import parse_yaml, read_yaml
from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.places import check_local
from noiseprompt.core.texts import in_yaml

_HANDED: dict[str, dict[str, Any]] = {}
"""What a shell hands over, as in --config <(command), can be read once: it is kept from the first look on."""


def read_config(parser: Any, source: str) -> tuple[set[str], list[str]]:
    """The options that a `--config` names, and a text for each mistake in it.

    Args:
        source: the path of a file, or YAML itself. What one names that cannot be read nobody knows: it may be any.
    """
    try:
        name, data = _config(source)
        if isinstance(name, str) and name == source and not Path(source).is_file():
            _HANDED[source] = data
    except InputError as error:
        return set(option_types(parser)), [f"{error.came}{f' (expected {error.expected})' if error.expected else ''}"]
    return set(map(str, data)), [f"{name}: {text}" for text in read_options(parser, data)[1]]


def _config(source: str) -> tuple[str | Path, dict[str, Any]]:
    inline = any(mark in source for mark in ("{", ": ", "\n"))
    name = "--config" if inline else source
    if not inline:
        check_local(source)
    if source in _HANDED:
        return name, _HANDED.pop(source)
    data = parse_yaml(source, name) if inline else read_yaml(Path(source))
    spelled_keys = {key: key if key.startswith("-") else key.replace("-", "_") for key in map(str, data)}
    twice = [key for key in spelled_keys if key != spelled_keys[key] and spelled_keys[key] in data]
    if twice:
        raise ConfigError(f"{name} gives {spelled_keys[twice[0]]} twice", "each key once")
    return name, {spelled_keys[str(key)]: value for key, value in data.items()}


class OptionsFile(ActionConfigFile):
    """Applies the options of a file by the parser."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        name, data = _config(values)
        given, mistakes = read_options(parser, data)
        refuse(name, mistakes)
        known = option_types(parser)
        plain = {key: spelled(known[key], data[key]) for key in given}
        super().__call__(parser, cfg, in_yaml(plain), option_string)
