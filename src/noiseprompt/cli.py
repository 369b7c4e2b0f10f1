"""The command line: signatures of `commands.py` and fields of the stages' configurations become options (jsonargparse).

`noiseprompt COMMAND --help` lists the options, `--config FILE.yaml` reads them from a file, `--print_config` writes
one. Only what the chosen command needs is imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

from noiseprompt.errors import NoisepromptError


@dataclass(frozen=True)
class Command:
    """One command.

    Fields:
        function: "module:attribute".
        help: one line.
        positional: its arguments without a dash, in order.
        settings: "module:Dataclass" whose fields become options and arrive as `settings`, or "".
    """

    function: str
    help: str
    positional: tuple[str, ...] = ()
    settings: str = ""


_HERE = "noiseprompt.commands:"
_TOOLS = "noiseprompt.tool_commands:"

COMMANDS: dict[str, Command | dict[str, Command]] = {
    "run": Command("noiseprompt.recipe:run", "a whole recipe: collect, train, evaluate, report", ("recipe",)),
    "collect": Command(_HERE + "collect", "stage I: a noise prompt data set", (), "noiseprompt.collect:CollectConfig"),
    "train": Command(_HERE + "train", "stage II: an NPNet", (), "noiseprompt.train:TrainConfig"),
    "generate": Command(_HERE + "generate", "stage III: pictures", ("prompt",), "noiseprompt.generate:GenerateConfig"),
    "evaluate": Command(
        _HERE + "evaluate", "methods compared, with statistics", (), "noiseprompt.evaluate:EvaluateConfig"
    ),
    "report": Command(_TOOLS + "report", "report.html of an evaluation", ("folder",)),
    "demo": Command("noiseprompt.demo:demo", "the shipped world and NPNet: pictures and a measured table"),
    "import": Command(_TOOLS + "import_npnet", "a published NPNet checkpoint -> a folder", ("file", "out")),
    "npd": {
        "info": Command(_TOOLS + "npd_info", "counts and filter rates", ("folder",)),
        "verify": Command(_TOOLS + "npd_verify", "checksums of every pair", ("folder",)),
        "export": Command(_TOOLS + "npd_export", "one parquet file", ("folder", "file")),
    },
    "shapes": {
        "train": Command(_TOOLS + "shapes_train", "train the world", (), "noiseprompt.shapes.train_world:WorldConfig"),
        "preference": Command(
            _TOOLS + "shapes_preference",
            "train the world's preference scorer",
            (),
            "noiseprompt.shapes.preference:PreferenceConfig",
        ),
    },
}


def resolve(path: str) -> Any:
    """The object behind "module:attribute"."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def build_parser(words: list[str]) -> Any:
    """The parser; only the commands named in `words` get their options (and are imported)."""
    from jsonargparse import ArgumentParser

    from noiseprompt import __version__

    parser = ArgumentParser(prog="noiseprompt", description="Starting noise one can learn.", version=__version__)
    _add_commands(parser, COMMANDS, words, "command")
    return parser


def _add_commands(parser: Any, commands: dict[str, Any], words: list[str], dest: str) -> None:
    from jsonargparse import ArgumentParser

    group = parser.add_subcommands(dest=dest, required=True)
    for name, command in commands.items():
        child = ArgumentParser()
        named = bool(words) and words[0] == name
        if isinstance(command, Command) and named:
            _add_options(child, command)
        group.add_subcommand(name, child, help=", ".join(command) if isinstance(command, dict) else command.help)
        if isinstance(command, dict):
            _add_commands(child, command, words[1:] if named else [], name)


def _add_options(parser: Any, command: Command) -> None:
    parser.add_argument("--config", action="config", help="a YAML file of options")
    for name in command.positional:
        parser.add_argument(name)
    parser.add_function_arguments(
        resolve(command.function), None, as_positional=False, skip={*command.positional, "settings"}
    )
    if command.settings:
        parser.add_class_arguments(resolve(command.settings), None)


def run_command(parser: Any, arguments: list[str]) -> int:
    """Parse and run."""
    parsed = parser.parse_args(arguments)
    command: Any = COMMANDS
    level = parsed
    key = "command"
    while isinstance(command, dict):
        name = level[key]
        command, level, key = command[name], level[name], name
    options = {name: value for name, value in level.as_dict().items() if name not in ("config", "__path__")}
    options.pop("print_config", None)
    if command.settings:
        cls = resolve(command.settings)
        options["settings"] = cls(**{field.name: options.pop(field.name) for field in dataclasses.fields(cls)})
    return int(resolve(command.function)(**options) or 0)


def main(arguments: list[str] | None = None) -> int:
    """Entry point: runs one command; a NoisepromptError becomes one line and exit status 2."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return run_command(build_parser(words), words)
    except NoisepromptError as error:
        print(f"noiseprompt: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("noiseprompt: stopped; the same command continues where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
