"""recipes/cluster: what can be tried without a cluster. The scripts run for real on this machine's processes, under a
scheduler that is pretended; the manifests are read, and their commands parsed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from noiseprompt.core.part import parse_part
from noiseprompt.npd import Npd
from noiseprompt.npd.verify import verify
from tests.docs.test_commands import parse

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "recipes" / "cluster"
SLURM, TORCHRUN = FOLDER / "slurm-array.sbatch", FOLDER / "torchrun.sh"
KUBERAY: dict[str, Any] = yaml.safe_load((FOLDER / "kuberay.yml").read_text())
SKYPILOT: dict[str, Any] = yaml.safe_load((FOLDER / "skypilot.yml").read_text())
BASH = shutil.which("bash")

PIECES = {
    SLURM.name: SLURM.read_text(),
    TORCHRUN.name: TORCHRUN.read_text(),
    "kuberay.yml": KUBERAY["spec"]["entrypoint"],
    "skypilot.yml": SKYPILOT["run"],
    "skypilot.yml, setup": SKYPILOT["setup"],
}
"""Shell of every file."""


def bash(text: str, env: dict[str, str] | None = None, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BASH), *words], input=text, capture_output=True, text=True, env=env)


def stub(folder: Path, name: str, body: str) -> dict[str, str]:
    """A program that stands before others of its name; the environment in which it does."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{BASH}\n{body}\n")
    path.chmod(0o755)
    path_variable = os.pathsep.join([str(folder), os.environ["PATH"]])
    return {**os.environ, "PATH": path_variable, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


TELLING = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
TELL = f'exec {shlex.quote(sys.executable)} -c "{TELLING}" "$@"'
"""Prints its words and its environment."""


def told(env: dict[str, str], script: str, *words: str) -> tuple[list[str], dict[str, str]]:
    done = bash(script, env, "-s", "--", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of_array(task: int) -> dict[str, str]:
    """What Slurm tells a task of the array that the script asks for."""
    first, last = map(int, re.findall(r"#SBATCH --array=(\d+)-(\d+)", SLURM.read_text())[0])
    numbers = {"ID": task, "MIN": first, "MAX": last, "STEP": 1, "COUNT": last - first + 1}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in numbers.items()}


def test_every_file_of_the_folder_is_tried_here() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {name.partition(",")[0] for name in PIECES}


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize("name", PIECES)
def test_bash_can_read_it(name: str) -> None:
    done = bash(PIECES[name], None, "-n")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_tasks_of_slurm_make_every_part_once(tmp_path: Path) -> None:
    env = {**stub(tmp_path / "bin", "noiseprompt", TELL), "SCRATCH": str(tmp_path)}
    parts = []
    for task in range(1, 17):
        words, seen = told({**env, **of_array(task)}, SLURM.read_text(), "--n", "8")
        parse(words)
        assert words[:3] == ["collect", "--out", f"{tmp_path}/npd"] and words[-2:] == ["--n", "8"]
        parts.append(parse_part(words[words.index("--part") + 1], seen))
    assert [(part.number, part.of) for part in parts] == [(i, 16) for i in range(1, 17)]
    assert (
        bash(SLURM.read_text(), {k: v for k, v in env.items() if k != "SCRATCH"}).returncode != 0
    )  # never into "/npd"


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_torchrun_starts_a_process_a_gpu_of_each_node(tmp_path: Path) -> None:
    env = stub(tmp_path / "bin", "torchrun", TELL)
    for given, expected in (({}, ("1", "0", "8")), ({"NODES": "2", "NODE": "1", "GPUS": "4"}, ("2", "1", "4"))):
        words, _ = told({**env, **given}, TORCHRUN.read_text(), "--n", "8")
        launcher, ours = words[: words.index("-m")], words[words.index("-m") + 3 :]
        values = dict(zip(launcher[::2], launcher[1::2], strict=True))
        assert tuple(values[f"--{name}"] for name in ("nnodes", "node_rank", "nproc_per_node")) == expected
        assert words[words.index("-m") :][:3] == ["-m", "--", "noiseprompt"] and ours[-2:] == ["--n", "8"]
        parse(ours)
        assert ours[ours.index("--part") + 1] == "auto"


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_nodes_of_skypilot_make_every_part_once_on_all_their_gpus(tmp_path: Path) -> None:
    env, count = stub(tmp_path / "bin", "noiseprompt", TELL), SKYPILOT["num_nodes"]
    parts = []
    for rank in range(count):
        words, _ = told({**env, "SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NUM_NODES": str(count)}, SKYPILOT["run"])
        parse(words)
        assert words[words.index("--engine") + 1] == "local"
        assert Path(words[words.index("--out") + 1]).parent.as_posix() in SKYPILOT["volumes"]
        parts.append(str(parse_part(words[words.index("--part") + 1])))
    assert parts == [f"{i + 1}/{count}" for i in range(count)]


def test_ray_has_a_gpu_for_every_worker_and_all_see_the_folder() -> None:
    words = shlex.split(PIECES["kuberay.yml"])
    assert words[0] == "noiseprompt"
    parse(words[1:])
    cluster = KUBERAY["spec"]["rayClusterSpec"]
    gpus, pods = 0, [cluster["headGroupSpec"]["template"]]
    for group in cluster["workerGroupSpecs"]:
        pods.append(group["template"])
        limits = [one["resources"]["limits"] for one in group["template"]["spec"]["containers"]]
        gpus += group["replicas"] * sum(one["nvidia.com/gpu"] for one in limits)
    assert int(words[words.index("--workers") + 1]) == gpus == 8
    assert cluster["headGroupSpec"]["rayStartParams"]["num-gpus"] == "0"  # it makes nothing
    out = Path(words[words.index("--out") + 1])
    for pod in pods:
        volumes = {one["name"] for one in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert [one["mountPath"] for one in container["volumeMounts"]] == [str(out.parent)]
            assert {one["name"] for one in container["volumeMounts"]} == volumes


def test_the_prices_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "train.md").read_text()
    hours = {int(rows): int(price) for rows, price in re.findall(r"\| (\d+) \| (\d+) hours \|", page)}
    assert set(hours) == {41, 203}
    for name in ("kuberay.yml", "skypilot.yml", TORCHRUN.name, SLURM.name):
        told_hours = re.findall(r"(\d+) H100(?:\s*#?\s*)hours", (FOLDER / name).read_text())
        assert told_hours and set(map(int, told_hours)) <= set(hours.values()), name
    tasks, (limit,) = 16, re.findall(r"--time=(\d+):00:00", SLURM.read_text())
    assert 1 < hours[41] / tasks < 1.5 and hours[203] / tasks < int(limit)


# ------------------------------------------------------------------------------------------------------------ for real

TINY = ["--model", "shapes", "--dtype", "float32", "--scorers", "shapes-preference", "--num_inference_steps", "2"]
TINY += ["--redenoise_steps", "4", "--n", "6", "--shard_size", "2", "--batch_size", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [f"a {colour} {shape}" for colour in ("red", "blue") for shape in ("circle", "square", "triangle")]
    (tmp_path / "prompts.csv").write_text("\n".join(["prompt", *rows]) + "\n")
    return tmp_path


def ran(folder: Path, script: Path, env: dict[str, str]) -> None:
    words = [str(BASH), str(script), *TINY]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=env, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]


def is_whole(npd: Path) -> bool:
    return verify(npd) == [] and len(Npd(npd)) == 6 and bool(Npd(npd).usable().all())


@pytest.mark.slow
@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_torchrun_makes_a_data_set_in_two_processes(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    env = stub(folder / "bin", "torchrun", f'exec {shlex.quote(sys.executable)} -m torch.distributed.run "$@"')
    env |= {"GPUS": "2", "HEAD": f"localhost:{port}", "OUT": str(folder / "made")}
    ran(folder, TORCHRUN, env)
    assert is_whole(folder / "made")


@pytest.mark.slow
@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_tasks_of_slurm_make_a_data_set_together(folder: Path) -> None:
    env = stub(folder / "bin", "noiseprompt", f'exec {shlex.quote(sys.executable)} -m noiseprompt "$@"')
    env["SCRATCH"] = str(folder)
    array = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "2"}
    ran(folder, SLURM, {**env, **array, "SLURM_ARRAY_TASK_ID": "1"})
    assert len(Npd(folder / "npd")) == 4  # shards 0 and 2
    ran(folder, SLURM, {**env, **array, "SLURM_ARRAY_TASK_ID": "2"})
    assert is_whole(folder / "npd")
