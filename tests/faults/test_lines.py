"""Files of JSON lines: a torn last line is mended, any other bad line is named with its number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseprompt.core.errors import StoreError
from noiseprompt.core.json_lines import LONGEST, mend, read_lines
from noiseprompt.noise import figures
from noiseprompt.results.books import book_of
from noiseprompt.results.lines import iter_results
from noiseprompt.shapes.training import curve, read_metrics

RESULT = {
    "method": "standard",
    "prompt_id": "0123456789abcdef",
    "text": "a red circle",
    "kind": "",
    "seed": 1,
    "scores": {"brightness": 0.5},
    "denoiser_calls": 20,
    "noise_seconds": 0.0,
    "sample_seconds": 1.5,
    "image": "",
}
FIGURES = {"method": "m", "batch": 1, "perturbation": [0.1], "std": [1.0], "neighbour": [None], "spectrum": [1.0] * 8}
METRICS = {"stage": "vae", "step": 1, "loss": 0.5, "seconds": 1}
FILES: dict[str, tuple[str, dict[str, Any], Callable[[Path], int]]] = {
    "results": ("results.jsonl", RESULT, lambda folder: len(list(iter_results(folder)))),
    "diagnostics": (figures.FILE, FIGURES, lambda folder: sum(v["images"] for v in figures.read(folder).values())),
    "metrics": ("metrics.jsonl", METRICS, lambda folder: len(read_metrics(folder))),
}


def other(row: dict[str, Any], number: int) -> dict[str, Any]:
    """A row of another image, batch or step."""
    return {key: value + number if key in ("seed", "batch", "step") else value for key, value in row.items()}


def write(path: Path, *lines: bytes | dict[str, Any], end: bytes = b"\n") -> None:
    rows = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(rows) + end)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("cut", [1, 10, 40, -1])
def test_a_torn_last_line_is_passed_over_and_cut_off_before_others_follow(tmp_path, file, cut) -> None:
    name, row, count = FILES[file]
    torn = json.dumps(other(row, 2)).encode()[:cut]
    write(tmp_path / name, row, other(row, 1), torn, end=b"")
    assert count(tmp_path) == 2
    mend(tmp_path / name)
    with (tmp_path / name).open("a") as file_:
        file_.write(json.dumps(other(row, 3)) + "\n")
    assert count(tmp_path) == 3


@pytest.mark.parametrize(
    "text", [b"", b"{", b"{" * 200_000, b"a\n", b"a\n{b", b"a\n{" + b"b" * 200_000, b"\n", b"a\n\n{"]
)
def test_mending_leaves_the_whole_lines(tmp_path, text) -> None:
    (tmp_path / "a").write_bytes(text)
    mend(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == text[: text.rfind(b"\n") + 1]
    mend(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le"])
def test_of_a_file_of_another_kind_nothing_is_cut_off(tmp_path, coding) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(whole := "".join(json.dumps(other(RESULT, i)) + "\n" for i in range(9)).encode(coding))
    with pytest.raises(StoreError, match=r"line of .* is no JSON object"):
        mend(path)
    assert path.read_bytes() == whole


BAD = {
    "no JSON": b"{oops",
    "a list": b"[]",
    "null": b"null",
    "a text": b'"row"',
    "two in a line": b"{}{}",
    "zeros": b"\0" * 100,
    "not UTF-8": b'{"method": "\xff"}',
    "NaN": b'{"seed": NaN}',
    "deep": b"[" * 100_000,
    "nothing in it": b"{}",
    "torn and followed": b'{"method": "m", "seed{"method": "m"}',
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", BAD)
def test_any_other_bad_line_is_named(tmp_path, file, kind) -> None:
    name, row, count = FILES[file]
    write(tmp_path / name, row, other(row, 1), BAD[kind], other(row, 2))
    with pytest.raises(StoreError, match=f"line 3 of .*{name}") as caught:
        count(tmp_path)
    assert "\n" not in str(caught.value)


OTHER_TYPES = [
    (file, key, value)
    for file, keys in {
        "results": {
            "method": [None, 5],
            "prompt_id": [5, ["a"]],
            "seed": ["1", 1.5, 1.0, True, None],
            "scores": [None, [], {"a": "b"}, {"a": None}, {"a": True}],
            "denoiser_calls": ["20", None, True],
            "sample_seconds": [[]],
            "image": [None, 5],
            "text": [{}, 7],
        },
        "diagnostics": {
            "batch": ["1", 1.0],
            "perturbation": [0.1, [], ["a"], [0.1, 0.2], [[0.1]], None],
            "spectrum": [[1.0] * 7, None, [True] * 8],
            "method": [None],
        },
        "metrics": {"step": ["1", None, 1.5], "loss": ["low", None, [1]], "stage": [1]},
    }.items()
    for key, values in keys.items()
    for value in values
]


@pytest.mark.parametrize(("file", "key", "value"), OTHER_TYPES)
def test_a_field_of_another_type_is_named(tmp_path, file, key, value) -> None:
    name, row, count = FILES[file]
    write(tmp_path / name, row, other(row, 1) | {key: value}, other(row, 2))
    with pytest.raises(StoreError, match=f"line 2 of .*{name}") as caught:
        count(tmp_path)
    assert key in str(caught.value) or "belong together" in str(caught.value)


@pytest.mark.parametrize("file", FILES)
def test_fields_that_are_missing_or_unknown_are_named(tmp_path, file) -> None:
    name, row, count = FILES[file]
    first = next(iter(row))
    for changed in ({key: value for key, value in row.items() if key != first}, row | {"strange": 1}):
        write(tmp_path / name, changed)
        with pytest.raises(StoreError, match=r"line 1.*(lacks|has strange)"):
            count(tmp_path)


def test_a_batch_below_zero_is_refused(tmp_path) -> None:
    name, row, count = FILES["diagnostics"]
    write(tmp_path / name, row | {"batch": -3})
    with pytest.raises(StoreError, match=r"line 1 of .* the batch -3"):
        count(tmp_path)


def test_an_image_told_twice_is_refused_with_both_lines(tmp_path) -> None:
    write(tmp_path / "results.jsonl", RESULT, other(RESULT, 1), RESULT | {"method": "redenoise"}, RESULT)
    with pytest.raises(StoreError, match=r"line 4 .* line 1"):
        list(iter_results(tmp_path))
    with (
        pytest.raises(StoreError, match=r"line 4 .* a line before it"),
        book_of(tmp_path, [[(RESULT["prompt_id"], 1), (RESULT["prompt_id"], 2)]]),
    ):
        pass


def test_a_line_without_an_end_is_not_read_whole(tmp_path) -> None:
    with (tmp_path / "results.jsonl").open("wb") as file:
        file.truncate(LONGEST + 10)  # takes no room
    with pytest.raises(StoreError, match=r"line 1 .* longer than"):
        list(iter_results(tmp_path))


def test_a_folder_in_place_of_the_file_is_named(tmp_path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    for read in (lambda: list(read_lines(tmp_path / "metrics.jsonl", dict, "")), lambda: curve(tmp_path)):
        with pytest.raises(StoreError, match=r"metrics\.jsonl"):
            read()


@pytest.mark.parametrize("leads", ["nowhere", "results.jsonl"])
def test_a_link_that_leads_nowhere_is_no_missing_file(tmp_path, leads) -> None:
    (tmp_path / "results.jsonl").symlink_to(leads)
    with pytest.raises(StoreError, match="leads nowhere" if leads == "nowhere" else "symbolic links"):
        list(iter_results(tmp_path))


def test_no_file_is_no_lines_and_blank_lines_are_none(tmp_path) -> None:
    assert read_metrics(tmp_path) == [] and curve(tmp_path).count("\n") == 1  # the titles
    write(tmp_path / "metrics.jsonl", METRICS, b"", b"  ", other(METRICS, 1))
    assert [record.step for record in read_metrics(tmp_path)] == [1, 2]


def test_figures_that_were_no_numbers_are_read_back(tmp_path) -> None:
    write(tmp_path / figures.FILE, FIGURES)
    found = figures.read(tmp_path)["m"]
    assert found["perturbation"] == pytest.approx([0.1] * 3) and np.isnan(found["neighbour"])
