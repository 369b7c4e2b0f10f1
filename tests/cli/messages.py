"""What the command line prints when it refuses."""

from __future__ import annotations

import pytest

from noiseprompt.cli import main


def one_message(capfd: pytest.CaptureFixture[str], words: str) -> str:
    assert main(words.split()) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("noiseprompt: error: ")
    return said.err
