"""`--help`: every option and argument of every command says in words what it takes."""

import contextlib
import re

import pytest

from noiseprompt.cli import main
from noiseprompt.cli.entry import option_parser
from noiseprompt.cli.table import COMMANDS, Command

ALL = {
    f"{name} {inner}".strip(): command
    for name, found in COMMANDS.items()
    for inner, command in (found.items() if isinstance(found, dict) else [("", found)])
}
PYTHON = re.compile(r"class '|Optional|Union|Literal|tuple\[|\bstr\b|\bint\b|\bbool\b|\bfloat\b")


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> str:
    with contextlib.suppress(SystemExit):
        main([*request.param.split(), "--help"])
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("told", ALL, indirect=True)
def test_no_word_of_python_says_what_an_option_takes(told: str) -> None:
    assert "--config" in told
    assert not PYTHON.findall(" ".join(re.findall(r"type: (.*?)(?:default:|\)|$)", told)))


@pytest.mark.parametrize("command", ALL.values(), ids=ALL)
def test_every_argument_and_option_is_described(command: Command) -> None:
    bare = [a.dest for a in option_parser(command)._actions if not (a.help or "").strip()]
    assert not bare


@pytest.mark.parametrize("told", ["evaluate"], indirect=True)
def test_limits_are_told(told: str) -> None:
    assert "take the first n prompts. (type: a whole number, 1 or more," in told
    assert "(type: a whole number from 0 to 2**63 - 1, default: 0)" in told
    assert '"local" starts' in told and "one of local, ray" in told
