"""The exact checker: which objects an image shows, and whether they are what a prompt asks for.

Numpy and scipy only, no learned parts. Steps: the ground is the median colour; every pixel is un-mixed as
ground * (1 - m) + colour * m, which keeps blurred and anti-aliased edges on the hue of their object; pixels with
m > 1/2 form components of one colour; the form of a component is the rendered template of equal area and centroid that
covers its soft mask best. What fits no colour or no form is junk, and junk makes a picture wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from scipy import ndimage

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.shapes import scenes
from noiseprompt.shapes.scenes import COLOURS, RELATIONS, SHAPES, Request

SIZE_THRESHOLD = 10.9
"""Radius in pixels between "small" and "large"."""

RELATION_MARGIN = 2.0
"""Pixels by which centres must differ along a relation."""

MIN_OVERLAP = 0.75
"""Least soft overlap (intersection over union) with a template for a form to count as recognised."""

ROUNDING = 1.4
"""Blur in pixels that makes the rounded templates: autoencoders round the corners of small stars and crosses."""

MIN_AREA = 14
MAX_HUE_ERROR = 0.30
_NAMES = tuple(COLOURS)
_PALETTE = np.array(list(COLOURS.values()), np.float32)
_CROSS = ndimage.generate_binary_structure(2, 1)
_BLOCK = ndimage.generate_binary_structure(2, 2)


@dataclass(frozen=True)
class Found:
    """One object seen in an image.

    Fields:
        colour: a name of `COLOURS`, or "" for a colour that is none of them.
        shape: a name of `SHAPES`, or "" for an unrecognisable form.
        x, y: centre in pixels, y downwards.
        radius: half extent in pixels.
        area: soft area in square pixels.
        confidence: overlap with the best template, in [0, 1].
    """

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    area: float
    confidence: float

    @property
    def junk(self) -> bool:
        """Whether this is no object of the world."""
        return not (self.colour and self.shape)


@dataclass(frozen=True)
class CheckResult:
    """Whether an image shows what a prompt asks for.

    Fields:
        correct: exactly the requested objects, relation and size, and nothing else.
        score: graded, in [0, 1]; 1.0 exactly where correct.
        found: the objects seen, largest first.
        reason: "" where correct, else what is wrong.
    """

    correct: bool
    score: float
    found: tuple[Found, ...]
    reason: str


# --------------------------------------------------------------------------------------------------- seeing objects


@held
def find_objects(image: np.ndarray) -> tuple[Found, ...]:
    """The objects of an image, largest first; unrecognisable blobs have an empty colour or shape.

    Args:
        image: (H, W, 3), uint8 in [0, 255] or float in [0, 1]; of any size, since sizes of objects are in pixels.

    Raises:
        ShapeError: no one image.
        InputError: values that are not finite.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ShapeError(f"an image of shape {tuple(image.shape)}", "(H, W, 3)", "check images one at a time")
    if not np.isfinite(image).all():
        raise InputError("an image that is not finite", "floats in [0, 1], or uint8")
    pixels = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32)
    ground = np.median(pixels.reshape(-1, 3), axis=0)
    difference = pixels - ground
    share, hue = _unmix(difference, ground)
    seeds = _segment(share > 0.5, hue)
    found = []
    if seeds.any():
        far, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)  # type: ignore[misc]
        owner = np.where(far <= 2.5, seeds[tuple(nearest)], 0)
        for index in range(1, int(seeds.max()) + 1):
            found.append(_describe(difference, ground, seeds == index, owner == index))
        leftover = (share > 0.3) & (far > 3.5)
    else:
        leftover = share > 0.3
    found += _ghosts(leftover)
    return tuple(sorted(found, key=lambda item: -item.area))


def _unmix(difference: np.ndarray, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of object in each pixel (0 = ground, 1 = full colour) and the index of the colour that explains it best."""
    direction = _PALETTE - ground  # (K, 3)
    flat, size = difference.reshape(-1, 3), difference.shape[:2]
    shares = np.clip(flat @ direction.T / (direction**2).sum(1), 0, 1.2)  # (pixels, K)
    residual = (flat**2).sum(1, keepdims=True) - 2 * shares * (flat @ direction.T) + shares**2 * (direction**2).sum(1)
    hue = residual.argmin(1)
    return np.take_along_axis(shares, hue[:, None], 1).reshape(size), hue.reshape(size)


def _segment(mask: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Components of one colour, 1, 2, ...; rims of false hue and specks are 0."""
    seeds = np.zeros(mask.shape, np.int32)
    count = 0
    for colour in np.unique(hue[mask]):
        labels, n = ndimage.label(mask & (hue == colour), _CROSS)  # type: ignore[misc]
        core = _erode(labels > 0)
        areas = np.bincount(labels.ravel(), minlength=n + 1)
        cores = np.bincount(labels[core], minlength=n + 1)
        for label in range(1, n + 1):
            if areas[label] >= MIN_AREA and cores[label] >= 4:
                count += 1
                seeds[labels == label] = count
    return seeds


def _erode(mask: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.binary_erosion(mask, _CROSS), bool)


def _ghosts(leftover: np.ndarray) -> list[Found]:
    """Faint blobs away from every object, as junk."""
    labels, n = ndimage.label(leftover, _BLOCK)  # type: ignore[misc]
    ghosts = []
    for index in range(1, n + 1):
        rows, columns = np.nonzero(labels == index)
        if len(rows) >= MIN_AREA:
            x, y, area = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5, float(len(rows))
            ghosts.append(Found("", "", x, y, (area / np.pi) ** 0.5, area, 0.0))
    return ghosts


def _describe(difference: np.ndarray, ground: np.ndarray, seed: np.ndarray, owned: np.ndarray) -> Found:
    core = _erode(seed)
    colour = np.median(difference[core], axis=0)
    name = _name_colour(colour, ground)
    top, left = (int(v) for v in np.argwhere(owned).min(0))
    bottom, right = (int(v) + 1 for v in np.argwhere(owned).max(0))
    window = (slice(top, bottom), slice(left, right))
    soft = np.clip(difference[window] @ colour / (colour @ colour), 0, 1) * owned[window]
    soft[soft < 0.1] = 0
    shape, x, y, radius, overlap = _fit(soft, left, top)
    recognised = shape if overlap >= MIN_OVERLAP else ""
    return Found(name, recognised, x, y, radius, float(soft.sum()), overlap)


def _name_colour(colour: np.ndarray, ground: np.ndarray) -> str:
    """The palette colour nearest in direction, "" where it is too far or too faint; `colour` is minus the ground."""
    direction = _PALETTE - ground
    length = np.linalg.norm(direction, axis=1)
    shares = direction @ colour / length**2
    errors = np.linalg.norm(colour - np.clip(shares, 0, 1.2)[:, None] * direction, axis=1) / length
    best = int(errors.argmin())
    return _NAMES[best] if errors[best] <= MAX_HUE_ERROR and shares[best] > 0.6 else ""


@cache
def _moments() -> dict[str, tuple[float, float]]:
    """Shape -> (area, height of the centroid) at radius 1, measured on a large rendering."""
    moments = {}
    for shape in SHAPES:
        mask = scenes.coverage(scenes.Object("white", shape, 128.0, 128.0, 100.0), (256, 256))
        height = float((mask.sum(1) * (np.arange(256) + 0.5)).sum() / mask.sum() - 128) / 100
        moments[shape] = (float(mask.sum()) / 100**2, height)
    return moments


def _fit(soft: np.ndarray, left: int, top: int) -> tuple[str, float, float, float, float]:
    """Best (shape, x, y, radius, overlap) for a soft mask whose corner lies at pixel (left, top)."""
    columns = np.arange(left, left + soft.shape[1], dtype=np.float32) + 0.5
    rows = np.arange(top, top + soft.shape[0], dtype=np.float32) + 0.5
    area = float(soft.sum())
    x, y = float((soft.sum(0) * columns).sum() / area), float((soft.sum(1) * rows).sum() / area)
    starts = []
    for shape, (unit_area, height) in _moments().items():
        radius = (area / unit_area) ** 0.5
        guess = np.array([[x, y - height * radius, radius]], np.float32)
        starts.append((float(_overlaps(soft, columns, rows, shape, guess)[0]), shape, guess[0]))
    starts.sort(key=lambda start: -start[0])
    best = None
    for _, shape, guess in starts[:2]:
        steps = guess + _STEPS * np.array([1, 1, guess[2] / 20], np.float32)
        overlaps = _overlaps(soft, columns, rows, shape, steps)
        index = int(overlaps.argmax())
        if best is None or overlaps[index] > best[4]:
            best = (shape, *(float(v) for v in steps[index]), float(overlaps[index]))
    return best  # type: ignore[return-value]


_STEPS = np.array(
    [(0, 0, 0), (0, 0, 1), (0, 0, -1), (0.5, 0, 0), (-0.5, 0, 0), (0, 0.5, 0), (0, -0.5, 0), (0, 0.5, 1), (0, -0.5, 1)],
    np.float32,
)


def _overlaps(soft: np.ndarray, columns: np.ndarray, rows: np.ndarray, shape: str, guesses: np.ndarray) -> np.ndarray:
    """Soft intersection over union with templates (x, y, radius), with crisp corners or with rounded ones if better."""
    x = columns[None, None, :] - guesses[:, 0, None, None]
    y = rows[None, :, None] - guesses[:, 1, None, None]
    x, y = np.broadcast_arrays(x, y)
    crisp = np.clip(0.5 - scenes.distance(shape, x, y, guesses[:, 2, None, None]) / 1.6, 0, 1)
    blurred = ndimage.gaussian_filter(crisp, (0, ROUNDING, ROUNDING), mode="constant", truncate=2.5)
    rounded = np.clip(0.5 + 1.6 * (blurred - 0.5), 0, 1)
    return np.maximum(_overlap(crisp, soft), _overlap(rounded, soft))


def _overlap(templates: np.ndarray, soft: np.ndarray) -> np.ndarray:
    both = np.minimum(templates, soft).sum((1, 2))
    return both / (templates.sum((1, 2)) + soft.sum() - both)


# ---------------------------------------------------------------------------------------------------------- judging


@held
def check(image: np.ndarray, request: Request) -> CheckResult:
    """Whether `image` (H, W, 3) shows exactly what `request` asks for, with a graded score.

    The score is the share of requested colours and forms seen, best assignment; a relation or size has a weight of 0.3;
    every object too many, junk included, costs a fifth of the rest.

    Raises:
        ShapeError: no one image.
    """
    found = find_objects(image)
    wanted = request.things * request.count if request.kind == "count" else request.things
    seen = found[:5]
    slots = [*seen, *[None] * len(wanted)]
    graded = max(_grade(request, wanted, chosen) for chosen in permutations(slots, len(wanted)))
    extra = max(len(found) - len(wanted), 0)
    junk = sum(item.junk for item in found)
    correct = graded == 1.0 and len(found) == len(wanted)
    if correct:
        return CheckResult(True, 1.0, found, "")
    score = min(graded, 0.99) * 0.8 ** min(extra, 4)
    return CheckResult(False, float(score), found, _reason(request, wanted, found, junk))


def _grade(request: Request, wanted: tuple[tuple[str, str], ...], chosen: tuple[Found | None, ...]) -> float:
    points = 0
    for (colour, shape), item in zip(wanted, chosen, strict=True):
        points += 0 if item is None else (item.colour == colour) + (item.shape == shape)
    base = points / (2 * len(wanted))
    if request.kind == "relation":
        return (7 * base + 3 * _related(request.relation, chosen)) / 10
    if request.kind == "size":
        item = chosen[0]
        fits = item is not None and (item.radius < SIZE_THRESHOLD) == (request.size == "small")
        return (7 * base + 3 * fits) / 10
    return base


def _related(relation: str, chosen: tuple[Found | None, ...]) -> bool:
    a, b = chosen
    if a is None or b is None:
        return False
    first, second = (scenes.Object(item.colour, item.shape, item.x, item.y, item.radius) for item in (a, b))
    return scenes.holds(relation, first, second, RELATION_MARGIN)


def _reason(request: Request, wanted: tuple[tuple[str, str], ...], found: tuple[Found, ...], junk: int) -> str:
    if junk:
        return f"{junk} unrecognisable of {len(found)} objects"
    names = sorted(f"{item.colour} {item.shape}" for item in found)
    asked = sorted(f"{colour} {shape}" for colour, shape in wanted)
    if names != asked:
        return f"shows {', '.join(names) or 'nothing'} instead of {', '.join(asked)}"
    detail = request.relation if request.relation in RELATIONS else request.size
    return f"not {detail}"
