"""Any value for any setting, from Python, in a file and on the command line: kept exactly, or refused in one line."""

from __future__ import annotations

import functools
import json
import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noiseprompt.cli import entry, main
from noiseprompt.cli.table import resolve
from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import limits_of
from tests.faults.test_settings import NEEDED, RECORDS, words_of
from tests.properties import JSON, SCALARS, TEXTS, few, same

FIELDS = [(cls, name) for cls, table in RECORDS.items() for name in table]
OPTIONS = [(cls, name) for cls, name in FIELDS if words_of(cls)]
STRANGE = st.sampled_from([math.nan, math.inf, -math.inf, 10**400, -0.0, 2**63, 1e308, 5e-324, "null", "true", "1"])


def near_limits(cls: Any, name: str) -> Any:
    """Numbers on and beside the limits of a field, and its words."""
    limits = limits_of(cls)[name]
    ends = [end for end in (limits.least, limits.most, limits.above, limits.below, 1) if end is not None]
    numbers = st.sampled_from(ends).flatmap(lambda end: st.sampled_from([end, end + 1, end - 1, float(end), end + 0.5]))
    words = typing.get_args(typing.get_type_hints(cls)[name]) or ("a",)
    texts = st.sampled_from([word for word in (*words, *limits.words) if isinstance(word, str)] or ["a"])
    return numbers | texts | st.lists(numbers | texts, max_size=3)


def values(cls: Any, name: str) -> Any:
    return st.one_of(near_limits(cls, name), SCALARS, STRANGE, JSON)


def plain(value: Any) -> Any:
    """As JSON has it: tuples are lists."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def check_kept(kept: Any, value: Any, name: str) -> None:
    """Not rounded, not turned into another type but 1 into 1.0; of numbers none that is not finite."""
    whole = type(value) is int and isinstance(kept, float) and kept == value
    if isinstance(value, str) and type(kept) in (int, float):  # "1e-3" is a text in YAML
        value = type(kept)(value)
    assert whole or same(plain(kept), plain(value)), f"{name}: {value!r} became {kept!r}"
    assert not isinstance(kept, float) or math.isfinite(kept)


def check_refusal(message: str, name: str) -> None:
    assert (name in message or "cannot read options.yaml" in message) and "\n" not in message.strip(), message
    assert not [word for word in ("<class", "Parser key", "Traceback") if word in message], message


@few(100)
@given(st.data())
def test_a_record_keeps_a_value_or_refuses_it(data: Any) -> None:
    cls, name = data.draw(st.sampled_from(FIELDS))
    value = data.draw(values(cls, name))
    try:
        record = cls(**{**NEEDED.get(cls, {}), name: value})
    except InputError as error:
        check_refusal(str(error), name)
        return
    wanted = [value] if name == "lora" and isinstance(value, str) else value  # one may be named by itself
    wanted = None if name == "lora" and wanted in ([], ()) else wanted  # no names are no LoRA
    check_kept(getattr(record, name), wanted, name)


class Stand:
    """In place of the functions of the commands: what they would have been called with."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def resolve(self, path: str) -> Any:
        real = resolve(path)
        if isinstance(real, type):
            return real

        @functools.wraps(real)
        def command(**given: Any) -> int:
            self.given.append(given)
            return 0

        return command


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    own = Stand()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(entry, "resolve", own.resolve)
    yield own
    assert not [path for path in tmp_path.rglob("*") if path.suffix != ".yaml"]


def take(stand: Stand, words: list[str], cls: Any, name: str, capfd: Any) -> tuple[bool, Any]:
    """Whether a command ran, and with what; else its refusal is checked."""
    stand.given.clear()
    status = main(words)
    error = capfd.readouterr().err.strip()
    if status:
        assert status == 2 and not stand.given, error
        check_refusal(error, name)
        return False, None
    [given] = stand.given
    record = next(part for part in given.values() if isinstance(part, cls))
    return True, getattr(record, name)


@few(30)
@given(data=st.data())
def test_a_file_of_options_keeps_a_value_or_refuses_it(data: Any, stand: Stand, capfd: Any) -> None:
    cls, name = data.draw(st.sampled_from(OPTIONS))
    value = data.draw(values(cls, name))
    text = json.dumps({name: value}, ensure_ascii=False).replace("NaN", ".nan").replace("Infinity", ".inf")
    Path("options.yaml").write_text(text, encoding="utf-8")
    ran, kept = take(stand, [*words_of(cls), "--config", "options.yaml"], cls, name, capfd)
    if ran and not (isinstance(value, str) and isinstance(kept, list | tuple)):  # "0-7", "a,b"
        check_kept(kept, value, name)


@few(30)
@given(data=st.data())
def test_the_command_line_keeps_a_value_or_refuses_it(data: Any, stand: Stand, capfd: Any) -> None:
    """What is written is a text, and taken as one where a text is wanted."""
    cls, name = data.draw(st.sampled_from(OPTIONS))
    value = data.draw(values(cls, name))
    word = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    ran, kept = take(stand, [*words_of(cls), f"--{name}={word}"], cls, name, capfd)
    listed = isinstance(kept, list | tuple)
    if not ran or (listed and isinstance(value, str)):
        return
    if isinstance(kept, str):
        assert kept == word
    elif listed or not isinstance(value, str):
        check_kept(kept, value, name)
    else:  # a number or a flag in letters
        assert str(kept).lower() == word.strip().lower() or float(word) == kept


@few(25)
@given(words=st.lists(st.one_of(TEXTS, st.sampled_from(["collect", "npd", "info", "--out", "--help", "--n=1", "-v"]))))
def test_any_words_are_a_command_or_one_line(words: list[str], stand: Stand, capfd: Any) -> None:
    try:
        status = main(words)
    except SystemExit as ended:  # help and version
        status = ended.code
    out, error = capfd.readouterr()
    assert status in (0, 2), error
    assert error.strip().count("\n") == 0 and "Traceback" not in error
    assert out or error or stand.given
