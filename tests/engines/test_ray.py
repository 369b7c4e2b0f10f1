"""Actors of Ray: the same bytes as one process, whoever dies; one line where it goes wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import main
from noiseprompt.core.errors import InputError, NoisepromptError, NoisepromptWarning
from noiseprompt.engines.options import Sharing
from noiseprompt.engines.ray import run
from noiseprompt.npd.verify import verify
from noiseprompt.stages.collect.collect import collect
from tests.engines.fakes import job, maker
from tests.npd_fakes import CONFIG, PROMPTS, Brightness, FakePipeline, shards

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(ROOT / "src"), str(ROOT)])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of this machine with three CPUs."""
    ray = pytest.importorskip("ray")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = PATH
    ray.init("local", num_cpus=3, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
    os.environ["PYTHONPATH"] = before or ""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    list(collect(FakePipeline(), PROMPTS, [Brightness()], CONFIG, folder))
    return shards(folder)


def never() -> bool:
    return False


def test_a_killed_workers_shard_goes_to_another(cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    killed, reports = False, []
    with pytest.warns(NoisepromptWarning, match="was lost"):
        for report in run(job(tmp_path, pause=0.3), Sharing(engine="ray", workers=2), never):
            reports.append(report)
            if report["made"] >= 3 and not killed:
                killed = True
                os.kill(maker(tmp_path), signal.SIGKILL)
    assert shards(tmp_path) == undisturbed and verify(tmp_path) == []
    assert reports[-1]["done"] == reports[-1]["total"] == 18
    assert not [path.name for path in tmp_path.glob(".engine*")]


@pytest.mark.parametrize(
    ("sharing", "told"),
    [
        ({"workers": 2, "gpus_per_worker": 1}, r"2 workers with 1 GPUs.*at most the 0 GPUs and 3 CPUs of the cluster"),
        ({"workers": 9}, r"9 workers .*at most .* 3 CPUs"),
    ],
)
def test_a_cluster_with_too_little_room_is_told(cluster: Any, tmp_path: Path, sharing: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        list(run(job(tmp_path), Sharing(engine="ray", **sharing), never))


def test_what_a_worker_says_is_one_line(cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    with pytest.raises(NoisepromptError, match=r"^the scorer 'brightness' fails\. Expected scores\. Leave it out\.$"):
        list(run(job(tmp_path, fail=3), Sharing(engine="ray", workers=1), never))
    stop: list[bool] = []
    for report in run(job(tmp_path, pause=0.1), Sharing(engine="ray", workers=1), lambda stop=stop: bool(stop)):
        stop += [True] * (report["made"] > 0)
    assert 0 < len(shards(tmp_path)) < len(undisturbed)
    list(collect(FakePipeline(), PROMPTS, [Brightness()], CONFIG, tmp_path))
    assert shards(tmp_path) == undisturbed


def test_without_ray_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["collect", "--prompts=shapes:train", f"--out={tmp_path}", "--engine=ray"]
    assert main(words) == 2
    assert (
        capfd.readouterr().err
        == 'noiseprompt: error: Ray is not installed. Install it with pip install "noiseprompt[ray]".\n'
    )


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999", "ray://", "ray://127.0.0.1"]
)
def test_a_cluster_that_does_not_answer_is_told(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InputError, match=rf"the Ray cluster {address} cannot be reached.*ray start --head"):
        list(run(job(tmp_path), Sharing(engine="ray", ray_address=address), never))


@pytest.mark.parametrize(
    ("given", "in_environment", "joined"),
    [(None, None, "local"), (None, "head:6379", "head:6379"), ("auto", "x:1", "auto")],
)
def test_a_cluster_that_runs_here_is_joined_only_when_asked(
    tmp_path: Path, given: str | None, in_environment: str | None, joined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray, asked = pytest.importorskip("ray"), []

    def init(address: str, **_: Any) -> None:
        asked.append(address)
        raise RuntimeError("not today")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if in_environment:
        monkeypatch.setenv("RAY_ADDRESS", in_environment)
    with pytest.raises(InputError, match="cannot be reached"):
        list(run(job(tmp_path), Sharing(engine="ray", ray_address=given), never))
    assert asked == [joined]


DRIVER = (
    "import sys; from pathlib import Path; from noiseprompt.engines.options import Sharing\n"
    "from noiseprompt.engines.ray import run; from tests.engines.fakes import job\n"
    "for report in run(job(Path(sys.argv[1]), pause=0.3), Sharing(engine='ray', workers=2, ray_address=sys.argv[2]),"
    " lambda: False): print(report['made'], flush=True)\n"
)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["driver", "node"])
def test_a_killed_driver_and_a_removed_node(
    tmp_path: Path, undisturbed: dict[str, bytes], victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    ray.shutdown()
    monkeypatch.setenv("PYTHONPATH", PATH)
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = machines.add_node(num_cpus=1)
    command = [sys.executable, "-c", DRIVER, str(tmp_path), machines.address]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as driver:
            assert driver.stdout is not None
            while int(driver.stdout.readline() or b"99") < 3:
                pass
            if victim == "driver":
                driver.kill()
            else:
                machines.remove_node(second, allow_graceful=False)
                driver.stdout.read()
                assert driver.wait(240) == 0
        if victim == "driver":
            assert shards(tmp_path) != undisturbed
            time.sleep(1)
            assert subprocess.run(command, stdout=subprocess.DEVNULL, timeout=240).returncode == 0
    finally:
        machines.shutdown()
    assert shards(tmp_path) == undisturbed and verify(tmp_path) == []
