"""The command line: signatures of `commands.py` and fields of the stages' configurations become options (jsonargparse).

`noiseprompt COMMAND --help` lists the options, `--config FILE.yaml` reads them from a file, `--print_config` writes
one. Only what the chosen command needs is imported.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import functools
import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from noiseprompt.cli.annotations import settle
from noiseprompt.cli.mistakes import files_first, joined, refuse_command, refuse_words
from noiseprompt.cli.option_files import OptionsFile
from noiseprompt.cli.options import add_record, option_types, register_records, spelled_words, wanted
from noiseprompt.cli.progress import say
from noiseprompt.cli.table import _FLAGS, COMMANDS, Command, resolve
from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import InputError, NoisepromptError, NoisepromptWarning
from noiseprompt.core.places import as_told
from noiseprompt.core.ranges import COUNT
from noiseprompt.core.texts import unwritable

_RECORDS = {
    "loading": "noiseprompt.pipelines.options:ModelOptions",
    "sharing": "noiseprompt.engines.options:Sharing",
}
"""Parameter of a command -> the settings record that several commands share."""


_LIMITS = {"n": COUNT}
"""Option that is no field of a settings record -> its limits."""


def build_parser(words: list[str]) -> Any:
    """The parser; only the commands named in `words` get their options (and are imported)."""
    from jsonargparse import ArgumentParser

    from noiseprompt.cli.help import Help
    from noiseprompt.core.environment import VERSION

    told = {"description": "Starting noise one can learn.", "version": VERSION, "formatter_class": Help}
    parser = ArgumentParser(prog="noiseprompt", exit_on_error=False, **told)
    parser.add_argument("--debug", action="store_true", help="print the whole traceback of an error; anywhere")
    _add_commands(parser, COMMANDS, words, "command")
    return parser


def _add_commands(parser: Any, commands: dict[str, Any], words: list[str], dest: str) -> None:
    from jsonargparse import ArgumentParser

    from noiseprompt.cli.help import Help

    group = parser.add_subcommands(dest=dest, required=True)
    for name, command in commands.items():
        child = ArgumentParser(exit_on_error=False, formatter_class=Help)
        named = bool(words) and words[0] == name
        if isinstance(command, Command) and named:
            _add_options(child, command)
        group.add_subcommand(name, child, help=", ".join(command) if isinstance(command, dict) else command.help)
        if isinstance(command, dict):
            _add_commands(child, command, words[1:] if named else [], name)


@functools.cache
def option_parser(command: Command) -> Any:
    """A parser of one command's options alone, for options that come from elsewhere than the command line."""
    from jsonargparse import ArgumentParser

    from noiseprompt.cli.help import Help

    parser = ArgumentParser(exit_on_error=False, formatter_class=Help)
    _add_options(parser, command)
    return parser


def _named(words: list[str]) -> Command | None:
    """The command that the first words name."""
    found: Any = COMMANDS
    for word in words:
        found = found.get(word)
        if not isinstance(found, dict):
            return found
    return None


def _add_options(parser: Any, command: Command) -> None:
    from docstring_parser import parse

    parser.add_argument("--config", action=OptionsFile, help="a YAML file of options")
    described = {one.arg_name: one.description for one in parse(resolve(command.function).__doc__ or "").params}
    for name in command.positional:
        several, name = name.endswith("..."), name.removesuffix("...")
        parser.add_argument(name, help=described.get(name), **({"nargs": "+"} if several else {}))
    apart = {*(name.removesuffix("...") for name in command.positional), *command.flags, "settings", *_RECORDS}
    parser.add_function_arguments(settle(resolve(command.function)), None, as_positional=False, skip=apart)
    for name in command.flags:
        short = ["-v"] if name == "verbose" else []
        parser.add_argument(*short, f"--{name}", action="store_true", help=_FLAGS.get(name, ""))
    for action in parser._actions:
        if action.dest in _LIMITS:
            action.limits = _LIMITS[action.dest]
    for cls in records(command).values():
        register_records(cls)
        add_record(parser, cls)


def records(command: Command) -> dict[str, Any]:
    """Parameter of the command -> the dataclass whose fields are options of their own."""
    found = {"settings": resolve(command.settings)} if command.settings else {}
    taken = inspect.signature(resolve(command.function)).parameters
    return found | {name: resolve(path) for name, path in _RECORDS.items() if name in taken}


def run_command(parser: Any, arguments: list[str]) -> int:
    """Parse and run."""
    try:
        parsed = parser.parse_args(arguments)
    except OverflowError as error:
        long = max(arguments, key=len)
        raise InputError(f"{long[:57]}...", "a number of at most 308 digits") from error
    command: Any = COMMANDS
    level = parsed
    key = "command"
    while isinstance(command, dict):
        name = level[key]
        command, level, key = command[name], level[name], name
    options = {name: value for name, value in level.as_dict().items() if name not in ("config", "__path__")}
    options.pop("print_config", None)
    mistakes = []
    for parameter, cls in records(command).items():
        try:
            options[parameter] = cls(**{field.name: options.pop(field.name) for field in dataclasses.fields(cls)})
        except InputError as error:
            mistakes.append(error)
    if len(mistakes) > 1:
        raise InputError("; ".join(str(error).rstrip(".") for error in mistakes))
    if mistakes:
        raise mistakes[0]
    return int(resolve(command.function)(**options) or 0)


_WRITTEN = {"True": "true", "False": "false", "None": "null"}
"""The parser's word for a value -> what was written."""


def _in_one_line(message: str, words: list[str]) -> str:
    """The parser's message about an option in words, without its account of types, and where the options are listed."""
    found = _named(words)
    command = words[0] if words and words[0] in COMMANDS else ""
    known = option_types(option_parser(found)) if found else {}
    bare = {name.removesuffix("...") for name in found.positional} if found else set()
    given = re.search(r'Parser key "([^"]+)":', message)
    missing = re.search(r"arguments are required: (.*)", message)
    none = re.search(r'expected "(.*)" to be one of \{(.*)\}, but it was not provided', message)
    if given:
        name = given[1].rpartition(".")[2]
        value = re.search(r".*(?:Given|Got) value: (.*)", message, re.DOTALL)  # the last, of several types
        word = value[1].strip() if value else ""
        came = f" {_WRITTEN.get(word, word)!r}" if value else ""
        message = f"{_dashed(name, bare)}{came}. Expected {wanted(known.get(name))}"
    elif missing:
        names = [name.rpartition(".")[2] for name in missing[1].split(", ")]
        message = "required: " + ", ".join(_dashed(name, bare) for name in names)
    elif none and (group := none[1].rpartition(".")[2]) in COMMANDS:
        message = f"{group} without a command. Expected one of {none[2].replace(',', ', ')}"
    elif command:
        message = message.replace(f"{command}.", "")
    message = " ".join(message.split()).rstrip(".")
    return f"{message}. `{' '.join(filter(None, ('noiseprompt', command, '--help')))}` lists what there is."


def _dashed(name: str, bare: set[str]) -> str:
    return name if name in bare else f"--{name}"


def _underscored(word: str) -> str:
    """ "--long-prompts=average" as "--long_prompts=average": both spellings of an option are understood."""
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value if name.startswith("--") else word


def run(arguments: list[str], debug: bool = False) -> int:
    """Run one command; a NoisepromptError becomes one line and exit status 2.

    Args:
        debug: print the traceback of such an error too.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if not sys.stderr.isatty():  # a log
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    words = joined([_underscored(word) for word in arguments])
    try:
        with _own_warnings_only(), _surroundings_told():
            _refuse_letters(words)
            refuse_command(words, COMMANDS)
            command = _named(words)
            if command is not None:
                os.getcwd()  # of one that was removed torch would tell in words of its own
                _refuse_python()
                _refuse_mistakes(command, words)
                names = _depth(words)
                words = [*words[:names], *files_first(words[names:])]
                words = spelled_words(words, option_types(option_parser(command)))
            return run_command(build_parser(words), words)
    except (NoisepromptError, argparse.ArgumentError) as error:
        if debug:
            traceback.print_exception(error)
        say(f"error: {error if isinstance(error, NoisepromptError) else _in_one_line(str(error), words)}")
        return 2


def _refuse_letters(words: list[str]) -> None:
    """Refuse words that are text and could not be read as such, for the locale has no letters beyond ASCII.

    Raises:
        InputError: with the encoding.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8" and (strange := [word for word in words if unwritable(word)]):
        came = f"{os.fsencode(strange[0]).decode(errors='backslashreplace')[:80]!r} where the locale says {encoding}"
        raise InputError(came, "a locale in UTF-8", "set LC_ALL=C.UTF-8 or PYTHONUTF8=1, and run it again")


def _refuse_python() -> None:
    """Refuse a Python that leaves docstrings out, which transformers reads when it is imported.

    Raises:
        InputError: with the option.
    """
    if sys.flags.optimize > 1:
        came, expected = (
            "Python without docstrings (-OO, or PYTHONOPTIMIZE=2)",
            "one with them, which transformers reads",
        )
        raise InputError(came, expected, "leave it out, or take -O")


def _depth(words: list[str]) -> int:
    """How many words name the command."""
    return 2 if isinstance(COMMANDS[words[0]], dict) else 1


def _refuse_mistakes(command: Command, words: list[str]) -> None:
    names = _depth(words)
    refuse_words(option_parser(command), words[names:], command.positional, " ".join(words[:names]))


@contextmanager
def _surroundings_told() -> Iterator[None]:
    """A path that cannot be used is bad input, whatever asked for it; so is more at a time than the memory takes."""
    try:
        yield
    except NoisepromptError:
        raise
    except Exception as error:
        told = as_told(error) if isinstance(error, OSError) else None
        if told is not None:
            raise told from error
        if _is_crowded(error):
            came = f"the system starts no further thread or process here ({' '.join(str(error).split())[:100]})"
            fix = "raise the limit (ulimit -u), or take fewer --workers; then run the same command again"
            raise NoisepromptError(came, "room for a few", fix) from error
        if not is_out_of_memory(error):
            raise
        came = (
            f"the memory is full ({type(error).__name__}{': ' * bool(str(error))}{' '.join(str(error).split())[:100]})"
        )
        fix = "lower --batch_size, --height and --width, or the sizes of a network, and run the same command again"
        raise NoisepromptError(came, "less at a time", fix) from error


def _is_crowded(error: Exception) -> bool:
    threads = isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    return threads or (isinstance(error, OSError) and error.errno == errno.EAGAIN)


@contextmanager
def _own_warnings_only() -> Iterator[None]:
    """This package's warnings in one line each; those of libraries are about their insides and not shown."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", NoisepromptWarning)
        warnings.showwarning = show
        yield
