"""Names with options: one conversion by annotation and one list of options for methods, scorers and schedulers."""

from pathlib import Path
from typing import Any, Literal

import pytest

from noiseprompt.core.errors import InputError
from noiseprompt.core.specs import convert, listing, option_types, spec_options

KNOWN = {"strength": float, "rounds": int | None, "swap": bool, "at": Literal["paper", "published"], "path": str | Path}


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (float, "1e-3", 0.001),
        (int, "-2", -2),
        (float | None, "2", 2.0),
        (str | int, "2", 2),
        (int | str, "two", "two"),
        (bool, "True", True),
        (Literal["paper", "T"], "T", "T"),
        (Literal[1, 2], "2", 2),
        (str | Path | None, "a=b", "a=b"),
        (list[int], "abc", "abc"),  # no annotation of an option: the text
        (Any, "1e3", 1000.0),
        (Any, "true", True),
        (Any, "scaled_linear", "scaled_linear"),
    ],
)
def test_a_text_becomes_what_the_annotation_says(hint: Any, text: str, value: Any) -> None:
    found = convert("a", text, hint)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("hint", "text", "words"),
    [
        (float, "nan", "a number"),
        (float | None, "much", "a number"),
        (int, "1.5", "an integer"),
        (bool, "1", "true, false or the name alone"),
        (Literal["paper", "published"], "T", "paper or published"),
        (bool | int, "x", "true, false or the name alone or an integer"),
        (str, "", "text"),
        (Any, "", "a value"),
        (Any, "a: b", "a value"),
    ],
)
def test_what_does_not_fit_is_told(hint: Any, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        convert("npnet:x", text, hint)
    assert (caught.value.came, caught.value.expected) == (f"npnet:x is {text!r}", words)


def test_options_of_a_spec() -> None:
    assert spec_options("method", "a:rounds=2, swap,path=x", KNOWN) == {"rounds": 2, "swap": True, "path": "x"}
    assert spec_options("method", "a", {}) == {}
    assert spec_options("method", "a:b=1", None) == {"b": "1"}
    assert listing(KNOWN) == (
        "strength (a number), rounds (an integer), swap (a flag), at (paper or published), path (text)"
    )


@pytest.mark.parametrize(
    ("spec", "known", "words"),
    [
        ("a:b=1", KNOWN, "option 'b=1' of the method 'a'. Expected some of strength (a number), rounds"),
        ("a:rounds", KNOWN, "rounds (an integer), swap (a flag), at (paper or published)"),
        ("a:b=1", {}, "Expected no options."),
        ("a:b", None, "Expected key=value."),
        ("a:swap,swap=true", KNOWN, "option 'swap' twice in 'a:swap,swap=true'"),
    ],
)
def test_wrong_options_list_those_there_are(spec: str, known: dict | None, words: str) -> None:
    with pytest.raises(InputError) as caught:
        spec_options("method", spec, known)
    assert words in str(caught.value)


def test_any_option_is_taken_where_the_target_takes_any() -> None:
    def taking(**options: str) -> None: ...

    def one(size: int = 1, *, name: "str | None" = None) -> None: ...

    assert option_types(taking) is None
    assert option_types(one) == {"size": int, "name": str | None}
