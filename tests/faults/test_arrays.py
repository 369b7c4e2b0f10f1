"""Arrays on disk that are not what they say: features are made again, embeddings are refused."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.stores import store_of
from noiseprompt.results import sets
from noiseprompt.stages.train.texts import KeptTexts, read_embeds

WHOLE = np.arange(12, dtype=np.float32).reshape(4, 3)
MARK = sets.fingerprint({"a": 1})


class _Runs:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


def npz(path: Path, **arrays: Any) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def compressed(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, mark=np.array(MARK), features=np.zeros((4, 10**6), np.float32))


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def claims(path: Path, shape: tuple[int, ...]) -> None:
    npz(path, mark=np.array(MARK))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("features.npy", header(shape) + WHOLE.tobytes())


FEATURES: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"no archive"),
    "cut": lambda path: (npz(path, mark=np.array(MARK), features=WHOLE), path.write_bytes(path.read_bytes()[:-40])),
    "an array": lambda path: path.write_bytes(header((4, 3)) + WHOLE.tobytes()),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(_Runs())),
    "pickled features": lambda path: npz(path, mark=np.array(MARK), features=np.array([_Runs()], object)),
    "no features": lambda path: npz(path, mark=np.array(MARK)),
    "no mark": lambda path: npz(path, features=WHOLE),
    "another mark": lambda path: npz(path, mark=np.array("0"), features=WHOLE),
    "a mark of numbers": lambda path: npz(path, mark=np.arange(5), features=WHOLE),
    "float64": lambda path: npz(path, mark=np.array(MARK), features=WHOLE.astype(np.float64)),
    "text features": lambda path: npz(path, mark=np.array(MARK), features=WHOLE.astype(str)),
    "too few": lambda path: npz(path, mark=np.array(MARK), features=WHOLE[:3]),
    "too many": lambda path: npz(path, mark=np.array(MARK), features=np.concatenate([WHOLE, WHOLE])),
    "flat": lambda path: npz(path, mark=np.array(MARK), features=WHOLE.ravel()),
    "a number": lambda path: npz(path, mark=np.array(MARK), features=np.float32(1)),
    "NaN": lambda path: npz(path, mark=np.array(MARK), features=np.where(WHOLE == 5, np.nan, WHOLE)),
    "infinite": lambda path: npz(path, mark=np.array(MARK), features=np.where(WHOLE == 5, np.inf, WHOLE)),
    "a bomb": compressed,
    "a claim of terabytes": lambda path: claims(path, (4, 10**12)),
    "a claim that overflows": lambda path: claims(path, (2**62, 2**62)),
    "a negative claim": lambda path: claims(path, (-4, 3)),
}


@pytest.mark.parametrize("kind", FEATURES)
def test_features_that_are_not_what_they_say_are_made_again(tmp_path, kind, capsys) -> None:
    path: Path = tmp_path / "a.npz"
    FEATURES[kind](path)
    network: Any = lambda images: WHOLE + len(list(images))  # noqa: E731
    for _ in range(2):  # the second time from the file
        found = sets._cached(store_of(tmp_path), path.name, network, {"a": 1}, iter([WHOLE]), 4)
        assert found.dtype == np.float32 and (found == WHOLE + 1).all()
        network = None
    assert "executed" not in capsys.readouterr().out


EMBEDS = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
REFUSED: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"no array"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(_Runs())),
    "pickled objects": lambda path: np.save(path, np.array([_Runs()], object), allow_pickle=True),
    "cut": lambda path: (np.save(path, EMBEDS), path.write_bytes(path.read_bytes()[:-2])),
    "a header alone": lambda path: path.write_bytes(header((2, 3, 4), "<f2")),
    "a header that is cut": lambda path: path.write_bytes(header((2, 3, 4), "<f2")[:20]),
    "a header that is no header": lambda path: path.write_bytes(header((2, 3, 4)).replace(b"descr", b"other")),
    "a program for a header": lambda path: path.write_bytes(header((2, 3, 4)).replace(b"(2, 3, 4)", b"print(1) ")),
    "a claim of terabytes": lambda path: path.write_bytes(header((2, 3, 10**12), "<f2") + EMBEDS.tobytes()),
    "a claim that overflows": lambda path: path.write_bytes(header((2**62, 2**62, 4), "<f2") + EMBEDS.tobytes()),
    "several arrays": lambda path: npz(path, a=EMBEDS),
    "float32": lambda path: np.save(path, EMBEDS.astype(np.float32)),
    "whole numbers": lambda path: np.save(path, EMBEDS.astype(np.int16)),
    "flat": lambda path: np.save(path, EMBEDS.reshape(2, 12)),
    "too few": lambda path: np.save(path, EMBEDS[:1]),
    "too many": lambda path: np.save(path, np.concatenate([EMBEDS, EMBEDS])),
    "another width": lambda path: np.save(path, EMBEDS[:, :, :3]),
    "another length": lambda path: np.save(path, EMBEDS[:, :2]),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_embeddings_that_are_not_what_they_say_are_refused(tmp_path, kind, capsys) -> None:
    path: Path = tmp_path / "embeds.npy"
    REFUSED[kind](path)
    with pytest.raises(ConfigError, match=r"embeds\.npy.*delete it|Delete it") as caught:
        read_embeds(path, 2, [3, 4])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    assert "executed" not in capsys.readouterr().out


def test_embeddings_are_read_as_they_are(tmp_path) -> None:
    np.save(tmp_path / "embeds.npy", EMBEDS)
    for shape in ([3, 4], None):  # an older data set does not tell it
        assert (read_embeds(tmp_path / "embeds.npy", 2, shape) == EMBEDS).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_stop_a_training(value) -> None:
    embeds = EMBEDS.copy()
    found = KeptTexts(embeds).read(np.array([1, 0]))
    assert torch.equal(found["prompt_embeds"], torch.from_numpy(EMBEDS[::-1].copy()))
    embeds[1, 2, 3] = value
    texts = KeptTexts(embeds)
    texts.read(np.array([0]))
    for _ in range(2):
        with pytest.raises(InputError, match=r"not finite.*embeds\.npy"):
            texts.read(np.array([0, 1]))
