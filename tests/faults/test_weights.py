"""Files of weights and the configurations beside them, changed by hand: one line, soon, before anything is built."""

from __future__ import annotations

import json
import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from noiseprompt.core import network_files
from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.network_files import load_network
from noiseprompt.core.weights import read_checkpoint, read_header, read_state
from noiseprompt.npnet import NPNet, build, import_published, small_config, tokens_config
from noiseprompt.scorers.sets.extractors import ShapesFeatures
from noiseprompt.scorers.shapes_preference import ShapesPreference
from noiseprompt.shapes import features_folder, preference_folder

FOLDERS = {
    "paper": lambda out: build(small_config((4, 16, 16), 3, 8)).save_pretrained(out),
    "tokens": lambda out: build(tokens_config((4, 16, 16), 3, 8)).save_pretrained(out),
}
HUGE = [10**9, 10**18, 10**4000 + 1, -1, 0, 2.0, 1e308, "8", None, True, [4], {}]
"""Values that no size may have."""


SECONDS = 10
"""Of the processor: most refusals take milliseconds, and what is not refused would take hours or all memory."""


def refuse(read: Any, *says: str) -> None:
    start = time.process_time()
    with pytest.raises(ModelLoadError) as caught:
        read()
    assert time.process_time() - start < SECONDS
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    for part in says:
        assert part in str(caught.value)


@pytest.fixture(scope="module", params=list(FOLDERS))
def saved(request, tmp_path_factory) -> tuple[str, Path]:
    """The name of an architecture and a folder of a network; also warms up what torch imports late."""
    folder = FOLDERS[request.param](tmp_path_factory.mktemp(request.param))
    NPNet.from_pretrained(folder)
    return request.param, folder


def changed(folder: Path, out: Path, **settings: Any) -> Path:
    out.mkdir(exist_ok=True)
    data = json.loads((folder / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(data | settings))
    (out / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    return out


SIZES = {"paper": ("svd_hidden", "swin_window", "swin_image"), "tokens": ("depth", "width", "heads", "patch")}


@pytest.mark.parametrize("value", HUGE, ids=lambda value: f"{value!r:.20}")
def test_sizes_out_of_bounds_are_named(saved, tmp_path, value) -> None:
    for key in (*SIZES[saved[0]], "text_width"):
        if not (key == "swin_image" and value == 0):  # the latents' own size
            refuse(lambda key=key: NPNet.from_pretrained(changed(saved[1], tmp_path, **{key: value})), key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("latent_shape", [4, 10**9, 16]),
        ("latent_shape", [4, 16]),
        ("latent_shape", [[4], 16, 16]),
        ("latent_shape", "4,16,16"),
        ("swin_depths", [10**9]),
        ("swin_depths", [1] * 10_000),
        ("swin_depths", []),
        ("swin_heads", [2, 10**30]),
        ("mlp_ratio", 1e300),
        ("gain", "big"),
        ("gain", True),
        ("alpha_init", [1]),
        ("any_size", "yes"),
        ("any_size", 1),
        ("family", 5),
        ("denoiser", None),
        ("without", ["everything"]),
        ("without", [["text"]]),
        ("architecture", ["paper"]),
        ("architecture", None),
    ],
)
def test_fields_of_another_kind_are_named(saved, tmp_path, key, value) -> None:
    folder = changed(saved[1], tmp_path, **{key: value})
    refuse(lambda: NPNet.from_pretrained(folder), "config.json", key)


@pytest.mark.parametrize(
    ("architecture", "key", "value"),
    [
        ("tokens", "depth", 128),
        ("tokens", "width", 65_536 - 65_536 % 20),
        ("tokens", "text_width", 65_536),
        ("tokens", "text_length", 65_536),
        ("paper", "swin_depths", [2, 64]),
        ("paper", "swin_width", 65_536),
        ("paper", "svd_wide", 65_536),
        ("paper", "text_width", 65_536),
    ],
)
def test_sizes_within_bounds_are_compared_with_the_weights(tmp_path, monkeypatch, architecture, key, value) -> None:
    """The largest of each would take up to terabytes: nothing is built but names and shapes."""
    folder = changed(FOLDERS[architecture](tmp_path / "whole"), tmp_path / "changed", **{key: value})
    monkeypatch.setattr("noiseprompt.core.weights.read_state", lambda path: pytest.fail("tensors were read"))
    refuse(lambda: NPNet.from_pretrained(folder), "model.safetensors", "does not fit")


def write_header(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def entry(shape: Any, end: int, dtype: Any = "F32", start: int = 0) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HEADERS: dict[str, tuple[Any, bytes, int | None]] = {
    "nothing": (b"", b"", None),
    "no JSON": (b"x" * 40, b"", None),
    "torn JSON": (b'{"a": {"dtype": "F32"', b"", None),
    "a list": ([], b"", None),
    "longer than the file": ({}, b"", 10_000),
    "a gigabyte": ({}, b"", 2**30),
    "2**63": ({}, b"", 2**63),
    "deep": (b'{"a":' * 50_000, b"", None),
    "deep lists": (b'{"a":' + b"[" * 100_000, b"", None),
    "no shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234", None),
    "a shape that overflows": ({"a": entry([2**62, 2**62], 4)}, b"1234", None),
    "a terabyte of shape": ({"a": entry([2**38], 4)}, b"1234", None),
    "a negative shape": ({"a": entry([-1], 4)}, b"1234", None),
    "a shape of text": ({"a": entry("4", 4)}, b"1234", None),
    "an unknown type": ({"a": entry([1], 4, "OBJECT")}, b"1234", None),
    "offsets beyond the end": ({"a": entry([2], 8)}, b"1234", None),
    "a hole": ({"a": entry([1], 8, start=4)}, b"12345678", None),
    "two in one place": ({"a": entry([1], 4), "b": entry([1], 4)}, b"1234", None),
    "bytes at the end": ({"a": entry([1], 4)}, b"1234" * 100, None),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie_are_refused(tmp_path, name) -> None:
    header, data, length = HEADERS[name]
    write_header(tmp_path / "a.safetensors", header, data, length)
    for read in (read_header, read_checkpoint, read_state):
        refuse(lambda read=read: read(tmp_path / "a.safetensors"), str(tmp_path))


def test_a_header_is_read_without_the_tensors(tmp_path) -> None:
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(2, dtype=torch.int64)}, tmp_path / "a.safetensors")
    assert read_header(tmp_path / "a.safetensors") == {"a": ("F32", (3, 4)), "b": ("I64", (2,))}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_weights_that_are_cut_are_refused(saved, tmp_path, share) -> None:
    folder = changed(saved[1], tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: int(share * len(whole))])
    refuse(lambda: NPNet.from_pretrained(folder), "model.safetensors")


def alter(path: Path, kind: str) -> str:
    """Change a file of weights; the name of the tensor that is changed."""
    state = load_file(path)
    name = next(name for name in sorted(state) if state[name].ndim > 1)
    match kind:
        case "nan":
            state[name].view(-1)[-1] = torch.nan
        case "infinite":
            state[name].view(-1)[0] = -torch.inf
        case "whole numbers":
            state[name] = state[name].to(torch.int64)
        case "float8":
            state[name] = state[name].to(torch.float8_e4m3fn)
        case "transposed":
            state[name] = state[name].reshape(*state[name].shape[::-1], 1).contiguous()
        case "missing":
            del state[name]
        case "renamed":
            state[f"other.{name}"] = state.pop(name)
    save_file(state, path)
    return name


LOADERS = {
    "npnet": (lambda folder: NPNet.from_pretrained(folder), None),
    "preference": (lambda folder: ShapesPreference(folder), preference_folder),
    "features": (lambda folder: ShapesFeatures(str(folder)), features_folder),
}


@pytest.mark.parametrize("kind", ["nan", "infinite", "whole numbers", "float8", "transposed", "missing", "renamed"])
@pytest.mark.parametrize("loader", LOADERS)
def test_weights_that_are_not_those_of_the_network_are_named(tmp_path, loader, kind) -> None:
    load, where = LOADERS[loader]
    folder = FOLDERS["tokens"](tmp_path / "npnet") if where is None else changed(where(), tmp_path / loader)
    load(folder)  # the copy is whole
    name = alter(folder / "model.safetensors", kind)
    refuse(lambda: load(folder), name, "model.safetensors")


@pytest.mark.parametrize("value", HUGE, ids=lambda value: f"{value!r:.20}")
def test_sizes_of_the_preference_scorer_are_bounded(tmp_path, value) -> None:
    for key in ("width", "blocks"):
        folder = changed(preference_folder(), tmp_path, **{key: value})
        refuse(lambda folder=folder: ShapesPreference(folder), str(folder), key)


@pytest.mark.parametrize("key, value", [("width", 100), ("width", 4096), ("blocks", 64), ("strange", 1)])
def test_sizes_of_the_preference_scorer_are_those_of_its_weights(tmp_path, key, value) -> None:
    folder = changed(preference_folder(), tmp_path, **{key: value})
    refuse(lambda: ShapesPreference(folder), str(folder))


# ------------------------------------------------------------------------------------------------ foreign checkpoints


class _Runs:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


class _Allocates:
    def __reduce__(self) -> Any:
        return (bytearray, (10**15,))


def _archive(path: Path) -> None:
    torch.save({"a": torch.zeros(4_000_000)}, path.with_suffix(".whole"))
    with zipfile.ZipFile(path.with_suffix(".whole")) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))


def _nested(path: Path) -> None:
    value: Any = {}
    for _ in range(30):
        value = [value, value]
    torch.save({"a": value}, path)


CHECKPOINTS = {
    "a program": lambda path: torch.save({"a": _Runs()}, path),
    "a pickled program": lambda path: path.write_bytes(pickle.dumps({"a": _Runs()})),
    "a petabyte asked for": lambda path: torch.save({"a": _Allocates()}, path),
    "one value a trillion times": lambda path: torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path),
    "one value often": lambda path: torch.save({f"a{i}": torch.zeros(1).expand(1000) for i in range(50)}, path),
    "compressed zeros": _archive,
    "no values": lambda path: torch.save({"a": torch.zeros(10, device="meta")}, path),
    "sparse": lambda path: torch.save({"a": torch.zeros(10).to_sparse()}, path),
    "lists of lists": _nested,
    "a module": lambda path: torch.save(torch.nn.Linear(2, 2), path),
    "text": lambda path: path.write_bytes(b"no checkpoint"),
    "nothing": lambda path: path.write_bytes(b""),
    "a folder": lambda path: path.mkdir(),
    "a zip of nothing": lambda path: zipfile.ZipFile(path, "w").close(),
    "a number": lambda path: torch.save(5, path),
    "no name": lambda path: torch.save([torch.zeros(1)], path),
    "not finite": lambda path: torch.save({"layer.weight": torch.tensor([1.0, torch.nan])}, path),
    "infinite": lambda path: torch.save({"state_dict": {"layer.weight": torch.tensor([torch.inf])}}, path),
}


@pytest.mark.parametrize("suffix", [".pth", ".bin"])
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_hostile_checkpoints_are_refused(tmp_path, kind, suffix, capsys) -> None:
    path = tmp_path / f"a{suffix}"
    CHECKPOINTS[kind](path)
    says = ["layer.weight"] if "finite" in kind else []
    refuse(lambda: read_state(path), str(path), *says)
    refuse(lambda: import_published(path, tmp_path / "out"), str(path))
    assert "executed" not in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_what_is_well_is_read_exactly(tmp_path) -> None:
    """Tied weights, an infinite mask, whole numbers, and a state dict inside another."""
    weight = torch.randn(40, 40)
    state = {"a": weight, "b": weight, "attn_mask": torch.full((2, 2), -torch.inf), "ids": torch.arange(3)}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a.pt")
    found = read_state(tmp_path / "a.pt")
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


KEPT = [None, torch.float32, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("kept", KEPT, ids=str)
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_network_read_in_pieces_has_the_values_of_the_file(kind, kept, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        network_files, "PIECE", 64
    )  # bytes; a tensor of one piece, of many, and one that ends within a piece
    net = torch.nn.ParameterDict({"one": torch.randn(3, 2), "many": torch.randn(16, 16), "odd": torch.randn(5, 13)})
    net["number"] = torch.nn.Parameter(torch.tensor(0.5))
    net["none"] = torch.nn.Parameter(torch.empty(0, 3))
    save_file({name: value.detach().to(kind) for name, value in net.items()}, tmp_path / "net.safetensors")
    shapes = {name: value.shape for name, value in net.items()}

    def made() -> torch.nn.ParameterDict:
        return torch.nn.ParameterDict({name: torch.empty(shape) for name, shape in shapes.items()})

    found = load_network(tmp_path / "net.safetensors", made, dtype_of=lambda name: kept).state_dict()
    expected = load_file(tmp_path / "net.safetensors")
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == (kept or kind)
        assert torch.equal(found[name], value.to(kept or kind)), name


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_in_any_piece_that_is_not_finite_is_found(bad, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(network_files, "PIECE", 64)
    values = torch.zeros(100)
    for place in (0, 50, 99):
        save_file({"a": values.index_fill(0, torch.tensor([place]), bad)}, tmp_path / "net.safetensors")
        with pytest.raises(ModelLoadError, match=r"not finite: 1 of them \(a\)"):
            load_network(tmp_path / "net.safetensors", lambda: torch.nn.ParameterDict({"a": torch.empty(100)}))
