"""The completion script, asked as bash asks it: words so far in, what may follow out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from noiseprompt.cli import main
from noiseprompt.cli.completion import script
from noiseprompt.cli.table import COMMANDS
from noiseprompt.methods.table import METHODS
from tests.cli.messages import one_message

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="bash is not here")


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "noiseprompt.bash"
    file.write_text(script("bash"))
    return file


def follows(bash: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    ask = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _noiseprompt; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run([str(BASH), "-c", ask, "-", str(bash), "noiseprompt", *words], capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.split()


def test_commands_and_their_groups(bash: Path) -> None:
    assert set(COMMANDS) < set(follows(bash, ""))
    assert follows(bash, "ev") == ["evaluate"]
    assert set(follows(bash, "npd", "")) == {*COMMANDS["npd"], "--help"}  # type: ignore[arg-type]
    assert follows(bash, "npd", "pu") == ["push", "pull"]


def test_options_and_values(bash: Path) -> None:
    assert {"--methods", "--num_inference_steps", "--device"} <= set(follows(bash, "generate", "a cat", "--"))
    assert follows(bash, "npd", "push", "npd", "--lic") == ["--license"]
    assert set(follows(bash, "evaluate", "--methods", "")) == set(METHODS)
    assert follows(bash, "evaluate", "--methods", "standard,npn") == ["standard,npnet"]
    assert follows(bash, "collect", "--dtype", "b") == ["bfloat16"]
    assert follows(bash, "generate", "a cat", "") == []  # files, which the shell itself knows


def test_the_command(capfd: pytest.CaptureFixture[str], bash: Path) -> None:
    assert main(["completion", "bash"]) == 0
    assert capfd.readouterr().out == bash.read_text() + "\n"
    assert main(["completion", "zsh"]) == 0
    assert capfd.readouterr().out.startswith("autoload -U +X bashcompinit && bashcompinit\n_noiseprompt()")
    assert "shell 'fish'. Expected one of bash, zsh" in one_message(capfd, "completion fish")
