"""The floors of the house: imports go down only, stages do not know each other, heavy packages stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "noiseprompt"

FLOORS: dict[str, int] = {
    "core": 1,  # the words; no torch when it is imported
    "noise": 2,
    "npnet": 2,
    "shapes": 2,
    "pipelines": 3,  # its families/ import core alone
    "prompts": 3,
    "npd": 3,
    "scorers": 3,
    "methods": 4,
    "results": 4,
    "stages": 5,  # its folders do not import each other
    "engines": 6,  # stages are handed what they make
    "modular": 6,
    "web": 6,
    "cli": 7,
    "recipes": 8,
}
ROOT = {"__init__", "__main__"}

HEAVY = {
    "accelerate": set(),  # diffusers asks for it, to offload
    "boto3": {"core.s3"},
    "botocore": {"core.s3"},
    "diffusers": {"modular", "pipelines", "shapes"},
    "gradio": {"web"},
    "pyarrow": {"npd", "prompts"},
    "ray": {"engines"},
}
"""Heavy package -> the rooms, folders of rooms, or files that may import it."""

FILES = sorted(SRC.rglob("*.py"))
IDS = [path.relative_to(SRC).as_posix() for path in FILES]


def module(path: Path) -> str:
    """ "noiseprompt.core.types" of that file, "noiseprompt.core" of the room's `__init__.py`."""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name or "") of every import in a file, also inside functions and for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write imports in full"
            yield from ((node.module or "", alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """Files of this package that a file imports."""
    found = {f"{target}.{name}" if f"{target}.{name}" in MODULES else target for target, name in imported(path)}
    return (found & set(MODULES)) - {module(path)}


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def folder(name: str) -> str:
    """ "stages/train" of a file in that folder, else the room."""
    parts = name.split(".")
    return "/".join(parts[1:3]) if parts[1:2] == ["stages"] and len(parts) > 2 else room(name)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_go_down_only(path: Path) -> None:
    name = module(path)
    if room(name) in ROOT:
        return
    assert room(name) in FLOORS, f"{room(name)} stands on no floor: name it in this test and in the README"
    for other in own_imports(path):
        assert room(other) == room(name) or FLOORS.get(room(other), 99) < FLOORS[room(name)], f"{name} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_walls_inside_rooms(path: Path) -> None:
    name, others = module(path), own_imports(path)
    for other in others:
        if room(name) == room(other) == "stages":
            assert folder(other) == folder(name), f"{name} imports {other}: stages meet in the types and on disk only"
        if name.startswith("noiseprompt.pipelines.families"):
            inside = other.startswith("noiseprompt.pipelines.families")
            assert inside or room(other) == "core", f"{name} imports {other}"
        assert not (other.count(".") == 1 and room(other) == room(name)), f"{name} asks its own room's __init__.py"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    name = module(path)
    for target, _ in imported(path):
        allowed = HEAVY.get(target.split(".")[0])
        own = {folder(name), room(name), name.removeprefix("noiseprompt.")}
        assert allowed is None or own & allowed, f"{name} imports {target}"


def test_no_circle_of_imports() -> None:
    """Also inside rooms, inside functions, and for types alone."""
    below = {name: own_imports(path) for name, path in MODULES.items() if room(name) not in ROOT}
    while below:
        leaves = [name for name, others in below.items() if not others & set(below)]
        assert leaves, f"a circle among {sorted(below)}"
        for name in leaves:
            del below[name]


def defined(path: Path) -> set[str]:
    """Names that a file makes itself, at its top level."""
    body = ast.parse(path.read_text()).body
    found = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        found |= {name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def test_every_name_has_one_home() -> None:
    """Nobody, the tests included, takes a name from a file that only imports it; rooms hand on a few of theirs."""
    names = {name: defined(path) for name, path in MODULES.items() if name.count(".") > 1 or path.name != "__init__.py"}
    for path in [*FILES, *Path(__file__).parent.rglob("*.py")]:
        for target, name in imported(path):
            home = target not in names or name in names[target] or f"{target}.{name}" in MODULES
            assert home, f"{path} takes {name} from {target}, which is not its home"


def test_the_house_stays_small() -> None:
    assert len([entry for entry in SRC.iterdir() if entry.name != "__pycache__"]) <= 18
    long = {name: n for name, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 350}
    assert not long


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, noiseprompt; "
        "heavy = {'torch', 'diffusers', 'transformers', 'gradio', 'ray', 'matplotlib', 'pyarrow'} & set(sys.modules); "
        "assert not heavy, heavy; noiseprompt.Prompt('a'); assert 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_core_is_light_and_rooms_hand_on_names_on_first_use() -> None:
    core = [name for name in MODULES if room(name) == "core"]
    rooms = [f"noiseprompt.{name}" for name in FLOORS]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {core + rooms}]; "
        "heavy = {'torch', 'diffusers', 'transformers', 'pyarrow'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_pickle_and_no_eval() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads"), path
                if called == "torch.load":
                    assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path
                    where = [ast.unparse(k.value) for k in node.keywords if k.arg == "map_location"]
                    assert where == ["'cpu'"], f"{path}: a file written on another device must load"
                assert not any(k.arg == "trust_remote_code" for k in node.keywords), path
