"""Commands on object storage: those that take an address, and the line of those that do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseprompt.cli import collecting, main
from noiseprompt.cli.sharing import plain, run_shared, typed
from noiseprompt.core.places import Address
from noiseprompt.engines import local
from noiseprompt.engines.options import Sharing
from noiseprompt.npd import Npd
from noiseprompt.npd.verify import verify
from noiseprompt.results.lines import read_results
from tests.evaluation_runs import timeless
from tests.npd_fakes import shards, write
from tests.object_server import Bucket

EVALUATE = ("evaluate", "--prompts=shapes:test", "--methods=standard")
COLLECT = ("collect", "--prompts=shapes:train", "--device=cpu")


def line(capfd: Any, *words: str) -> str:
    """What a command that is refused says, and nothing was loaded."""
    assert main([*words]) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


def test_what_is_asked_of_a_data_set(bucket: Bucket, tmp_path: Path, capfd: Any) -> None:
    write(bucket.folder)  # type: ignore[arg-type]
    assert main(["npd", "verify", bucket.folder]) == 0
    assert capfd.readouterr().out == "all pairs are sound\n"
    assert main(["npd", "info", bucket.folder]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["folder"], told["pairs"], told["shards"]) == (bucket.folder, 6, 2)
    assert main(["npd", "export", bucket.folder, str(tmp_path / "a.parquet")]) == 0
    write(tmp_path / "npd")
    assert main(["npd", "export", str(tmp_path / "npd"), str(tmp_path / "b.parquet")]) == 0
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert bucket.files() == shards(tmp_path / "npd")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*COLLECT, "--out=s3://nobody-has-this/npd"), "there is no bucket nobody-has-this at http"),
        (("train", "--npd=s3://nobody-has-this/npd", "--out=OUT"), "there is no bucket nobody-has-this at http"),
        (("npd", "info", "s3://nobody-has-this/npd"), "there is no bucket nobody-has-this at http"),
        ((*COLLECT, "--out=gs://bucket/npd"), "gs: is no store"),
        ((*COLLECT, "--out=s3:/bucket/npd"), "s3://BUCKET/FOLDER with both slashes"),
        ((*COLLECT, "--out=s3://bucket"), "s3://BUCKET/FOLDER, such as"),
        (("npd", "verify", "s3:/bucket/npd"), "with both slashes"),
        (("npd", "push", "s3://bucket/npd", "me/x"), "is for collect --out, evaluate --out, generate --out, report"),
        (("npd", "pull", "s3://bucket/npd", "me/x"), "is for collect --out, evaluate --out, generate --out, report"),
        (("train", "--npd=NPD", "--out=s3://bucket/net"), "is for collect --out, evaluate"),
        ((*EVALUATE, "--out=s3://nobody-has-this/x"), "there is no bucket nobody-has-this at http"),
        ((*EVALUATE, "--out=s3:/bucket/x"), "with both slashes"),
        (("report", "s3://nobody-has-this/x"), "there is no bucket nobody-has-this at http"),
        (("report", "s3://bucket"), "s3://BUCKET/FOLDER, such as"),
        (("report", "out", "--out=gs://bucket/x"), "gs: is no store"),
        (("score", "s3://bucket/x/images", "--prompts=shapes:test"), "is for collect --out"),
        (("generate", "a", "--out=s3://nobody-has-this/x"), "there is no bucket nobody-has-this at http"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_loaded(
    bucket: Bucket, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.setattr("noiseprompt.cli.common.load_model", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.chdir(tmp_path)
    assert told in line(capfd, *(word.replace("OUT", "out") for word in words))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_without_the_extra_it_is_told_what_to_install(bucket: Bucket, capfd: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setenv("AWS_ANOTHER", "client")
    assert 'pip install "noiseprompt[s3]"' in line(capfd, *COLLECT, f"--out={bucket.folder}")


def test_an_engine_hands_the_address_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = []
    monkeypatch.setattr(local, "run", lambda job, *_: jobs.append(job) or iter(()))
    out = Address("s3://bucket/runs/npd")
    list(run_shared(Sharing(engine="local", workers=2), "m:f", out, {"out": out}, lambda: False))
    [job] = jobs
    assert job.folder == "s3://bucket/runs/npd" and json.loads(json.dumps(job.options)) == {"out": job.folder}
    there = typed("collect", plain({"out": out}))["out"]
    assert isinstance(there, Address) and there == out
    assert isinstance(typed("collect", {"out": "a/b"})["out"], type(Path("a/b")))


@pytest.mark.slow
def test_from_a_collection_to_a_network(bucket_apart: Bucket, tmp_path: Path, capfd: Any) -> None:
    """The world itself, through all layers."""
    words = ["collect", "--prompts=shapes:train", "--n=6", "--shard_size=2", "--batch_size=2", "--device=cpu"]
    words += ["--num_inference_steps=1", "--scorers=shapes-checker"]
    engine = ["--engine=local", "--workers=2"]
    assert main([*words, f"--out={bucket_apart.folder}", *engine]) == 0, capfd.readouterr().err
    assert main([*words, f"--out={tmp_path / 'npd'}"]) == 0
    assert bucket_apart.files() == shards(tmp_path / "npd") and collecting.tell_noise(bucket_apart.folder) is None
    for npd, out in ((bucket_apart.folder, "a"), (tmp_path / "npd", "b")):
        words = ["train", f"--npd={npd}", f"--out={tmp_path / out}", "--epochs=1", "--batch_size=2", "--device=cpu"]
        words += ["--validation_share=0.4"]
        assert main(words) == 0, capfd.readouterr().err
    one, other = (tmp_path / out / "best" / "model.safetensors" for out in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_actors_of_ray_make_the_same_pairs_there(bucket_apart: Bucket, tmp_path: Path) -> None:
    """In a process of its own: a cluster has the environment, credentials among it, of whoever starts it."""
    pytest.importorskip("ray")
    words = ["collect", "--prompts=shapes:train", "--n=6", "--shard_size=2", "--batch_size=2", "--device=cpu"]
    words += ["--num_inference_steps=1", "--scorers=shapes-checker"]
    command = [
        sys.executable,
        "-m",
        "noiseprompt",
        *words,
        f"--out={bucket_apart.folder}",
        "--engine=ray",
        "--workers=2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-1500:]
    assert main([*words, f"--out={tmp_path / 'npd'}"]) == 0
    there, here = Npd(bucket_apart.folder), Npd(tmp_path / "npd")
    assert verify(bucket_apart.folder) == [] and [(a.id, a.scores) for a in there] == [(b.id, b.scores) for b in here]
    every = np.arange(6)  # actors may round the last digit otherwise
    np.testing.assert_allclose(there.targets(every).astype(float), here.targets(every).astype(float), atol=2e-3)


def test_a_store_that_refuses_meanwhile_is_one_line_and_the_same_command_goes_on(bucket: Bucket, capfd: Any) -> None:
    words = [*EVALUATE, f"--out={bucket.folder}", "--n=2", "--batch_size=1", "--num_inference_steps=1", "--device=cpu"]
    puts = []

    def forbids(method: str, path: str) -> bool:
        puts.extend([path] * (method == "PUT" and path.endswith(".png")))
        return len(puts) > 1

    bucket.server.forbids = forbids
    assert main(words) == 2
    said = capfd.readouterr()
    [told] = [line for line in said.err.splitlines() if "error" in line.lower() or "Traceback" in line]
    assert told.startswith("noiseprompt: error: no rights on s3://") and "AccessDenied" in told and said.out == ""
    bucket.server.forbids = lambda method, path: False
    assert len(read_results(bucket.folder)) == 1
    assert main(words) == 0
    assert len(read_results(bucket.folder)) == 2 and f"report: {bucket.folder}/report.html" in capfd.readouterr().out
    assert b"data:image/png" in bucket.read("report.html")


def evaluated(*words: str) -> None:
    """In a process of its own: a cluster of Ray has the environment, credentials among it, of whoever starts it."""
    few = ["--n=4", "--batch_size=2", "--num_inference_steps=1", "--device=cpu"]
    command = [sys.executable, "-m", "noiseprompt", *EVALUATE, *few, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-1500:]


@pytest.mark.slow
def test_an_evaluation_and_its_report(bucket_apart: Bucket, tmp_path: Path, capfd: Any) -> None:
    """The world itself, through all layers."""
    evaluated(f"--out={bucket_apart.folder}", "--engine=local", "--workers=2")
    evaluated(f"--out={tmp_path / 'npd'}")
    here = {path.relative_to(tmp_path / "npd").as_posix(): path for path in (tmp_path / "npd").rglob("*.*")}
    there = bucket_apart.files()
    same = [name for name in here if name.startswith(("images/", "features/")) or name == "settings.json"]
    assert len(same) > 5 and [name for name in same if there[name] != here[name].read_bytes()] == []
    assert timeless(read_results(bucket_apart.folder)) == timeless(read_results(tmp_path / "npd"))
    assert main(["report", bucket_apart.folder, f"--out={tmp_path / 'page'}"]) == 0
    assert capfd.readouterr().out == f"report: {tmp_path / 'page' / 'report.html'}\n"
    assert (tmp_path / "page" / "report.html").read_bytes() == bucket_apart.read("report.html")


@pytest.mark.slow
def test_actors_of_ray_evaluate_there(bucket_apart: Bucket, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    evaluated(f"--out={bucket_apart.folder}", "--engine=ray", "--workers=2")
    evaluated(f"--out={tmp_path / 'npd'}")
    there, here = read_results(bucket_apart.folder), read_results(tmp_path / "npd")
    assert [(a.prompt_id, a.seed, a.image) for a in there] == [(b.prompt_id, b.seed, b.image) for b in here]
    for a, b in zip(there, here, strict=True):  # actors may round the last digit otherwise
        assert a.scores == pytest.approx(b.scores, abs=0.02)
    assert "report.html" in bucket_apart.files()
