"""Processes on this machine: the same bytes as one, whoever dies; one line where it goes wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError, NoisepromptWarning
from noiseprompt.engines import local
from noiseprompt.engines.job import Total
from noiseprompt.engines.local import environments, run
from noiseprompt.engines.options import Sharing
from noiseprompt.npd.verify import verify
from noiseprompt.stages.collect.collect import collect
from tests.engines.fakes import job, maker
from tests.npd_fakes import CONFIG, PROMPTS, Brightness, FakePipeline, shards

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT)]))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    list(collect(FakePipeline(), PROMPTS, [Brightness()], CONFIG, folder))
    return shards(folder)


def never() -> bool:
    return False


def test_workers_share_what_there_is_and_a_dead_ones_shard_goes_to_another(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    reports, killed = [], False
    with pytest.warns(NoisepromptWarning) as told:
        for report in run(job(tmp_path, pause=0.3), 2, never):
            reports.append(report)
            if report["made"] >= 3 and not killed:
                killed = True
                os.kill(maker(tmp_path), signal.SIGKILL)
    assert shards(tmp_path) == undisturbed and verify(tmp_path) == []
    lines = [str(one.message) for one in told if "leases" not in str(one.filename)]
    assert lines.count("said by every worker") == 1
    assert sum("died (signal 9" in line and "the others make its shard" in line for line in lines) == 1
    assert reports[-1]["done"] == reports[-1]["total"] == 18
    assert all(0 <= report["done"] <= 18 for report in reports)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
def test_workers_share_a_folder_in_object_storage(bucket_apart: Any, undisturbed: dict[str, bytes]) -> None:
    killed = False
    for report in run(job(bucket_apart.folder, pause=0.3), 2, never):
        if report["made"] >= 3 and not killed:
            killed = True
            os.kill(maker(bucket_apart.folder), signal.SIGKILL)
    assert killed and bucket_apart.files() == undisturbed and verify(bucket_apart.folder) == []


@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
def test_all_stop_when_asked_and_the_same_command_goes_on(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    stop: list[bool] = []
    for report in run(job(tmp_path, pause=0.2), 2, lambda stop=stop: bool(stop)):
        stop += [True] * (report["made"] > 0)
    assert 0 < len(shards(tmp_path)) < len(undisturbed)
    list(collect(FakePipeline(), PROMPTS, [Brightness()], CONFIG, tmp_path))
    assert shards(tmp_path) == undisturbed


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"fail": 3}, r"^the scorer 'brightness' fails\. Expected scores\. Leave it out\.$"),
        ({"die": 3}, r"^all workers died: worker 1 died \(status 7.*same command again\.$"),
    ],
)
def test_what_goes_wrong_is_one_line(tmp_path: Path, undisturbed: dict[str, bytes], fault: dict, told: str) -> None:
    with pytest.raises(NoisepromptError, match=told), pytest.warns(NoisepromptWarning):
        list(run(job(tmp_path, **fault), 1, never))
    list(collect(FakePipeline(), PROMPTS, [Brightness()], CONFIG, tmp_path))
    assert shards(tmp_path) == undisturbed


def test_each_worker_has_a_gpu_or_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_gpus", lambda: ["0", "GPU-abc"])
    assert environments(None) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "GPU-abc"}]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in environments(3)] == ["0", "GPU-abc", "0"]
    assert "CUDA_VISIBLE_DEVICES" not in environments(2, device="cuda:1")[0]
    monkeypatch.setattr(local, "_gpus", lambda: [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(8)}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert environments(3) == [{"OMP_NUM_THREADS": "2"}] * 3
    with pytest.raises(InputError, match="--workers 2"):
        environments(None)


def test_reports_add_up_and_what_died_uncommitted_is_taken_off() -> None:
    total = Total()
    report = {"total": 100, "notes": {}}
    assert total.note(0, {**report, "done": 10, "made": 0, "unsaved": 0})["done"] == 10
    assert total.note(1, {**report, "done": 12, "made": 2, "unsaved": 2})["done"] == 12
    assert total.note(0, {**report, "done": 15, "made": 5, "unsaved": 1})["done"] == 17
    total.lose(1)
    assert total.report()["done"] == 15
    assert total.note(0, {**report, "done": 99, "made": 89, "unsaved": 0})["done"] == 99


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"workers": 2}, "engine local or --engine ray"),
        ({"engine": "local", "ray_address": "auto"}, "ray_address without engine ray"),
        ({"engine": "spark"}, "local, ray"),
        ({"engine": "local", "workers": 0}, "from 1 to 1,024"),
        ({"part": "3/2"}, "I from 1 to N"),
    ],
)
def test_sharing_that_does_not_fit_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises((ConfigError, InputError), match=told):
        Sharing(**given)


@pytest.mark.slow
def test_the_command_in_two_processes(tmp_path: Path, capfd: Any) -> None:
    """The world itself, through all layers."""
    words = ["collect", "--prompts=shapes:train", "--n=6", "--shard_size=2", "--batch_size=2", "--device=cpu"]
    words += ["--num_inference_steps=1", "--scorers=shapes-checker", f"--out={tmp_path}"]
    assert main([*words, "--engine=local", "--workers=2"]) == 0, capfd.readouterr().err
    assert verify(tmp_path) == [] and (tmp_path / "noise.json").exists()
    made = shards(tmp_path)
    (tmp_path / "shard-000001.arrow").unlink()
    capfd.readouterr()
    assert main([*words, "--part=1/3"]) == 0 and not (tmp_path / "shard-000001.arrow").exists()
    assert main([*words, "--part=2/3"]) == 0, capfd.readouterr().err
    assert shards(tmp_path) == made
    assert main([*words, "--part=4/3"]) == 2
    assert "part 4/3. Expected I/N with I from 1 to N" in capfd.readouterr().err
