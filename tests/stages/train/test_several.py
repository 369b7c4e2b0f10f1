"""Two processes and one with the same global batch: the same training but for rounding, and files written once."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError, StoreError
from noiseprompt.core.ranks import Processes
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet
from noiseprompt.stages.train.train import train
from tests.stages.train.several import LONG, RUNS, launch, run
from tests.stages.train.test_pictures import write as write_pictures
from tests.train_fakes import CONFIG, FakePipeline, write

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of both processes, and what each saw."""
    folder = tmp_path_factory.mktemp("two")
    write(folder / "pairs", {})
    write_pictures(folder / "pictures")
    started = launch(["-m", "tests.stages.train.several", str(folder)], free_port())
    told = [one.communicate(timeout=600) for one in started]
    assert [one.returncode for one in started] == [0, 0], told
    return folder, [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def one(two: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Any]]]:
    """The same trainings by one process: their folder and records."""
    folder = tmp_path_factory.mktemp("one")
    for name in ("pairs", "pictures"):
        shutil.copytree(two[0] / name, folder / name)
    return folder, {name: list(run(name, folder)[0]) for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_learn_what_one_learns(name: str, two: Any, one: Any) -> None:
    alone, (main, other) = one[1][name], (seen[name] for seen in two[1])
    steps = len(main["losses"])
    assert steps == (25 if name == "tokens" else len(alone)) and (steps > 50 or name != "paper")
    assert main["losses"] == other["losses"] and main["explained"] == other["explained"]
    close = {"rtol": 1e-3 if name == "half" else 1e-5, "atol": 1e-7}
    np.testing.assert_allclose(main["losses"], [record.loss for record in alone[:steps]], **close)
    pairs = [(mine, record.explained) for mine, record in zip(main["explained"], alone, strict=False) if mine]
    assert pairs
    np.testing.assert_allclose(*zip(*pairs, strict=True), rtol=1e-3, atol=1e-4 if name == "half" else 1e-6)


def test_another_number_of_processes_goes_on_where_the_last_checkpoint_stands(two: Any, one: Any) -> None:
    folder = two[0]
    rest = list(run("tokens", folder)[0])
    assert rest[0].step == 21 and rest[-1].step == rest[-1].steps > 50
    np.testing.assert_allclose([r.loss for r in rest], [r.loss for r in one[1]["tokens"][20:]], rtol=1e-5, atol=1e-7)
    nets = [NPNet.from_pretrained(where / "tokens" / "best") for where in (folder, one[0])]
    pair = Npd(folder / "pairs")[3]
    source, text = torch.from_numpy(pair.source)[None], torch.full((1, 3, 8), 0.5)
    with torch.no_grad():
        made, expected = (net(source, text) for net in nets)
    assert float((made - expected).norm() / (expected - source).norm()) < 1e-3


def test_files_are_written_once_and_text_is_encoded_by_one(two: Any) -> None:
    folder, (main, other) = two
    for name in ("paper", "half", "picture"):
        lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == sorted({line["step"] for line in lines})
    assert not list(folder.rglob("*.tmp")) and not list(folder.rglob("*.part"))
    # "" is asked for the shape of the text; kept text is encoded by one process, fresh text by the one that needs it
    assert set(other["tokens"]["encoded"]) == {""} and len(set(main["tokens"]["encoded"])) == 76
    assert set(other["paper"]["encoded"]) - {""} and not (folder / "paper" / "embeds.npy").exists()
    assert not [name for seen in (main, other) for name in seen["threads"] if name.startswith("feed")]


class Third(Processes):
    """The third of three, who is told what the main process is."""

    rank, size = 2, 3

    def __init__(self, **told: Any) -> None:
        self.told = told

    def once(self, act: Any) -> Any:
        value = act()
        return self.told.get(type(value).__name__, value)


def test_processes_that_do_not_belong_together(npd: Npd, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 processes for steps of 2 \(batch_size 2, \d+ to train on\)"):
        next(train(npd, FakePipeline(), replace_batch(2), tmp_path / "run", Third()))
    with pytest.raises(ConfigError, match="process 2 has other settings than process 0"):
        next(train(npd, FakePipeline(), CONFIG, tmp_path / "run", Third(str="0" * 12)))
    assert not (tmp_path / "run").exists()
    next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    with pytest.raises(StoreError, match=r"process 2 is at step 0 .*a folder that all machines share"):
        next(train(npd, FakePipeline(), CONFIG, tmp_path / "run", Third(int=4)))


def replace_batch(size: int) -> Any:
    return type(LONG)(**{**vars(CONFIG), "batch_size": size})
