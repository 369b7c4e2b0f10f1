"""Each worker of the suite computes on its share of the cores: where all use all of them it takes twice as long."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
if _workers:  # not in the process that starts the workers: they inherit its environment
    # read by torch when it is first imported, in the processes that tests start too
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // int(_workers), 1)))

# read when huggingface_hub is first imported, which another test may have done before a command sets it
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted evaluation."""
    from tests.evaluation_runs import run  # not before the environment is set

    out = tmp_path_factory.mktemp("whole")
    list(run(out))
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained world on disk: the commands meet the same loading code as for a 7 GB model."""
    import torch

    from noiseprompt.shapes.model import build_pipeline

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "world"
    build_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A hub on this machine, the only one that the test knows, with an empty cache."""
    from tests import hub_server

    with hub_server.Hub() as server:
        hub_server.use(monkeypatch, server, tmp_path_factory.mktemp("hub"))
        yield server


@pytest.fixture(scope="session")
def object_server() -> Iterator[Any]:
    """A server of object storage on this machine."""
    pytest.importorskip("moto", reason="moto is not installed")
    from tests.object_server import ObjectServer

    server = ObjectServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server_apart() -> Iterator[Any]:
    """One in a process of its own, for tests that fork."""
    pytest.importorskip("moto", reason="moto is not installed")
    from tests.object_server import ObjectServer

    server = ObjectServer(apart=True)
    yield server
    server.stop()


@pytest.fixture
def bucket(object_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An empty bucket, the only store that the test knows."""
    from tests.object_server import Bucket, use

    use(monkeypatch, object_server, tmp_path_factory.mktemp("cache"))
    object_server.forget()
    return Bucket(object_server)


@pytest.fixture
def bucket_apart(server_apart: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """As `bucket`, for tests that fork."""
    from tests.object_server import Bucket, use

    use(monkeypatch, server_apart, tmp_path_factory.mktemp("cache"))
    return Bucket(server_apart)


@pytest.fixture(scope="module")
def browser():
    """A Chromium that asks for nothing by itself: Debian's, or the one Playwright downloads."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with playwright.sync_playwright() as api:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        try:
            opened = api.chromium.launch(executable_path=found, args=flags)
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield opened
        opened.close()
