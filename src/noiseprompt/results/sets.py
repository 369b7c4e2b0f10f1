"""Figures of all images of a method together: distance to reference pictures, precision, recall, and diversity.

    images/METHOD/*.png ──extractor──> features/METHOD.npz ──> {"fid", "precision", "recall", "diversity"}

Features are kept on disk, so that a run that was killed here, or a summary made again, computes none twice.
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import InputError, NoisepromptWarning, ShapeError, StoreError
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.files import public_name
from noiseprompt.core.pictures import batches, find_pictures, read_picture
from noiseprompt.core.places import expanded, is_address
from noiseprompt.core.specs import split_spec
from noiseprompt.core.store import Store
from noiseprompt.core.stores import Folder, store_of
from noiseprompt.core.texts import some
from noiseprompt.results.folder import iter_counted
from noiseprompt.results.lines import NEW, Key
from noiseprompt.results.names import public_spec, slug
from noiseprompt.results.pictures import Pictures
from noiseprompt.results.summary import Reference, SetFigures, Sets
from noiseprompt.shapes.world import is_sentence, reference_scenes

BATCH = 64
"""Images in memory at once."""

REFERENCE_SCENES = 2000
"""About so many scenes of the world are rendered to compare with, the same number for every prompt."""

NEIGHBOURS = 3
"""Of precision and recall, as in the paper that defines them (Kynkaanniemi et al., arXiv:1904.06991)."""


class _Extractor:
    """The feature network, loaded when the first features are really needed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.weights = [_stamp(Path(value)) for _, _, value in split_spec(name)[1] if value]
        """Size and time of the files its options name: new weights in their place make other features."""
        self._features: Any = None

    def __call__(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """uint8 (H, W, 3) each -> float32 (N, D)."""
        if self._features is None:
            from noiseprompt.scorers.sets.extractors import load_features

            self._features = load_features(self.name)
        return np.concatenate([self._features.features(batch) for batch in batches(images, BATCH)])


def _stamp(path: Path) -> list[tuple[int, int]]:
    """(bytes, time of the last change) of a file or of the files in a folder; [] where there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]


def measure(out: Folder, extractor: str, reference: str = "", *, world: bool = False) -> Sets | None:
    """The set metrics of every method with saved images.

    Args:
        out: folder of an evaluation.
        extractor: a name of `scorers/table.py`, with options as in "inception:path=FOLDER".
        reference: a folder of pictures; rendered scenes of the prompts where empty and `world`; else nothing.

    Returns:
        None where no image was saved; fid, precision and recall are None without a reference.

    Raises:
        UnknownNameError: no such extractor.
        InputError: a reference folder without pictures.
    """
    from noiseprompt.scorers.sets.distances import fid, precision_recall

    network, store, pictures = _Extractor(extractor), store_of(out), Pictures(out)
    images, texts = _saved(store, pictures)
    if not images:
        return None
    kept = store.below("features")
    kept.make()
    target, words = _reference(kept, network, reference, texts if world else [])
    figures, diversity = {}, {}
    for label, files in images.items():
        keys = sorted(files)
        of = _of_files(network, [(label, *key, files[key][1]) for key in keys])
        shown = store.each(lambda name: _picture(pictures, name), [files[key][0] for key in keys])
        of_one_size = _of_one_size([files[key][0] for key in keys], shown)
        first = f"{store.where('images')}/{files[keys[0]][0]}"
        found = _cached(kept, f"{slug(label)}.npz", network, of, of_one_size, len(keys), first)
        enough = min(len(target), len(found)) > NEIGHBOURS
        near = precision_recall(found, target, NEIGHBOURS) if enough else (None, None)
        figures[label] = SetFigures(len(keys), fid(found, target) if enough else None, *near)
        diversity[label] = _spread(keys, found)
    return Sets(Reference(public_spec(extractor), words, len(target)), figures, diversity)


def _picture(pictures: Pictures, name: str) -> np.ndarray:
    try:
        return read_picture(pictures.file(name), ("PNG",))
    except InputError as error:
        fix = "restore it, or delete it: distances and diversity are then without it"
        raise StoreError(error.came, "the picture that was drawn", fix) from error


def _of_one_size(names: Sequence[str], pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pictures of a method, as they were drawn.

    Raises:
        StoreError: two of them differ in size.
    """
    first: np.ndarray | None = None
    for name, picture in zip(names, pictures, strict=True):
        first = picture if first is None else first
        if picture.shape != first.shape:
            told = ((names[0], first.shape), (name, picture.shape))
            sizes = [f"{each} has {shape[1]} x {shape[0]}" for each, shape in told]
            raise StoreError(f"{' pixels, '.join(sizes)}", "pictures of one size, as they were drawn", NEW)
        yield picture


def _spread(keys: Sequence[Key], features: np.ndarray) -> dict[str, float]:
    """Mean distance between the images of each prompt; {} where no prompt has two."""
    from noiseprompt.scorers.sets.distances import diversity, group

    grouped = group(features, [prompt_id for prompt_id, _ in keys])
    several = {prompt_id: rows for prompt_id, rows in grouped.items() if len(rows) > 1}
    return diversity(several) if several else {}


def _saved(store: Store, pictures: Pictures) -> tuple[dict[str, dict[Key, tuple[str, int]]], list[str]]:
    """Method -> (prompt id, seed) -> the image and its bytes; and the texts of the prompts, in order."""
    images: dict[str, dict[Key, tuple[str, int]]] = {}
    texts: dict[str, None] = {}
    gone: list[str] = []
    for r in iter_counted(store):
        texts[r.text] = None
        size = pictures.size(r.image) if r.image else None
        if size is not None:
            images.setdefault(r.method, {})[r.prompt_id, r.seed] = (r.image, size)
        elif r.image:
            gone.append(r.image)
    if gone:
        told = f"{some('pictures gone', gone, 1)} from {store.where('images')}"
        warnings.warn(f"{told}: distances and diversity are without them", NoisepromptWarning, stacklevel=2)
    return images, list(texts)


def _of_files(network: _Extractor, keys: Sequence[Any]) -> dict[str, Any]:
    """What features of pictures on disk depend on."""
    return {"extractor": network.name, "weights": network.weights, "keys": [list(map(str, key)) for key in keys]}


def _cached(
    kept: Store,
    name: str,
    network: _Extractor,
    of: dict[str, Any],
    images: Iterable[np.ndarray],
    count: int,
    first: str = "",
) -> np.ndarray:
    """Features from a file where it holds those `of` the same `count` images, else computed and written there.

    Args:
        first: where the first of the images lies.

    Raises:
        StoreError: images of a size that the network does not take.
    """
    mark, file = fingerprint(of), kept.file(name)
    found = _kept(file, mark, count) if file.is_file() else None
    if found is None:
        try:
            found = network(images)
        except ShapeError as error:
            came = f"{first} and those beside it are {error.came}"
            raise StoreError(came, error.expected, "other pictures, or another extractor of features") from error
        kept.put(name, _file(mark, found))
    return found


def _kept(file: AnyFile, mark: str, count: int) -> np.ndarray | None:
    """Features that `_file` holds; None for those of other images, and where the file is not what it says."""
    try:
        with file.open("rb") as opened, zipfile.ZipFile(opened) as archive:
            if sum(part.file_size for part in archive.infolist()) > opened.seek(0, 2):
                return None  # compressed: not written here, and of any size in memory
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as data:
            if str(data["mark"]) != mark:
                return None
            found = data["features"]
            if str(data["sha256"]) != _sha256(found):
                return None
    except Exception:  # zip, zlib and numpy raise many kinds for a damaged file, and features can be made again
        return None
    whole = found.dtype == np.float32 and found.ndim == 2 and len(found) == count and bool(np.isfinite(found).all())
    return found if whole else None


def _file(mark: str, features: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, mark=np.array(mark), sha256=np.array(_sha256(features)), features=features)
    return buffer.getvalue()


def _sha256(features: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(features).tobytes()).hexdigest()


def _reference(kept: Store, network: _Extractor, folder: str, texts: Sequence[str]) -> tuple[np.ndarray, str]:
    """Features of the reference pictures and what they are; none where there is neither a folder nor a world."""
    if folder:
        home = Path(folder) if is_address(folder) else expanded(folder)
        try:
            files = find_pictures(home, below=True)
        except InputError as error:
            fix = "restore it, or call this in the folder that the evaluation was started in"
            raise InputError(f"the reference of this evaluation: {error.came}", error.expected, fix) from error
        keys = [(str(p.relative_to(home)), p.stat().st_size) for p in files]
        of = _of_files(network, keys)
        found = _cached(kept, "of-reference.npz", network, of, map(read_picture, files), len(files), str(files[0]))
        return found, f"the pictures in {public_name(folder)}"
    if not texts or not all(map(is_sentence, texts)):
        return np.zeros((0, 1), np.float32), ""
    each = -(-REFERENCE_SCENES // len(texts))
    of = {"e": network.name, "w": network.weights, "each": each, "texts": texts}
    found = _cached(kept, "of-scenes.npz", network, of, reference_scenes(texts, each), each * len(texts))
    return found, f"rendered scenes, {each} for each of {len(texts)} prompts"
