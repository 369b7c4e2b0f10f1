"""Every command and every setting explains itself."""

from __future__ import annotations

import pytest
from jsonargparse import ArgumentParser

from noiseprompt.cli.entry import build_parser
from noiseprompt.cli.table import COMMANDS, Command, resolve


def every_command() -> list[list[str]]:
    found = []
    for name, command in COMMANDS.items():
        found += [[name]] if isinstance(command, Command) else [[name, inner] for inner in command]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser([*words, "--help"]).parse_args([*words, "--help"])
    assert stop.value.code == 0
    assert "--config" in capsys.readouterr().out


def settings_of_commands() -> list[str]:
    commands = [one for entry in COMMANDS.values() for one in (entry.values() if isinstance(entry, dict) else [entry])]
    return sorted({command.settings for command in commands} - {""})


@pytest.mark.parametrize("record", settings_of_commands())
def test_every_setting_has_a_help_text(record: str) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(resolve(record), None)
    assert not [action.dest for action in parser._actions if not action.help]
