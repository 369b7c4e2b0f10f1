"""Every command line of the pages is one that the parser understands; what it names in the repository is there."""

from __future__ import annotations

import re

import pytest

from noiseprompt.cli import entry
from noiseprompt.cli.options import option_types, spelled_words
from noiseprompt.cli.table import COMMANDS
from noiseprompt.core.errors import InputError
from tests.docs.pages import NAMES, ROOT, TEXTS, commands

LINES = {(" ".join(words), whole): words for text in TEXTS.values() for whole, words in commands(text)}


def parse(words: list[str], whole: bool = True) -> None:
    """As `entry.run` does, up to the point where the command would run.

    Args:
        whole: what is required is there.

    Raises:
        Exception: a command or option that there is not, or a value that does not fit.
    """
    words = [entry._underscored(word) for word in words]
    command = entry._named(words)
    if command is None:  # a group of commands, or one that there is not
        assert isinstance(COMMANDS[words[0]], dict) and len(words) == 1, f"noiseprompt {' '.join(words)}"
        return
    names = 2 if isinstance(COMMANDS[words[0]], dict) else 1
    if words[names:] and words[names:] != ["--help"]:
        try:
            entry._refuse_mistakes(command, words)
        except InputError as error:
            if whole or not str(error).startswith("required:"):
                raise
            return
        entry.build_parser(words).parse_args(spelled_words(words, option_types(entry.option_parser(command))))


def test_the_pages_hold_commands() -> None:
    assert len(LINES) > 60 and sum(whole for _, whole in LINES) > 40


@pytest.mark.parametrize(("line", "whole"), LINES, ids=[line[:60] for line, _ in LINES])
def test_every_command_is_understood(line: str, whole: bool) -> None:
    parse(LINES[line, whole], whole)


@pytest.mark.parametrize(
    "line", ["generat x --out o", "generate x --out o --sedes 1", "train --out o --batch_size 0", "evaluate --n x"]
)
def test_a_command_that_there_is_not_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r"generat|sedes|batch_size|--n"):
        parse(line.split())


@pytest.mark.parametrize("name", NAMES)
def test_what_they_name_is_there(name: str) -> None:
    text = TEXTS[name]
    paths = re.findall(r"(?<![\w/.])((?:recipes|benchmarks|tests|src|tools)/[\w/.-]+\.(?:py|yaml))\b", text)
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:`|^ {4})make ([a-z]+)", text, re.MULTILINE)) <= set(targets)
