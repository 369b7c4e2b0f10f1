"""Near misses and broken pictures: what the preference scorer learns to dislike.

Pictures are float32 (64, 64, 3) in [0, 1]. No colour-shape combination of `scenes.HELD_OUT` is ever drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from noiseprompt.shapes import captions, scenes
from noiseprompt.shapes.scenes import SIZE, TRAINED, Object, Request, Scene

EDITS = ("missing", "extra", "recoloured", "reshaped", "malformed", "two-coloured")
DAMAGES = ("blurred", "erased", "blended", "patched", "stained")
TEXT_MOVES = ("thing", "swap", "relation", "count", "size", "drop")
TYPES = (*TEXT_MOVES, *(f"text-{move}" for move in TEXT_MOVES), *EDITS, *DAMAGES, "unrelated", "text-unrelated")
"""Names of the negatives that `pair` makes: other pictures under one text, or ("text-") other texts to one picture."""


@dataclass(frozen=True)
class Ladder:
    """Pictures: true, near miss, spoiled once, spoiled twice. Texts: true of picture 0, of picture 1, unrelated."""

    pictures: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    texts: tuple[str, str, str]


@dataclass(frozen=True)
class Pair:
    """A (picture, text) that is to score higher than another."""

    good: np.ndarray
    good_text: str
    bad: np.ndarray
    bad_text: str


def ladder(rng: np.random.Generator, request: Request) -> Ladder:
    """Pictures and texts for one request of the training split."""
    near = _near_miss(rng, request)
    right = scenes.random_scene(rng, request)
    once = spoil(rng, right)
    drawn = (right, scenes.random_scene(rng, near), once, spoil(rng, once))
    first, second, third, fourth = (scenes.render(scene) for scene in drawn)
    return Ladder((first, second, third, fourth), (request.text, near.text, scenes.random_request(rng).text))


def _near_miss(rng: np.random.Generator, request: Request) -> Request:
    """An altered request that a right picture of `request` does not satisfy; often with the colours exchanged."""
    if len(request.things) == 2 and rng.random() < 0.4:
        near = captions._change(rng, request, "swap")
        if near is not None and scenes.split_of(near) == "train":
            return near
    while True:
        near = captions.alter(rng, request)
        if (request.kind, near.kind) != ("size", "single"):
            return near


def spoil(rng: np.random.Generator, scene: Scene, edit: str = "") -> Scene:
    """One thing made wrong: an object missing, added, recoloured, reshaped, malformed or of two colours."""
    edit = edit or str(rng.choice(EDITS))
    objects = list(scene.objects)
    if not objects or edit == "extra":
        return replace(scene, objects=(*objects, _another(rng, objects)))
    index = int(rng.integers(len(objects)))
    item = objects[index]
    if edit == "missing":
        objects.pop(index)
    elif edit == "recoloured":
        others = [c for c, s in TRAINED if s == item.shape and c != item.colour]
        objects[index] = replace(item, colour=str(rng.choice(others)))
    elif edit == "reshaped":
        objects[index] = replace(item, shape=_other_shape(rng, item))
    else:
        x, y = np.array([item.x, item.y]) + rng.uniform(-0.5, 0.5, 2) * item.radius
        if edit == "malformed":
            part = replace(item, shape=_other_shape(rng, item), x=float(x), y=float(y))
        else:
            colour = str(rng.choice([c for c in scenes.COLOURS if c != item.colour]))
            part = Object(colour, "circle", float(x), float(y), item.radius * float(rng.uniform(0.4, 0.7)))
        objects.insert(index + 1, part)
    return replace(scene, objects=tuple(objects))


def _other_shape(rng: np.random.Generator, item: Object) -> str:
    return str(rng.choice([s for c, s in TRAINED if c == item.colour and s != item.shape]))


def _another(rng: np.random.Generator, objects: list[Object]) -> Object:
    """A random object beside the others, or over them where there is no room."""
    for _ in range(20):
        if objects and rng.random() < 0.5:  # often a copy of one that is there
            colour, shape = objects[0].colour, objects[0].shape
        else:
            colour, shape = TRAINED[rng.integers(len(TRAINED))]
        radius = float(rng.uniform(6.0, 12.5))
        x, y = (float(v) for v in rng.uniform(radius + 1, SIZE - radius - 1, 2))
        extra = Object(colour, shape, x, y, radius)
        if all(max(abs(x - o.x), abs(y - o.y)) > radius + o.radius + 1 for o in objects):
            return extra
    return extra  # type: ignore[possibly-undefined]


def damage(rng: np.random.Generator, picture: np.ndarray, other: np.ndarray, kind: str = "") -> np.ndarray:
    """A picture broken in one way: blurred, partly erased, blended with another, patched from it or stained."""
    kind = kind or str(rng.choice(DAMAGES))
    if kind == "blurred":
        from scipy.ndimage import gaussian_filter

        sigma = float(rng.uniform(1.8, 3.5))
        return gaussian_filter(picture, (sigma, sigma, 0))
    if kind == "blended":
        share = np.float32(rng.uniform(0.3, 0.6))
        return (1 - share) * picture + share * other
    ground = np.median(picture.reshape(-1, 3), axis=0)
    rows, columns = np.nonzero(np.abs(picture - ground).max(-1) > 0.2)
    index = int(rng.integers(len(rows))) if len(rows) else 0
    y, x = (int(rows[index]), int(columns[index])) if len(rows) else (SIZE // 2, SIZE // 2)
    half = int(rng.integers(5, 10))
    window = (slice(max(y - half, 0), y + half), slice(max(x - half, 0), x + half))
    broken = picture.copy()
    if kind == "erased":
        broken[window] = ground
    elif kind == "patched":
        broken[window] = np.roll(other, (int(rng.integers(SIZE)), int(rng.integers(SIZE))), (0, 1))[window]
    else:
        coarse = rng.normal(0, 0.22, (16, 16, 3)).astype(np.float32)
        broken = np.clip(picture + np.kron(coarse, np.ones((4, 4, 1), np.float32)), 0, 1)
    return broken


def pair(rng: np.random.Generator, name: str, split: str = "validation") -> Pair:
    """A pair with the negative `name` of `TYPES`, for a request of `split`."""
    move = name.removeprefix("text-")
    kind = {"swap": "pair", "relation": "relation", "count": "count", "size": "size", "drop": "pair"}.get(move, "")
    while True:
        request = scenes.random_request(rng, kind, split)
        near = captions._change(rng, request, move) if move in TEXT_MOVES else scenes.random_request(rng, "", split)
        if near is not None and near != request and not set(near.things) & scenes.HELD_OUT:
            break
    scene = scenes.random_scene(rng, request)
    good = scenes.render(scene)
    if name.startswith("text-"):
        return Pair(good, request.text, good, near.text)
    if name in EDITS:
        bad = scenes.render(spoil(rng, scene, name))
    elif name in DAMAGES:
        bad = damage(rng, good, scenes.render(scenes.random_scene(rng, scenes.random_request(rng))), name)
    else:
        bad = scenes.render(scenes.random_scene(rng, near))
    return Pair(good, request.text, bad, request.text)
