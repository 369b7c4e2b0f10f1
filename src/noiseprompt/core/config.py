"""Configurations are frozen dataclasses; here they turn into plain data, YAML and a fingerprint."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from noiseprompt.core.errors import ConfigError
from noiseprompt.core.json_files import read_bytes
from noiseprompt.core.looks import has_conflict, other_kind
from noiseprompt.core.parts import without
from noiseprompt.core.places import check_local, expanded
from noiseprompt.core.ranges import plain, shown

T = TypeVar("T")

YAML_BYTES, YAML_VALUES, YAML_LEVELS = 2**18, 10_000, 32
"""Bounds of a YAML file: its length; texts, numbers, lists and mappings, aliases written out; and their depth."""


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass (or mapping) as plain JSON data: tuples become lists, paths become text."""
    is_record = dataclasses.is_dataclass(config) and not isinstance(config, type)
    data: Any = dataclasses.asdict(config) if is_record else dict(config)  # type: ignore[arg-type]
    return json.loads(json.dumps(data, default=_own))


def _own(value: Any) -> Any:
    """What JSON has no word for: numbers of NumPy as numbers, all else as text."""
    return str(value) if (made := plain(value)) is value else made


def check_plain(name: str, data: Mapping[str, Any]) -> None:
    """Refuse settings that a file would hold as something else: of an object its address, of NaN no number at all.

    Raises:
        ConfigError: with the first of them.
    """

    def own(value: Any) -> Any:
        if not isinstance(value, Path) and plain(value) is value:
            raise TypeError
        return _own(value)

    for key, value in data.items():
        try:
            json.dumps(value, allow_nan=False, default=own)
        except (TypeError, ValueError, RecursionError) as error:
            expected = "texts, finite numbers, true, false, null, and lists and mappings of them"
            raise ConfigError(f"{name}: {key} {shown(value)}", expected) from error


def recorded(config: Any) -> dict[str, Any]:
    """`to_dict` of settings, less those that came later (`later` of the class) at their defaults: what was recorded
    before they came stays the same settings."""
    later = {field.name for field in dataclasses.fields(config) if field.name in getattr(config, "later", ())}
    unchanged = {name for name in later if getattr(config, name) == getattr(type(config), name)}
    return {name: value for name, value in to_dict(config).items() if name not in unchanged}


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


def check_whole(name: str, value: Any, lowest: int, highest: int) -> None:
    """Refuse what is not a whole number from `lowest` to `highest`; true and 2.0 are none.

    Raises:
        ConfigError: with the name and the value.
    """
    if type(value) is not int or not lowest <= value <= highest:
        raise ConfigError(f"{name} {value!r:.60}", f"a whole number from {lowest:,} to {highest:,}")


def fingerprint(config: Any) -> str:
    """12 hexadecimal digits that change when any setting does; digests of parts are none (`core/parts.py`)."""
    text = json.dumps(without(to_dict(config)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file.

    Raises:
        InputError: an address.
        ConfigError: the file is missing, not YAML, not a mapping, or names a key twice.
    """
    check_local(path)
    path = expanded(path)
    try:
        data = read_bytes(path, YAML_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "a YAML file") from error
    except ValueError as error:
        raise ConfigError(f"cannot read {path}: {error}", "a YAML file of settings") from error
    kind, fix = other_kind(data)
    if kind:
        raise ConfigError(f"{path} is {kind}, by its first bytes", "a YAML file of settings", fix)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: it is not UTF-8", "a YAML file in UTF-8") from error
    if has_conflict(text):
        raise ConfigError(f"{path} holds a conflict of Git (<<<<<<<)", "one of the two sides", "resolve it")
    return parse_yaml(text, path)


def parse_yaml(text: str, name: Path | str) -> dict[str, Any]:
    """A YAML mapping; 1e-3 is a number and 2024-01-01 a text, as in options on the command line.

    Args:
        name: of the source, for messages.

    Raises:
        ConfigError: not YAML, not a mapping, a key twice, or out of bounds (`YAML_VALUES`, `YAML_LEVELS`).
    """
    data = parse_value(text, name)
    if not isinstance(data, dict):
        raise ConfigError(f"{name} holds no settings", "a YAML mapping of settings")
    return data


def parse_value(text: str, name: Path | str) -> Any:
    """Any YAML value, as `parse_yaml` reads it.

    Raises:
        ConfigError: as `parse_yaml`.
    """
    import yaml

    try:
        loader = _loader()(text)
        data = loader.get_single_data()
    except (yaml.YAMLError, ValueError) as error:
        line, what = _problem(error, text)
        place = f"{name}, line {line}" if line else str(name)
        torn = type(error).__module__ in _OF_FORM and _at_the_end(error, text)
        raise ConfigError(f"cannot read {place}: {what}", "YAML", "the file may be torn" if torn else "") from error
    if loader.twice:
        raise ConfigError(f"{name} gives {', '.join(loader.twice)} twice", "each key once")
    return data


def _problem(error: Exception, text: str) -> tuple[int, str]:
    """The line in which YAML is none, 0 where it has no line, and why, in words that stand alone."""
    import yaml

    if not isinstance(error, yaml.YAMLError):
        return 0, "a value that is no number"
    if isinstance(error, yaml.reader.ReaderError):
        letter = text[error.position]
        of = "U+0000, as in a file that is torn or not UTF-8" if letter == "\0" else f"U+{ord(letter):04X}"
        return text.count("\n", 0, error.position) + 1, f"the character {of}"
    mark, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", None) or error)
    told = next((found.expand(words) for said, words in _SAID.items() if (found := re.match(said, problem))), problem)
    return mark.line + 1 if mark else 0, told


def _at_the_end(error: Any, text: str) -> bool:
    """Whether YAML is none because it ends too early."""
    return error.problem_mark is not None and error.problem_mark.index >= len(text.rstrip())


_SAID = {
    "but found another document": "more than one document",
    r"found character '\\t'": "a tab where blanks belong",
    "found character ('.') that cannot start": r"a text that begins with \1 and stands in no quotes",
    "expected alphabetic or numeric character": "a text that begins with * or & and stands in no quotes",
    "mapping values are not allowed": "a second colon (such a text stands in quotes), or a line indented too far",
    "expected '<document start>'": "more after the end of the settings",
    "expected <block end>": "more after a value, or a line that is indented otherwise than those beside it",
    "found unexpected end of stream": "a text in quotes that does not end",
    "expected ',' or '(.)', but got '<stream end>'": r"brackets without their \1",
    "expected ',' or '(.)', but got": r"neither a comma nor \1 after a value (a text with brackets stands in quotes)",
    "could not find expected ':'": "a line that names no key with a colon",
    "expected the node content": "nothing where a value belongs",
    "found unknown escape|expected escape sequence": "a backslash in double quotes (in single ones it is a letter)",
    "found undefined alias '(.+)'": r"*\1, and no &\1 before it (a text that begins with * stands in quotes)",
    "second occurrence": "a name after & that is given twice",
    "sequence entries are not allowed": "a dash where no list is",
    "expected (chomping or indentation|a comment or a line)": "more behind | or >, whose text begins on the next line",
    "expected a mapping (or list of mappings )?for merging": "<< of what is no mapping",
}
"""How what PyYAML says begins, as a pattern -> the same in words that stand alone."""

_OF_FORM = ("yaml.scanner", "yaml.parser")
"""Where PyYAML refuses what is no YAML; elsewhere it refuses YAML that is no settings."""

_DIGITS = "-+0123456789"
_CORE = {
    "bool": (r"(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "float": (
        r"([-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
        f"{_DIGITS}.",
    ),
    "int": (r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", _DIGITS),
}
"""Of YAML 1.2's core schema: a type, the plain words that are of it, and their first letters. PyYAML's own are those of
1.1, where 010 is 8, 1:30 is 90 and `no` is false."""


def plain_number(word: str) -> int | float | None:
    """The number that a word is in YAML 1.2, or "nan" or "inf" without its point; None for any other word."""
    if re.match(_CORE["int"][0], word):
        return _whole(word)
    plain = re.match(_CORE["float"][0], word) or re.match(r"[-+]?(nan|inf)$", word.lower())
    return float(word.lower().replace(".inf", "inf").replace(".nan", "nan")) if plain else None


def _whole(word: str) -> int:
    return int(word, 0) if word[:2] in ("0o", "0x") else int(word)


@functools.cache
def _loader() -> Any:
    """PyYAML's safe loader with the types of YAML 1.2, bounded, that notes keys given twice."""
    import yaml
    from yaml.composer import ComposerError
    from yaml.constructor import ConstructorError

    class Loader(yaml.SafeLoader):
        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self.twice: list[str] = []
            self.levels = self.values = 0
            self.sizes: dict[int, int] = {}

        def compose_node(self, parent: Any, index: Any) -> Any:
            """As ever, counting values as if each alias were written out."""
            event, before = self.peek_event(), self.values
            self.levels += 1
            node = super().compose_node(parent, index) if self.levels <= YAML_LEVELS else None
            self.levels -= 1
            if isinstance(event, yaml.AliasEvent):
                self.values += self.sizes.get(id(node), YAML_VALUES)  # unknown while it is inside itself
            else:
                self.values += 1
                self.sizes[id(node)] = self.values - before
            if node is None or self.values > YAML_VALUES:
                most = f"{YAML_LEVELS} levels" if node is None else f"{YAML_VALUES:,} values, aliases written out"
                raise ComposerError(None, None, f"more than {most}", event.start_mark)
            return node

        def compose_scalar_node(self, anchor: Any) -> Any:
            event = self.peek_event()
            if any("\ud800" <= letter <= "\udfff" for letter in event.value):
                raise ComposerError(None, None, "half a character (a lone surrogate)", event.start_mark)
            return super().compose_scalar_node(anchor)

        def construct_whole(self, node: Any) -> int:
            word = self.construct_scalar(node)
            try:
                return _whole(word)
            except ValueError:  # no number, or more digits than Python reads
                came = f"{word[:40]!r} is no whole number of at most 4,300 digits"
                raise ConstructorError(None, None, came, node.start_mark) from None

        def construct_other(self, node: Any) -> None:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            came = f"the tag {tag}, where values are plain texts, numbers, lists and mappings"
            raise ConstructorError(None, None, came, node.start_mark)

        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise ComposerError(None, None, "a key that is no text", key.start_mark)
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    self.twice.append(f"{key.value} (line {key.start_mark.line + 1})")
                seen.add(key.value)
            return node

    plain = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in plain]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for kind, (pattern, first) in _CORE.items():
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_whole)
    for kind in ("binary", "set", "omap", "pairs", "timestamp"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", Loader.construct_other)
    Loader.add_constructor(None, Loader.construct_other)  # type: ignore[arg-type]
    return Loader
