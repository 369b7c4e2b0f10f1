"""The command under torchrun: a process is killed, all end with one message, and the same command goes on, here without
torchrun."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseprompt.cli import main
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import NpdWriter

SHAPE = (4, 16, 16)
PARENT = Path(__file__).parents[3]
WORDS = """--npd=npd --out=run --model=shapes --device=cpu --architecture=tokens
    --sizes={"width":8,"depth":1,"heads":2}
    --batch_size=8 --epochs=40 --validation_share=0.2 --checkpoint_every=5 --validate_every=100
    --checkpoint_seconds=0"""


def torchrun(folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "noiseprompt"]
    return subprocess.Popen(
        [*words, "train", *WORDS.split()],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PARENT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def process(rank: int, above: int) -> int:
    """The process of a rank that torchrun started."""
    children = Path(f"/proc/{above}/task/{above}/children").read_text().split()
    said = {number: Path(f"/proc/{number}/environ").read_bytes().split(b"\0") for number in children}
    return next(int(number) for number, lines in said.items() if f"RANK={rank}".encode() in lines)


def told(error: str) -> list[str]:
    return [line for line in error.replace("\r", "\n").splitlines() if line.startswith("noiseprompt: ")]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes in /proc")
def test_a_killed_process_ends_all_with_one_message_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with NpdWriter(tmp_path / "npd", {"scorers": []}, SHAPE) as writer:
        for i in range(60):
            source = initial_noise(i, SHAPE).numpy()
            prompt = Prompt(f"a red circle {i}")
            writer.add(ScoredPair(prompt.id, prompt, i, source, source + np.float32(0.1), {}))
    state = tmp_path / "run" / "state.pt"
    running = torchrun(tmp_path)
    try:
        until = time.monotonic() + 240
        while not state.exists() and running.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert running.poll() is None, running.communicate()
        os.kill(process(1, running.pid), signal.SIGKILL)
        out, error = running.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
    assert running.returncode and not out
    [line] = [line for line in told(error) if not line.startswith("noiseprompt: train: ")]  # less its plan
    assert "continues" in line, line  # whichever comes first: torchrun's signal, or the silence of the other
    assert not list(tmp_path.glob("noiseprompt-error*"))

    metrics, begun = tmp_path / "run" / "metrics.jsonl", torch.load(state, weights_only=True)["step"]
    before = metrics.read_text() if metrics.exists() else ""
    monkeypatch.chdir(tmp_path)
    assert main(["train", *WORDS.split()]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"NPNet in {Path('run') / 'best'}\n") and "100.0% of the perturbation" in out
    assert metrics.read_text().startswith(before)
    steps = [json.loads(line)["step"] for line in metrics.read_text()[len(before) :].splitlines()]
    assert begun >= 5 and steps[0] == begun - begun % 10 + 10 and steps[-1] > 200
