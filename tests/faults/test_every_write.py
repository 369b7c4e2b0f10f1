"""Each change of the disk, in every command that writes, fails once: one line tells it, and the same command then ends
as if nothing had happened.

By default some changes of each command are tried; NOISEPROMPT_EVERY_WRITE=1 tries all of them (minutes).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.kills import pairs, pictures, story, weights, words
from noiseprompt.cli import main
from noiseprompt.core.files import replace
from noiseprompt.npd.verify import verify
from noiseprompt.npnet import NPNet
from noiseprompt.results.lines import iter_results
from noiseprompt.shapes.training import read_metrics
from tests.faulty_disk import FAULTS, Killed, faulty

EVERY = bool(os.environ.get("NOISEPROMPT_EVERY_WRITE"))
SIZES = {"width": 8, "depth": 1, "heads": 2}
PHASES = [{"steps": 2, "lr": 1e-3, "warmup": 0, "clean_share": 0.5, "unrelated": 0.1, "altered": 0.1}]
DRAWN = {"num_inference_steps": 1, "batch_size": 2}
COLLECT = {"prompts": "shapes:train", "n": 8, "shard_size": 3, **DRAWN}
TRAIN = {
    "architecture": "tokens",
    "sizes": SIZES,
    "epochs": 1,
    "batch_size": 2,
    "validation_share": 0.4,
    "checkpoint_every": 2,
    "checkpoint_seconds": 0,
    "validate_every": 2,
    "margin": -9,
}
EVALUATE = {"prompts": "shapes:test", "n": 3, "scorers": ["brightness"], "methods": "standard,redenoise", **DRAWN}


# -------------------------------------------------------------------------------------------------------- the commands


def pages(out: Path) -> dict[str, Any]:
    return {name: (out / name).read_bytes() for name in ("report.html", "report.md", "results.json", "results.md")}


def check_pairs(out: Path) -> None:
    if list(out.glob("shard-*.arrow")):
        assert not verify(out)


def check_networks(out: Path) -> None:
    for path in out.rglob("config.json"):
        if path.with_name("model.safetensors").exists():
            NPNet.from_pretrained(path.parent)


def check_rows(out: Path) -> None:
    list(iter_results(out))


@dataclass(frozen=True)
class Case:
    """One command.

    Fields:
        words: of the command line, for its output and the folder of what it is made of.
        made: what counts of its output.
        check: that what is there after a fault can be read.
        tried: changes that are tried by default.
    """

    words: Callable[[Path, Path], list[str]]
    made: Callable[[Path], dict[str, Any]]
    check: Callable[[Path], object]
    tried: int = 12


def shapes(name: str, **options: Any) -> Callable[[Path, Path], list[str]]:
    return lambda out, made: ["shapes", name, f"--out={out}", f"--export={out / 'shipped'}", *words(**options)]


def recipe(out: Path, made: Path) -> list[str]:
    stages = {"collect": {"scorers": ["brightness"], **COLLECT}, "train": TRAIN}
    evaluation = {**EVALUATE, "methods": "standard,npnet:path={npnet}"}
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**stages, "evaluate": evaluation}))
    return ["run", str(path), f"--out={out}"]


CASES = {
    "collect": Case(
        lambda out, made: ["collect", f"--out={out}", *words(scorers=["brightness"], **COLLECT)], pairs, check_pairs
    ),
    "train": Case(
        lambda out, made: ["train", f"--npd={made / 'npd'}", f"--out={out}", *words(**TRAIN)], weights, check_networks
    ),
    "evaluate": Case(lambda out, made: ["evaluate", f"--out={out}", *words(**EVALUATE)], pictures, check_rows),
    "generate": Case(
        lambda out, made: ["generate", "a cat", f"--out={out}", *words(methods="standard,redenoise", seeds="0-1")],
        pictures,
        lambda out: None,
    ),
    "report": Case(lambda out, made: ["report", str(out)], pages, check_rows, tried=8),
    "recipe": Case(recipe, story, lambda out: (check_pairs(out / "npd"), check_rows(out / "evaluation")), tried=8),
    "features": Case(shapes("features", steps=2, batch_size=2), weights, read_metrics, tried=8),
    "preference": Case(
        shapes("preference", steps=2, batch_size=2, width=8, blocks=1), weights, read_metrics, tried=8
    ),
    "world": Case(
        shapes("train", num_scenes=4, vae_steps=2, vae_batch_size=2, batch_size=2, phases=PHASES),
        weights,
        read_metrics,
        tried=8,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What others are made of: a data set and an evaluation, made once the commands are quick."""
    return tmp_path_factory.mktemp("made")


def prepare(name: str, out: Path, made: Path) -> None:
    needed = {"train": ("npd", "collect"), "report": ("evaluation", "evaluate")}.get(name)
    if needed and not (made / needed[0]).exists():
        assert main(CASES[needed[1]].words(made / needed[0], made)) == 0
    if name == "report":
        shutil.copytree(made / "evaluation", out)


def chosen(seen: list[str], most: int) -> list[int]:
    """Changes that are tried: of writes in a row the first and the last, and of those some all over the run."""
    ends = [
        i for i, kind in enumerate(seen) if kind != "write" or {*seen[i - 1 : i], *seen[i + 1 : i + 2]} != {"write"}
    ]
    if EVERY or len(ends) <= most:
        return ends
    return sorted({ends[round(i * (len(ends) - 1) / (most - 1))] for i in range(most)})


def told(error: str) -> list[str]:
    return [line for line in error.replace("\r", "\n").splitlines() if line.startswith("noiseprompt: error: ")]


@pytest.mark.parametrize("name", CASES)
def test_a_change_that_fails_is_told_and_made_again(
    name: str, quick: None, stages: Path, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, out = CASES[name], Path("out")  # the same name each time, for recipes tell it
    monkeypatch.chdir(tmp_path)
    prepare(name, out, stages)
    with faulty() as count:
        assert main(case.words(out, stages)) == 0
    expected = case.made(out)
    assert expected
    for turn, number in enumerate(chosen(count.seen, case.tried)):
        fault = FAULTS[turn % len(FAULTS)]
        shutil.rmtree(out)
        prepare(name, out, stages)
        capfd.readouterr()
        try_once(case, number, fault, out, stages, capfd)
        case.check(out)
        assert main(case.words(out, stages)) == 0, (fault, number, capfd.readouterr().err)
        assert case.made(out) == expected, (fault, number)


def try_once(case: Case, number: int, fault: str, out: Path, made: Path, capfd: Any) -> None:
    given = case.words(out, made)
    with faulty(number, fault) as disk:
        if fault == "kill":
            with pytest.raises(Killed):
                main(given)
        else:
            status, error = main(given), capfd.readouterr().err
            assert status == 2, (disk.failed, fault, number, error)
            [line] = told(error)
            assert os.strerror(getattr(errno, fault)) in line and f" {out}" in line, line
            assert "Traceback" not in error
    assert not list(out.rglob("noiseprompt-error*"))


def test_a_file_is_whole_or_not_there_whatever_fails(tmp_path: Path) -> None:
    """Of `replace` alone, every change and every fault."""
    with faulty() as count:
        replace(tmp_path / "a", "old")
    for number in range(len(count.seen)):
        for fault in FAULTS:
            replace(tmp_path / "a", "old")
            with faulty(number, fault), pytest.raises(BaseException) as caught:
                replace(tmp_path / "a", "new" * 10)
            assert isinstance(caught.value, Killed) == (fault == "kill")
            renamed = count.seen[:number].count("rename")
            assert (tmp_path / "a").read_text() == ("new" * 10 if renamed else "old")
