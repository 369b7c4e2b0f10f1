"""What is of another kind is never written over: prompts, pictures, results, networks, devices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from noiseprompt.cli import main
from noiseprompt.core.errors import StoreError
from noiseprompt.core.files import replace
from noiseprompt.core.pictures import write_picture
from noiseprompt.npnet import build, tokens_config

SCORES = "score images --prompts prompts.csv --scorers shapes-checker --out"
REFUSED = {
    "the prompts": (f"{SCORES} prompts.csv", "prompts.csv", "holds no scores"),
    "results": (f"{SCORES} results.json", "results.json", "holds no scores"),
    "another document": ("tables notes.md runs/shapes --recipes recipes", "notes.md", "no such document"),
    "a network": ("shapes features --out o --export net", "net/config.json", "holds config.json of something else"),
    "a training": ("shapes preference --out run", "run/settings.json", "holds settings.json of something else"),
}


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "run"):
        Path(folder).mkdir()
    write_picture(Path("images/a.png"), torch.zeros(64, 64, 3, dtype=torch.uint8).numpy())
    Path("prompts.csv").write_text("prompt,file\na red circle,a.png\n")
    Path("results.json").write_text('{"baseline": "standard"}')
    Path("notes.md").write_text("# Mine\n")
    Path("run/settings.json").write_text("{}")
    build(tokens_config((4, 8, 8), 3, 8)).save_pretrained("net")


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_of_another_kind_stays(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    line, file, told = REFUSED[kind]
    before = Path(file).read_bytes()
    assert main(line.split()) == 2
    assert told in capfd.readouterr().err
    assert Path(file).read_bytes() == before


def test_scores_may_be_written_again(capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("scores.csv", "scores.json"):
        assert main(f"{SCORES} {name}".split()) == 0
        assert main(f"{SCORES} {name}".split()) == 0


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="a device or a pipe"):
        replace(pipe, "text")
    assert pipe.is_fifo()
