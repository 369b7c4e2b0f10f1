"""Configurations are frozen dataclasses; here they turn into plain data, YAML and a fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from noiseprompt.errors import ConfigError

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass (or mapping) as plain JSON data: tuples become lists, paths become text."""
    is_record = dataclasses.is_dataclass(config) and not isinstance(config, type)
    data: Any = dataclasses.asdict(config) if is_record else dict(config)  # type: ignore[arg-type]
    return json.loads(json.dumps(data, default=str))


def from_dict(cls: type[T], data: dict[str, Any]) -> T:
    """The dataclass `cls` from plain data; lists become tuples where the default is one.

    Raises:
        ConfigError: a key that `cls` does not have.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ConfigError(f"unknown setting {', '.join(unknown)}", f"some of {', '.join(fields)}")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})


def fingerprint(config: Any) -> str:
    """12 hexadecimal digits that change when any setting does."""
    text = json.dumps(to_dict(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        ConfigError: the file is missing, not YAML, or not a mapping.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {error}", "a YAML file") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds {type(data).__name__}", "a YAML mapping of settings")
    return data
