"""Any bytes in place of a file that is read: what they say is read, or there is one error that names the file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from safetensors.torch import save

from noiseprompt.core.config import parse_value, read_yaml
from noiseprompt.core.errors import ConfigError, InputError, ModelLoadError, NoisepromptError, StoreError
from noiseprompt.core.json_files import parse_json, read_json
from noiseprompt.core.json_lines import mend, read_lines
from noiseprompt.core.pictures import read_picture, write_picture
from noiseprompt.core.weights import read_header, read_state
from noiseprompt.noise import figures
from noiseprompt.npd import Npd
from noiseprompt.npd.verify import verify
from noiseprompt.npnet import NPNet, NPNetConfig, build
from noiseprompt.prompts import load_prompts
from noiseprompt.prompts.load import read_seeds
from noiseprompt.results.folder import read_settings
from noiseprompt.results.lines import iter_results
from tests.faults.test_lines import FIGURES, RESULT
from tests.npd_fakes import write as write_pairs
from tests.properties import JSON, damaged, few, same


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples of this file: each writes its file anew."""
    return tmp_path_factory.mktemp("any")


def told(error: Exception, path: Path) -> None:
    assert path.name in str(error) and "\n" not in str(error), str(error)


# ----------------------------------------------------------------------------------------------------- JSON and YAML


@few(100)
@given(JSON)
@example(-0.0)
@example(2**200)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert same(parse_json(json.dumps(value)), value)
    assert same(parse_json(json.dumps(value, ensure_ascii=False).encode()), value)


@few(150)
@given(st.one_of(st.binary(max_size=40), JSON.flatmap(lambda value: damaged(json.dumps(value).encode()))))
def test_any_bytes_are_json_or_one_error(folder: Path, data: bytes) -> None:
    path = folder / "any.json"
    path.write_bytes(data)
    try:
        assert isinstance(read_json(path), dict)
    except ConfigError as error:
        told(error, path)
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert same(json.loads(data), value)


@few(100)
@given(JSON)
@example({"2024-01-01": "12:30:00"})
@example(["1e3", "0x1f", "no", "0777", 1e300, -1e-7])
def test_yaml_reads_what_json_says(value: Any) -> None:
    """But for letters that YAML does not allow, or takes for ends of lines."""
    text = json.dumps(value, ensure_ascii=False)
    assume(not set("\x85\u2028\u2029") & set(text))
    try:
        assert same(parse_value(text, "any"), value)
    except ConfigError:
        assert not text.isprintable()


@few(150)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=40).map(lambda text: text.encode(errors="replace")),
        st.text("{}[]:,-&*!|>'\"#%@? \n\tabc01.e", max_size=30).map(str.encode),
    )
)
def test_any_bytes_are_yaml_or_one_error(folder: Path, data: bytes) -> None:
    path = folder / "any.yaml"
    path.write_bytes(data)
    try:
        assert isinstance(read_yaml(path), dict)
    except ConfigError as error:
        told(error, path)


# ------------------------------------------------------------------------------------------------------------- lines

ROWS = b"".join(json.dumps({**RESULT, "seed": seed}).encode() + b"\n" for seed in range(3))
NOISE = b"".join(json.dumps({**FIGURES, "batch": batch}).encode() + b"\n" for batch in range(3))


@few(120)
@given(damaged(ROWS))
def test_damaged_results_are_rows_or_one_error(folder: Path, data: bytes) -> None:
    path = folder / "results.jsonl"
    path.write_bytes(data)
    try:
        found = list(iter_results(folder))
    except StoreError as error:
        told(error, path)
        return
    assert all(isinstance(row.seed, int) and all(map(math.isfinite, row.scores.values())) for row in found)
    mend(path)
    assert path.read_bytes() == data[: data.rfind(b"\n") + 1]


@few(60)
@given(st.one_of(damaged(NOISE), st.binary(max_size=60)))
def test_damaged_figures_are_figures_or_one_error(folder: Path, data: bytes) -> None:
    path = folder / figures.FILE
    path.write_bytes(data)
    try:
        figures.read(folder)
        list(read_lines(path, dict, ""))
    except StoreError as error:
        told(error, path)


SETTINGS = {
    "fingerprint": "0123456789ab",
    "settings": {"pipeline": {"name": "fake"}, "config": {"seed": 0}},
    "methods": {"standard": {}},
    "environment": {"python": "3"},
}


@few(80)
@given(st.one_of(damaged(json.dumps(SETTINGS).encode()), JSON.map(lambda value: json.dumps(value).encode())))
def test_damaged_settings_of_an_evaluation_are_settings_or_one_error(folder: Path, data: bytes) -> None:
    path = folder / "settings.json"
    path.write_bytes(data)
    try:
        assert isinstance(read_settings(folder)["settings"], dict)
    except NoisepromptError as error:
        told(error, path)


# ----------------------------------------------------------------------------------------------------------- weights

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.ones(4, dtype=torch.float16)}
WEIGHTS = save(TENSORS)


@few(150)
@given(damaged(WEIGHTS))
def test_damaged_weights_are_tensors_or_one_error(folder: Path, data: bytes) -> None:
    """A changed value is a value still; names, shapes and bytes agree whatever is read."""
    path = folder / "any.safetensors"
    path.write_bytes(data)
    try:
        header, state = read_header(path), read_state(path)
    except ModelLoadError as error:
        told(error, path)
        return
    assert {name: shape for name, (_, shape) in header.items()} == {n: tuple(v.shape) for n, v in state.items()}
    assert sum(value.numel() * value.element_size() for value in state.values()) <= len(data)


@few(60)
@given(st.data())
def test_a_network_whose_files_were_changed_is_that_network_or_one_error(folder: Path, data: Any) -> None:
    out = folder / "net"
    if not out.exists():
        sizes: dict[str, Any] = {"text_length": 3, "text_width": 8, "width": 8, "depth": 1, "heads": 2, "patch": 4}
        config = NPNetConfig("tokens", latent_shape=(4, 8, 8), **sizes)
        build(config).save_pretrained(out)
        (folder / "kept.json").write_bytes((out / "config.json").read_bytes())
    (out / "config.json").write_bytes(data.draw(damaged((folder / "kept.json").read_bytes())))
    try:
        net = NPNet.from_pretrained(out)
    except NoisepromptError as error:
        assert "\n" not in str(error) and str(out) in str(error), str(error)
        return
    assert net.config.latent_shape == (4, 8, 8)


# ------------------------------------------------------------------------------------------------------------- pairs


@few(150)
@given(st.data())
def test_a_damaged_shard_is_told_or_its_rows_are_those_that_were_written(folder: Path, data: Any) -> None:
    """Every reader of a shard; bytes that mean nothing may differ."""
    out = folder / "npd"
    if not out.exists():
        write_pairs(out)
        (folder / "shard").write_bytes((out / "shard-000000.arrow").read_bytes())
        (folder / "rows").write_text(repr(rows_of(out)))
    (out / "shard-000000.arrow").write_bytes(data.draw(damaged((folder / "shard").read_bytes())))
    problems = verify(out)
    try:
        found = rows_of(out)
    except NoisepromptError as error:
        assert problems and "\n" not in str(error)
        told(error, out / "shard-000000.arrow")
        return
    assert problems or repr(found) == (folder / "rows").read_text()


def rows_of(folder: Path) -> list[Any]:
    npd = Npd(folder)
    noises = [(npd.targets([i]).tolist(), npd.sources([i]).tolist()) for i in np.flatnonzero(npd.usable())]
    return [npd.table().to_pylist(), npd.settings, noises]


# ----------------------------------------------------------------------------------------------------------- prompts


def table(rows: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    yield "txt", "".join(f"{row['prompt']}\n" for row in rows).encode()
    yield "csv", text.getvalue().encode()
    yield "json", json.dumps(rows).encode()
    yield "jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
    yield "parquet", sink.getvalue()


PROMPTS = dict(table([{"prompt": f'a "cat", number {i}', "kind": "cat", "seed": i} for i in range(4)]))


@pytest.mark.parametrize("suffix", PROMPTS)
def test_damaged_prompts_are_texts_or_one_error(folder: Path, suffix: str) -> None:
    path = folder / f"any.{suffix}"

    def read(reader: Callable[[Any], Any], data: bytes) -> Any:
        path.write_bytes(data)
        try:
            return reader(path)
        except InputError as error:
            assert path.name in str(error), str(error)
            return None

    @few(40)
    @given(st.one_of(damaged(PROMPTS[suffix]), st.binary(max_size=40)))
    def try_one(data: bytes) -> None:
        listed = read(lambda path: load_prompts(str(path)), data)
        assert listed is None or all(prompt.text.strip() for prompt in listed.prompts)
        seeds = read(read_seeds, data)
        assert seeds is None or all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)

    try_one()
    assert len(read(lambda path: load_prompts(str(path)), PROMPTS[suffix]).prompts) == 4


# ---------------------------------------------------------------------------------------------------------- pictures


@few(60)
@given(st.data())
def test_a_damaged_picture_is_a_picture_or_one_error(folder: Path, data: Any) -> None:
    path, whole = folder / "any.png", folder / "whole.png"
    if not whole.exists():
        write_picture(whole, np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3))
    path.write_bytes(data.draw(damaged(whole.read_bytes())))
    try:
        picture = read_picture(path)
    except InputError as error:
        assert path.name in str(error)
        return
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
