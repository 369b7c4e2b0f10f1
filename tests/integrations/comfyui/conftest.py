"""The pack on stubs of ComfyUI."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.comfyui import stubs


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def pack(models: Path) -> Any:
    with stubs.load(models) as pack:
        yield pack


@pytest.fixture(scope="module")
def nodes(pack) -> dict[str, Any]:
    extension = asyncio.run(pack.comfy_entrypoint())
    return {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}
