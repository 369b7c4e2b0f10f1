"""Every command line of the pages is one that the parser understands; what it names in the repository is there."""

from __future__ import annotations

import itertools
import re

import pytest

from noiseprompt.cli import entry
from noiseprompt.cli.options import option_types, spelled_words
from noiseprompt.cli.table import COMMANDS
from noiseprompt.core.errors import InputError
from noiseprompt.core.specs import split_specs
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.table import METHODS
from tests.docs.pages import NAMES, ROOT, TEXTS, commands

LINES = {(" ".join(words), whole): words for text in TEXTS.values() for whole, words in commands(text)}


GENERAL = {"help", "config", "print_config", "debug"}
"""Options of every command."""

ELSEWHERE = ("pip ", "python ", "torchrun ", "accelerate ", "make ", "git ", "hf ")
"""How lines begin whose options are not ours."""

LAUNCHERS = {"nproc_per_node", "nnodes", "node_rank", "master_addr", "master_port", "num_processes", "cpu"}
"""Options of torchrun and accelerate that the pages name."""


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
        for option, value in itertools.pairwise(words):
            if option in ("--methods", "--method") and value != "all":
                assert [MethodSpec.parse(spec) for spec in split_specs(value, METHODS)]


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


def every_option() -> set[str]:
    found = set(GENERAL)
    for one in COMMANDS.values():
        for command in one.values() if isinstance(one, dict) else [one]:
            found |= set(option_types(entry.option_parser(command)))
    return found


def test_every_option_that_is_named_is_one_of_a_command() -> None:
    known, wrong = every_option() | LAUNCHERS, []
    for name, text in TEXTS.items():
        code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
        ours = " ".join(one for one in code if not one.startswith(ELSEWHERE))
        options = {option.replace("-", "_") for option in re.findall(r"(?<![\w-])--([a-z][\w-]*)", ours)}
        wrong += [f"{name}: --{option}" for option in sorted(options - known)]
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_every_method_with_options_is_understood(name: str) -> None:
    names = "|".join(METHODS)
    for spec in re.findall(rf"`((?:{names}):[a-z][^`\n]*)`", TEXTS[name]):
        assert MethodSpec.parse(spec.replace("…/best", "FOLDER"))


@pytest.mark.parametrize("name", NAMES)
def test_what_they_name_is_there(name: str) -> None:
    text = TEXTS[name]
    paths = re.findall(r"(?<![\w/.])((?:recipes|benchmarks|tests|src|tools)/[\w/.-]+\.(?:py|yaml))\b", text)
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:`|^ {4})make ([a-z]+)", text, re.MULTILINE)) <= set(targets)
