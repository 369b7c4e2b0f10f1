"""Prompt sources: duplicates, limits, columns, splits, and what is taken for a source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from noiseprompt.core.errors import NoisepromptWarning, PromptError, UnknownNameError
from noiseprompt.core.types import Prompt
from noiseprompt.prompts import load_prompts
from noiseprompt.prompts.load import source_kind, wrong_prompt
from noiseprompt.prompts.published import SETS


def test_limit_counts_kept_prompts(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("a\na\nb\nc\n")
    assert [p.text for p in load_prompts(str(path), limit=2).prompts] == ["a", "b"]
    with pytest.raises(PromptError, match="limit 0"):
        load_prompts(str(path), limit=0)


def test_splits_of_the_world():
    found = load_prompts("shapes:test", limit=20)
    assert len(found.prompts) == 20 and found.prompts == load_prompts("shapes:test").prompts[:20]
    with pytest.raises(UnknownNameError, match="train"):
        load_prompts("shapes:dev")


def test_missing_column_lists_and_suggests(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("id,caption_en,score\n1,a cat,2\n")
    with pytest.raises(PromptError, match=r"id, caption_en, score.*Did you mean 'caption_en'"):
        load_prompts(str(path), column="caption")
    with pytest.raises(PromptError, match="Name the text's column"):
        load_prompts(str(path))


def test_a_source_is_told_from_a_text(tmp_path):
    """By the one function that loading itself goes by: what it calls a text is no source."""
    for source in ("shapes:test", "a/b.CSV", "p.parquet", *(f"{name}:folder" for name in SETS)):
        assert source_kind(source)
    for text in ("a red circle", "test", "shapes of clay", "a sign that says: hello", "version 1.5"):
        assert source_kind(text) == ""
        with pytest.raises(PromptError, match="suffix"):
            load_prompts(text)
    assert source_kind("test", "shapes") == "split"


def test_a_kind_of_zero_is_a_kind(tmp_path):
    path = tmp_path / "p.json"
    path.write_text('[{"prompt": "a", "kind": 0}, {"prompt": "b", "kind": "", "category": "x"}]')
    assert [p.kind for p in load_prompts(str(path)).prompts] == ["0", "x"]


@pytest.mark.parametrize("n", [2, 3, 4, 7, 50])
def test_the_wrong_prompt_is_never_the_same_text(n: int) -> None:
    prompts = [Prompt(f"text {i}") for i in range(n)]
    wrong = [wrong_prompt(prompts, i) for i in range(n)]
    assert all(a.text != b.text for a, b in zip(prompts, wrong, strict=True))
    assert {p.text for p in wrong} == {p.text for p in prompts}  # each once: the control has the same mix of prompts
    repeated = [Prompt("same", seed=1), Prompt("other"), Prompt("same", seed=2)]
    assert [wrong_prompt(repeated, i).text for i in range(3)] == ["other", "same", "other"]


@pytest.mark.parametrize(
    ("data", "mark"),
    [
        ("- a cat\n- a dog\n", "every line of .* begins with a bullet: '- a cat'"),
        ("1. a cat\n2. a dog\n", "every line of .* begins with a number, as in a list"),
        ('"a cat",\n"a dog",\n', "every line of .* begins with a quotation mark"),
        ("```\na cat\n```\n", "the first line of .* begins with three signs"),
    ],
)
def test_marks_of_a_list_are_told_and_kept(data: str, mark: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(data)
    with pytest.warns(NoisepromptWarning, match=mark):
        texts = [prompt.text for prompt in load_prompts(tmp_path / "p.txt").prompts]
    assert texts == list(dict.fromkeys(data.splitlines()))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "data", ["2 cats\n3 dogs\n", '"Go" on a sign\na sign\n', "- a cat\na dog\n", "- a cat\n", "1.5 m\n2.5 m\n"]
)
def test_what_is_no_mark_of_a_list_is_not_told(data: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(data)
    assert [prompt.text for prompt in load_prompts(tmp_path / "p.txt").prompts] == data.splitlines()


def test_seeds_as_pandas_writes_a_column_with_an_empty_cell(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("prompt,seed\na cat,9007199254740993.0\na dog,\n")
    assert [p.seed for p in load_prompts(path).prompts] == [9007199254740993, None]
    path.write_text("prompt,seed\na cat,3.5\n")
    with pytest.raises(PromptError, match=r"the seed '3\.5'"):
        load_prompts(path)


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [("s.txt", "5\n-9\n", None), ("p.csv", "prompt,score\na cat,3.25\n", "score"), ("p.json", '["1", "2"]', None)],
)
def test_texts_that_are_all_numbers_are_told(name, text, column, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.warns(NoisepromptWarning, match="every prompt of .* is a number: '"):
        load_prompts(tmp_path / name, column=column)


def test_a_number_among_texts_is_a_text(tmp_path, recwarn):
    (tmp_path / "p.txt").write_text("7\na cat\n")
    assert [p.text for p in load_prompts(tmp_path / "p.txt").prompts] == ["7", "a cat"]
    assert not recwarn


@pytest.mark.parametrize("source", ["", " \t"])
def test_a_blank_source_is_told_as_it_came(source):
    with pytest.raises(PromptError, match=f"^prompts {re.escape(repr(source))}"):
        load_prompts(source)
