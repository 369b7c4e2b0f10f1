"""The pack itself: networks by their names, public names alone, help pages, example workflows, the registry."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import noiseprompt
from integrations import workflows
from tests.integrations.comfyui import stubs
from tests.integrations.comfyui.networks import network
from tests.npnet.test_published import published_file


def test_networks_by_folder_by_name_and_as_published(nodes, models: Path, tmp_path: Path) -> None:
    loader = nodes["NoisepromptLoadNPNet"]
    net = network()
    net.save_pretrained(models / "npnet" / "mine")
    torch.save(published_file(), tmp_path / "sdxl.pth")
    for source in ("mine", " mine ", str(models / "npnet" / "mine")):
        found = loader.execute(source, "cpu").result[0]
        assert not found.training and torch.equal(found.head.weight, net.head.weight)
    published = loader.execute(str(tmp_path / "sdxl.pth"), "default").result[0]
    assert published.config.architecture == "published"


def test_a_network_trained_again_is_loaded_again(nodes, models: Path) -> None:
    loader = nodes["NoisepromptLoadNPNet"]
    folder = network().save_pretrained(models / "npnet" / "again")
    before = loader.fingerprint_inputs(source="again", device="cpu")
    assert loader.fingerprint_inputs(source="again", device="cpu") == before
    (folder / "README.md").write_text("another")
    assert loader.fingerprint_inputs(source="again", device="cpu") != before
    assert loader.fingerprint_inputs(source="someone/something", device="cpu") == "someone/something"


def test_what_is_no_network_is_told(nodes, tmp_path: Path, monkeypatch) -> None:
    loader = nodes["NoisepromptLoadNPNet"]
    assert loader.validate_inputs(source="a") is True and "empty" in loader.validate_inputs(source=" ")
    (tmp_path / "wrong.safetensors").write_bytes(b"x")
    for source in (str(tmp_path), str(tmp_path / "wrong.safetensors")):
        with pytest.raises(noiseprompt.NoisepromptError):
            loader.execute(source, "cpu")


# ------------------------------------------------------------------------------------------------------------ the pack


def test_the_pack_asks_for_public_names_alone() -> None:
    for path in stubs.PACK.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("noiseprompt"):
                assert node.module == "noiseprompt" and {name.name for name in node.names} <= set(noiseprompt.__all__)
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("noiseprompt") for name in node.names)


def test_each_node_has_words_tooltips_and_a_help_page(nodes) -> None:
    for name, node in nodes.items():
        schema = node.define_schema()
        page = (stubs.PACK / "web" / "docs" / f"{name}.md").read_text()
        assert schema.category == "noiseprompt" and schema.description
        assert page.startswith(f"# {schema.display_name}\n")
        for socket in [*schema.inputs]:
            assert f"`{socket.id}`" in page, f"{name}.md says nothing of {socket.id}"


@pytest.mark.parametrize("name", workflows.WORKFLOWS)
def test_the_examples_are_as_the_script_makes_them(nodes, name: str) -> None:
    made = workflows.workflow(workflows.WORKFLOWS[name]())
    assert json.loads((workflows.FOLDER / f"{name}.json").read_text()) == made
    assert 5_000 < (workflows.FOLDER / f"{name}.jpg").stat().st_size < 100_000
    for node in made["nodes"]:
        if node["type"] not in nodes:
            continue
        inputs = nodes[node["type"]].define_schema().inputs
        widgets = [one for one in inputs if one.of in ("String", "Float", "Boolean", "Combo", "Int")]
        sockets = [one.id for one in inputs if one not in widgets]
        assert [socket["name"] for socket in node["inputs"]] == sockets
        assert len(node["widgets_values"]) == len(widgets)
        for value, widget in zip(node["widgets_values"], widgets, strict=True):
            assert value in widget.options.get("options", [value])


def test_the_workflows_name_every_node_of_the_pack(nodes) -> None:
    assert set(nodes) <= {node.kind for make in workflows.WORKFLOWS.values() for node in make().values()}


def test_a_picture_of_a_graph_shows_its_links() -> None:
    drawn = np.asarray(workflows.picture(workflows.npnet_noise()))
    colour = [int(workflows.COLOURS["NPNET"][i : i + 2], 16) for i in (1, 3, 5)]
    assert (drawn == colour).all(-1).sum() > 100


def test_the_registry_takes_the_pack() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11")
    project = tomllib.loads((stubs.PACK / "pyproject.toml").read_text())
    assert (
        set(project["project"]["license"]) <= {"file", "text"} and "comfyui" not in project["project"]["name"].lower()
    )
    assert project["project"]["version"] == noiseprompt.__version__ and len(project["tool"]["comfy"]) >= 3
    needed = (stubs.PACK / "requirements.txt").read_text().splitlines()
    assert project["project"]["dependencies"] == needed


def test_a_folder_that_may_not_be_read_is_told_when_it_is_loaded(
    nodes, models, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "npnet" / "locked").mkdir(parents=True)
    loader = nodes["NoisepromptLoadNPNet"]
    monkeypatch.setattr(Path, "iterdir", lambda _: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert "Permission denied" in loader.fingerprint_inputs(source="locked", device="cpu")[1]
