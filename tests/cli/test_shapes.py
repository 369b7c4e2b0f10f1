"""`noiseprompt shapes`: training of the world's networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseprompt.cli import main
from noiseprompt.shapes import features


def test_command_trains_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "VALIDATION_SCENES", 3)
    arguments = ["--out", str(tmp_path / "run"), "--export", str(tmp_path / "out"), "--steps", "1", "--batch_size", "2"]
    assert main(["shapes", "features", *arguments]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "1 of 1 steps of 2" in card and "| colours |" in card
