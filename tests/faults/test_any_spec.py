"""Any text as the name of a method, scorer, extractor, scheduler or of seeds: it is one, or there is one error."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.core.specs import option_types, spec_options, split_spec, split_specs
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.table import METHODS
from noiseprompt.pipelines.samplers import parse_scheduler
from noiseprompt.pipelines.table import SCHEDULERS
from noiseprompt.results.names import display_names, public_spec, slug
from noiseprompt.scorers.base import check_scorers
from noiseprompt.scorers.table import FEATURES, SCORERS
from noiseprompt.stages.generate.settings import parse_seeds
from tests.properties import few

OPTIONS = {name: {**(option_types(METHODS.get(name)) or {}), "strength": float, "swap": bool} for name in METHODS}
KEYS = sorted({key for known in OPTIONS.values() for key in known})
VALUES = ("1", "0", "-1", "1.5", "1e3", "nan", "inf", "true", "false", "", "none", "x", "9" * 400, "\u0663", "1_0")

words = st.one_of(
    st.text(max_size=12), st.sampled_from(sorted({*METHODS, *SCORERS, *FEATURES, *SCHEDULERS})), st.sampled_from(KEYS)
)
options = st.one_of(words, st.tuples(words, st.one_of(st.sampled_from(VALUES), words)).map("=".join))
near_specs = st.tuples(words, st.lists(options, max_size=3)).map(lambda made: made[0] + ":" + ",".join(made[1]))
texts = st.one_of(st.text(max_size=30), near_specs, words)


def one_line(error: NoisepromptError) -> None:
    assert str(error).strip() and "Traceback" not in str(error)


@few(100)
@given(texts)
@example("redenoise:strength=1,strength=1")
@example(":")
@example("redenoise:=1")
def test_any_text_is_a_method_or_one_error(text: str) -> None:
    try:
        spec = MethodSpec.parse(text)
    except InputError as error:
        one_line(error)
        return
    assert MethodSpec.parse(spec.label) == spec
    assert MethodSpec.parse(spec.label).label == spec.label
    assert slug(spec.label) and display_names([spec.label])[spec.label]


def values_of(hint: Any) -> Any:
    """Values of an option, of the types its annotation names."""
    kinds = getattr(hint, "__args__", (hint,)) if hint not in (bool, int, float, str) else (hint,)
    made = []
    for kind in kinds:
        if kind is bool:
            made.append(st.booleans())
        elif kind is int:
            made.append(st.integers(1, 10**6))
        elif kind is float:
            made.append(st.floats(-1e6, 1e6))
        elif isinstance(kind, str):
            made.append(st.just(kind))  # a word of a Literal
    return st.one_of(made) if made else None


@few(60)
@given(st.data())
def test_a_method_with_options_is_read_as_it_is_printed(data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(OPTIONS)))
    known = {key: values_of(hint) for key, hint in OPTIONS[name].items()}
    known = {key: values for key, values in known.items() if values is not None}
    keys = data.draw(st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True))
    chosen = {key: data.draw(known[key]) for key in keys}
    text = name + ":" + ",".join(f"{k}={str(v).lower() if isinstance(v, bool) else v!r}" for k, v in chosen.items())
    try:
        spec = MethodSpec.parse(text.replace("'", ""))
    except InputError as error:  # out of its range
        one_line(error)
        return
    for key, value in chosen.items():
        kept = spec.options.get(key, getattr(spec, key, None))
        assert kept == value and isinstance(kept, bool) == isinstance(value, bool)
    again = MethodSpec.parse(spec.label)
    assert again == spec and again.label == spec.label and again.options == spec.options


@few(60)
@given(st.lists(near_specs, min_size=1, max_size=3))
def test_a_list_of_specs_is_split_into_what_it_was_joined_from(specs: list[str]) -> None:
    try:
        found = split_specs(",".join(specs), METHODS)
    except InputError as error:
        one_line(error)
        return
    assert found and all(part.strip() for part in found)
    assert split_specs(",".join(found), METHODS) == found


@few(50)
@given(texts)
def test_any_text_is_a_scorer_or_one_error(text: str) -> None:
    try:
        assert split_spec(check_scorers([text])[0])[0] in SCORERS
    except NoisepromptError as error:
        one_line(error)


@few(50)
@given(texts)
def test_any_text_is_a_scheduler_or_one_error(text: str) -> None:
    try:
        cls, settings = parse_scheduler(text)
    except NoisepromptError as error:
        one_line(error)
        return
    assert isinstance(cls, type) and isinstance(settings, dict)


@few(50)
@given(texts)
def test_options_of_any_text_are_converted_or_refused(text: str) -> None:
    """And the public form of a spec keeps its name and names no folder."""
    try:
        made = spec_options("thing", text, {"a": int, "b": float, "c": bool, "d": str, "strength": float})
    except InputError as error:
        one_line(error)
    else:
        assert all(math.isfinite(value) for value in made.values() if isinstance(value, float))
    assert split_spec(public_spec(text))[0] == split_spec(text)[0]


@few(150)
@given(st.one_of(st.text(max_size=20), st.text("0123456789-, ", max_size=12), st.from_regex(r"\d{1,4}-\d{1,5}(,\d+)?")))
def test_any_text_is_seeds_or_one_error(text: str) -> None:
    try:
        seeds = parse_seeds(text)
    except InputError as error:
        one_line(error)
        return
    assert seeds and len(set(seeds)) == len(seeds) <= 10_000
    assert parse_seeds(",".join(map(str, seeds))) == seeds


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_is_printed_by_its_name(name: str) -> None:
    assert MethodSpec.parse(name).label == name
