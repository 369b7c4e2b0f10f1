"""The notebook runs from its first cell to its last on the embedded world, and is committed without outputs."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

PATH = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(PATH, as_version=4)


def test_it_is_committed_without_outputs(notebook) -> None:
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)


def test_another_model_is_one_changed_line(notebook) -> None:
    first = next(cell for cell in notebook.cells if cell.cell_type == "code").source.splitlines()
    assert len(first) == 2 and first[1].startswith(f"# {first[0].split('=')[0]}")
    assert not any(
        "shapes" in cell.source for cell in notebook.cells if cell.cell_type == "code" and first[0] not in cell.source
    )


def test_it_runs(notebook, tmp_path: Path, monkeypatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["src", os.environ.get("PYTHONPATH", "")]))
    client = NotebookClient(notebook.copy(), timeout=300, resources={"metadata": {"path": str(PATH.parents[1])}})
    ran = client.execute()
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
        for cell in ran.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert [picture.width // picture.height for picture in pictures] == [5, 5, 4, 2]
    above, below = (np.asarray(picture, int) for picture in pictures[:2])
    assert np.abs(above - below).max() > 50
    printed = "".join(output.text for cell in ran.cells for output in cell.get("outputs", ()) if "text" in output)
    assert "source" in printed and "perturbation 0.0%" in printed
