"""JSON and YAML that was torn, changed or made to break its reader: one line that names the file, in milliseconds."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.core.config import parse_value, read_yaml
from noiseprompt.core.errors import ConfigError, NoisepromptError, StoreError
from noiseprompt.core.json_files import parse_json, read_json
from noiseprompt.npnet.disk import read_settings as read_network
from noiseprompt.recipes.steps import _taken_over
from noiseprompt.results.folder import PATHS, read_judging, read_settings
from noiseprompt.results.summary import read_summary
from noiseprompt.scorers.shapes_preference import load_network
from noiseprompt.shapes.settings import PreferenceConfig
from noiseprompt.shapes.training import read_config

SECONDS = 10
"""Of the processor: most refusals take milliseconds, and what is not refused would take hours or all memory."""


def refuse(read: Callable[[], Any], *says: str, kind: type[NoisepromptError] = NoisepromptError) -> None:
    start = time.process_time()
    with pytest.raises(kind) as caught:
        read()
    assert time.process_time() - start < SECONDS
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    for part in says:
        assert part in str(caught.value)


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n ",
    "torn": b'{"format": "noiseprompt-npnet", "width": 1',
    "a list": b"[]",
    "null": b"null",
    "text": b'"settings"',
    "NaN": b'{"width": NaN}',
    "infinity": b'{"width": -Infinity}',
    "too large": b'{"width": 1e999}',
    "five thousand digits": b'{"width": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"width": 1, "width": 2}',
    "a key twice inside": b'{"a": [{"b": 1, "b": 1}]}',
    "deep lists": b'{"a": ' + b"[" * 200_000,
    "deep objects": b'{"a": ' * 200_000,
    "rather deep": b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "half a character": b'{"a": "\\ud800"}',
    "NUL": b"\0" * 1000,
    "two values": b"{} {}",
    "a comma": b'{"a": 1,}',
    "a newline in a text": b'{"a": "\n"}',
    "Python": b"{'a': True}",
}
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "network": ("config.json", read_network),
    "preference": ("config.json", load_network),
    "world": ("config.json", lambda folder: read_config(folder, PreferenceConfig)),
    "settings": ("settings.json", read_settings),
    "judging": (PATHS, read_judging),
    "summary": ("results.json", read_summary),
    "taken over": ("npd.json", lambda folder: _taken_over(folder / "npd.json")),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_json_is_named(tmp_path, kind, reader) -> None:
    name, read = READERS[reader]
    (tmp_path / name).write_bytes(DAMAGED[kind])
    refuse(lambda: read(tmp_path), str(tmp_path), name)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_named(tmp_path, reader) -> None:
    name, read = READERS[reader]
    (tmp_path / name).mkdir()
    refuse(lambda: read(tmp_path), str(tmp_path))


def test_a_device_without_an_end_is_not_read_for_ever(tmp_path) -> None:
    refuse(lambda: read_yaml(Path("/dev/zero")), "longer than")
    (tmp_path / "a.json").symlink_to("a.json")
    refuse(lambda: read_json(tmp_path / "a.json"), "a.json")


@pytest.mark.parametrize(
    "value", [None, 1, -2.5, "ä\U0001f600\n", [], {}, {"a": [1, {"b": [[]]}]}, "x" * 10_000, 10**100, 1e-300]
)
def test_what_json_can_say_is_read_as_the_standard_library_reads_it(value) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert parse_json(text) == parse_json(text.encode()) == json.loads(text) == value


def test_figures_may_be_unknown_but_not_infinite(tmp_path) -> None:
    (tmp_path / "a.json").write_text('{"low": NaN}')
    assert math.isnan(read_json(tmp_path / "a.json", nan=True)["low"])
    (tmp_path / "a.json").write_text('{"low": Infinity}')
    refuse(lambda: read_json(tmp_path / "a.json", StoreError, nan=True), "Infinity", kind=StoreError)


SETTINGS = {"fingerprint": "", "settings": {}, "methods": {}, "environment": {}}


@pytest.mark.parametrize("value", [None, 1, "text", []])
@pytest.mark.parametrize("key", ["settings", "methods", "judging", "refused", "environment", "pipeline", "config"])
def test_parts_of_settings_that_are_no_objects_are_named(tmp_path, key, value) -> None:
    changed = {"settings": {key: value}} if key in ("pipeline", "config") else {key: value}
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS | changed))
    refuse(lambda: read_settings(tmp_path), "settings.json", key)


def laughs(levels: int, names: str = "abcdefghij") -> str:
    lines = [f"a: &a [{', '.join('x' * 9)}]"]
    lines += [f"{names[i]}: &{names[i]} [{', '.join([f'*{names[i - 1]}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


YAML = {
    "a billion laughs": laughs(9),
    "aliases in merges": "a: &a {x: 1}\n" + "".join(f"b{i}: {{<<: [{', '.join(['*a'] * 500)}]}}\n" for i in range(30)),
    "itself": "a: &a [*a]",
    "itself in a mapping": "&a {a: *a}",
    "itself by two": "a: &a {b: &b [*a], c: *b}",
    "an alias of nothing": "a: *nothing",
    "deep lists": "a: " + "[" * 100_000,
    "deep objects": "a: " + "{a: " * 50_000,
    "deep blocks": "\n".join(f"{' ' * i}a:" for i in range(700)),
    "deep dashes": "a:\n" + "- " * 100_000,
    "deep questions": "? " * 100_000,
    "many": "a: [" + "1," * 60_000 + "]",
    "many keys": "".join(f"k{i}: 1\n" for i in range(20_000)),
    "long": "a: " + "x" * 2_000_000,
    "five thousand digits": "a: " + "9" * 5_000,
    "a program": "a: !!python/object/apply:os.system ['true']",
    "another program": "!!python/object/new:os.system ['true']",
    "an unknown tag": "a: !thing 1",
    "a key that is a list": "? [a]\n: 1",
    "a key that is a mapping": "? {a: 1}\n: 1",
    "a key twice": "a: 1\na: 2",
    "a key twice inside": "a: {b: 1, b: 2}",
    "half a character": 'a: "\\ud800"',
    "half a character in a key": '"\\udfff": 1',
    "NUL": "a: \0",
    "two documents": "a: 1\n---\nb: 2",
    "torn": "a: [1, 2",
    "torn text": 'a: "b',
    "tabs": "a:\n\tb: 1",
    "empty": "",
    "null": "null",
    "a list": "- a",
    "a text": "settings",
    "bad binary": "a: !!binary x",
    "a directive": "%YAML 9.9\n---\na: 1",
}


@pytest.mark.parametrize("kind", YAML)
def test_yaml_that_breaks_its_reader_is_refused(tmp_path, kind) -> None:
    (tmp_path / "a.yaml").write_text(YAML[kind])
    refuse(lambda: read_yaml(tmp_path / "a.yaml"), "a.yaml", kind=ConfigError)


SAID = {
    "a: !include b.yaml": r"line 1: the tag !include, where",
    "a: 1\nb: !!python/name:os.system": r"line 2: the tag !!python/name:os\.system, where",
    "a: 1\nb: \0": r"line 2: the character U\+0000, as in a file that is torn or not UTF-8",
    "a: 1\nb: \x07": r"line 2: the character U\+0007",
    "a: b: c": r"line 1: a second colon",
    "a: *.txt": r"line 1: a text that begins with \* or & and stands in no quotes",
    "a: %b": r"line 1: a text that begins with '%' and",
    "a: @b": r"line 1: a text that begins with '@' and",
    "a:\n\tb: 1": r"line 2: a tab where blanks belong",
    "a: [1, 2": r"line 1: brackets without their \]",
    "a: 'b": r"line 1: a text in quotes that does not end",
    "a: 'b'c": r"line 1: more after a value",
    "[a]\nb: 1": r"line 2: more after the end",
    "a: 1\n b: 2\n": r"line 2: .*a line indented too far",
    "- a\nb: 1": r"line 2: .* a line that is indented otherwise",
}


@pytest.mark.parametrize("text", SAID)
def test_yaml_is_refused_in_our_words(text: str) -> None:
    with pytest.raises(ConfigError, match=SAID[text]):
        parse_value(text, "f")


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_aliases_within_bounds_are_read(levels) -> None:
    data: Any = parse_value(laughs(levels), "f")
    for name in reversed("abc"[:levels]):
        assert len(data[name]) == 9
    assert json.dumps(data).count('"x"') == sum(9**level for level in range(1, levels + 1))


@pytest.mark.parametrize("recipe", sorted(Path("recipes").rglob("*.yaml")), ids=str)
def test_recipes_of_the_repository_are_far_within_bounds(recipe) -> None:
    assert read_yaml(recipe)
    assert recipe.stat().st_size < 2**18 / 10
