"""Figures of sets of images, from their features: Frechet distance, precision and recall, diversity.

Everything is float64 and repeatable. Features are float32 (N, D), an array or a `FeatureStore`; distances are computed
a few thousand rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from noiseprompt.core.arguments import held
from noiseprompt.core.arrays import plain_numbers
from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.core.ranges import COUNT, SUMMABLE, check_value, kind_of

ROWS = 1024
"""Rows of each set in a block of distances: 8 MB."""


class FeatureStore:
    """Features that arrive batch by batch: their rows, mean and covariance.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        check_value("width", int, width, COUNT)
        self.width, self.count = width, 0
        self._mean = np.zeros(width)
        self._scatter = np.zeros((width, width))
        self._parts: list[np.ndarray] = []

    def add(self, features: np.ndarray) -> None:
        """Take in a batch (n, D), any n.

        Raises:
            ShapeError: of another width.
            InputError: no array of finite numbers.
        """
        if not isinstance(features, np.ndarray) or features.dtype.kind not in "fiu":
            raise InputError(f"features: {_kind(features)}", "a numpy array of numbers (n, D)")
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ShapeError(f"features of shape {tuple(features.shape)}", f"(n, {self.width})")
        _check_sizes(features)
        rows = np.ascontiguousarray(features, "<f4")
        self._parts.append(rows.copy())
        self._count(rows)

    def _count(self, rows: np.ndarray) -> None:
        """Chan's update of mean and scatter: no loss of digits where the mean is large."""
        if not len(rows):
            return
        exact = rows.astype(np.float64)
        total, mean = self.count + len(exact), exact.mean(0)
        away, apart = exact - mean, mean - self._mean
        self._scatter += away.T @ away + np.outer(apart, apart) * (self.count * len(exact) / total)
        self._mean = self._mean + apart * (len(exact) / total)
        self.count = total

    def __len__(self) -> int:
        return self.count

    @property
    def mean(self) -> np.ndarray:
        """(D,) float64."""
        return self._mean

    @property
    def covariance(self) -> np.ndarray:
        """(D, D) float64, unbiased.

        Raises:
            InputError: fewer than two rows.
        """
        if self.count < 2:
            raise InputError(f"{self.count} images", "at least 2 for a covariance")
        return self._scatter / (self.count - 1)

    def rows(self) -> np.ndarray:
        """(N, D) float32."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else np.zeros((0, self.width), np.float32)


Features = np.ndarray | FeatureStore
"""(N, D)."""


class PrecisionRecall(NamedTuple):
    """Fields: precision, recall: in [0, 1]."""

    precision: float
    recall: float


@held
def fid(images: Features, reference: Features) -> float:
    """Squared Frechet distance of two sets (Heusel et al., arXiv:1706.08500); 0 for equal means and covariances.

    It falls with the number of images, so compare sets of one size only; below D + 1 images a covariance is singular.

    Raises:
        InputError: fewer than two images, or features that are not finite.
        ShapeError: of different widths.
    """
    first, second = _store(images), _store(reference)
    if first.width != second.width:
        raise ShapeError(f"features of widths {first.width} and {second.width}", "one extractor for both sets")
    return frechet_distance(first.mean, first.covariance, second.mean, second.covariance)


@held
def precision_recall(images: Features, reference: Features, k: int = 3) -> PrecisionRecall:
    """Share of images that lie near the reference, and share of the reference that lies near the images.

    Near: no farther from one of its points than that point's k-th nearest neighbour in its own set (Kynkaanniemi et
    al., arXiv:1904.06991, eqs. 1-3).

    Raises:
        InputError: k below 1, or a set with k images or fewer.
        ShapeError: of different widths.
    """
    mine, theirs = _rows(images), _rows(reference)
    if mine.shape[1] != theirs.shape[1]:
        raise ShapeError(f"features of widths {mine.shape[1]} and {theirs.shape[1]}", "one extractor for both sets")
    if k < 1 or min(len(mine), len(theirs)) <= k:
        raise InputError(f"k = {k} with {len(mine)} images and {len(theirs)} of reference", "k >= 1 and more images")
    for rows in (mine, theirs):
        _check_sizes(rows)
    return PrecisionRecall(_share_near(mine, theirs, k), _share_near(theirs, mine, k))


def _share_near(points: np.ndarray, around: np.ndarray, k: int) -> float:
    radius = np.concatenate([_neighbour(block, start, around, k) for start, block in _blocks(around)])
    near = 0
    for _, block in _blocks(points):
        hit = np.zeros(len(block), bool)
        for start, other in _blocks(around):
            hit |= (squared_distances(block, other) <= radius[start : start + len(other)]).any(1)
        near += int(hit.sum())
    return near / len(points)


def _neighbour(block: np.ndarray, start: int, points: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each row of a block of `points` to its k-th nearest other point."""
    nearest = np.full((len(block), k), np.inf)
    for begin, other in _blocks(points):
        distances = squared_distances(block, other)
        own = np.arange(len(block)) + start - begin
        inside = (own >= 0) & (own < len(other))
        distances[np.flatnonzero(inside), own[inside]] = np.inf
        nearest = np.partition(np.concatenate([nearest, distances], 1), k - 1, 1)[:, :k]
    return nearest.max(1)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, D), (m, D) -> (n, m) float64, never negative."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    centre = second.mean(0)  # distances stay, and far from the origin no digits are lost
    first, second = first - centre, second - centre
    lengths = (first**2).sum(1)[:, None] + (second**2).sum(1)
    squares = lengths - 2 * first @ second.T
    return np.where(squares < 1e-12 * lengths, 0, squares)  # equal points are at 0, not at a rounding error


@held
def group(features: np.ndarray, prompts: Sequence[str]) -> dict[str, np.ndarray]:
    """Features (N, D) by prompt, in the order in which prompts first occur.

    Raises:
        ShapeError: not one prompt a row.
    """
    if len(features) != len(prompts):
        raise ShapeError(f"{len(features)} rows of features with {len(prompts)} prompts", "one prompt a row")
    rows: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows.setdefault(prompt, []).append(row)
    return {prompt: features[numbers] for prompt, numbers in rows.items()}


def diversity(grouped: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How far apart the images of each prompt lie: the mean Euclidean distance between two of them; see `group`.

    Args:
        grouped: prompt -> features (seeds, D); prompts with a single image do not count.

    Returns:
        prompt -> distance in the units of the features; 0 where all its images are the same.

    Raises:
        InputError: no prompt with two images, or features that are no finite numbers.
        ShapeError: features of another shape.
    """
    check_value("grouped", Mapping[str, np.ndarray], grouped)
    found = {}
    for prompt, rows in grouped.items():
        _check_sizes(_rows(rows), f"features of {prompt!r:.60}")
        if len(rows) > 1:
            upper = np.triu_indices(len(rows), 1)
            exact = rows.astype(np.float64)
            found[prompt] = float(np.linalg.norm(exact[upper[0]] - exact[upper[1]], axis=1).mean())
    if not found:
        raise InputError("no prompt with two images", "several seeds of a prompt", "draw more seeds of each prompt")
    return found


def _store(features: Features) -> FeatureStore:
    if isinstance(features, FeatureStore):
        return features
    rows = _rows(features)
    store = FeatureStore(rows.shape[1])
    for _, block in _blocks(rows):
        _check_sizes(block)
        store._count(block)
    return store


def _check_sizes(rows: np.ndarray, label: str = "features") -> None:
    """Refuse features that no sum of squares holds."""
    if not np.isfinite(rows).all():
        raise InputError(f"{label} that are not finite", "finite numbers")
    if (np.abs(rows) > SUMMABLE).any():
        raise InputError(f"{label} up to {np.abs(rows).max():g}", f"numbers from {-SUMMABLE:g} to {SUMMABLE:g}")


def _rows(features: Features) -> np.ndarray:
    rows = features.rows() if isinstance(features, FeatureStore) else features
    if rows.dtype.kind not in "fiu":
        raise InputError(f"features: {_kind(rows)}", "a numpy array of numbers (N, D)")
    if rows.ndim != 2 or not rows.shape[1]:
        raise ShapeError(f"features of shape {tuple(rows.shape)}", "(N, D)")
    return rows


def _kind(features: Any) -> str:
    return str(features.dtype) if isinstance(features, np.ndarray) else kind_of(features)


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(rows), ROWS):
        yield start, rows[start : start + ROWS]


def frechet_distance(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> float:
    """Squared Frechet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), in float64.

    The root's trace is that of the symmetric (C1^(1/2) C2 C1^(1/2))^(1/2): no complex numbers, and singular covariances
    are fine.

    Args:
        mean1, mean2: (D,).
        cov1, cov2: (D, D), symmetric and positive semidefinite.

    Raises:
        InputError: shapes that do not match, no finite numbers, or a covariance that is not symmetric.
    """
    m1, m2 = (_plain(mean, "a mean").reshape(-1) for mean in (mean1, mean2))
    c1, c2 = (np.atleast_2d(_plain(c, "a covariance")) for c in (cov1, cov2))
    if m1.shape != m2.shape or c1.shape != c2.shape or c1.shape != (len(m1), len(m1)):
        raise InputError(
            f"means {m1.shape}, {m2.shape} and covariances {c1.shape}, {c2.shape}", "(D,), (D,), (D, D) and (D, D)"
        )
    if not (np.isfinite(m1).all() and np.isfinite(m2).all()):
        raise InputError("a mean that is not finite", "finite numbers")
    if not (np.isfinite(c1).all() and np.isfinite(c2).all()):
        raise InputError("a covariance that is not finite", "finite numbers", "use more than one sample")
    if not all(np.allclose(c, c.T, rtol=1e-4, atol=1e-6 * np.abs(c).max()) for c in (c1, c2)):
        raise InputError("a covariance that is not symmetric", "C[i, j] = C[j, i]")
    root = _root(c1)
    eigenvalues = np.linalg.eigvalsh(root @ c2 @ root)
    trace = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    return max(0.0, float(((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * trace))


def _plain(values: ArrayLike, what: str) -> np.ndarray:
    """float64."""
    try:
        return plain_numbers(values)
    except TypeError as error:
        raise InputError(f"{what}: {error}", "an array of numbers") from error


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
