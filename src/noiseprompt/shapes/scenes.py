"""Scenes of coloured shapes: vocabulary, grammar and renderer of the embedded world.

A scene is one to three objects on a dark grey ground, 64 x 64 pixels or larger: there is then more ground, and objects
are no larger. Prompts come in five kinds (`KINDS`).
Everything is drawn from a `numpy.random.Generator`; nothing here needs torch.

Representations:
    Object      colour and shape by name, centre x, y and radius in pixels (y grows downwards)
    Scene       objects + ground grey level in [0, 1]
    Request     what a prompt asks for: kind, object descriptions, relation
    image       float32 (N, H, W, 3) in [0, 1], 64 x 64 unless another size is asked
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from noiseprompt.core.ranges import PIXELS, Limits, check_value

SIZE = 64
"""Edge of an image in pixels, unless another size is asked; the least of any."""

SQUARE = (SIZE, SIZE)
"""(height, width) of an image, unless another is asked."""

_SIDES = Limits(least=SIZE, most=PIXELS.most)

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.12, 0.14),
    "orange": (0.98, 0.55, 0.08),
    "yellow": (0.97, 0.90, 0.20),
    "green": (0.12, 0.65, 0.22),
    "cyan": (0.25, 0.85, 0.90),
    "blue": (0.15, 0.28, 0.90),
    "purple": (0.58, 0.18, 0.78),
    "white": (0.96, 0.96, 0.96),
}
"""Name -> RGB in [0, 1]."""

SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")
SIZES = {"small": (6.5, 8.0), "large": (14.0, 17.0)}
"""Size word -> range of the radius in pixels; other objects draw theirs from `PLAIN_RADIUS`."""

PLAIN_RADIUS = (8.5, 12.5)
RELATIONS = ("left of", "right of", "above", "below")
COUNTS = {"two": 2, "three": 3}
KINDS = ("single", "pair", "relation", "count", "size")

HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("red", "star"),
        ("orange", "cross"),
        ("yellow", "ring"),
        ("green", "triangle"),
        ("cyan", "square"),
        ("blue", "circle"),
    }
)
"""Colour-shape combinations that never occur in training or validation, neither in prompts nor in pictures."""

TRAINED: tuple[tuple[str, str], ...] = tuple(p for p in product(COLOURS, SHAPES) if p not in HELD_OUT)


@dataclass(frozen=True)
class Object:
    """One coloured shape; `x`, `y`, `radius` in pixels."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """One to three objects on a grey ground (`ground` in [0, 1])."""

    objects: tuple[Object, ...]
    ground: float


@dataclass(frozen=True)
class Request:
    """What a prompt asks for.

    Fields:
        kind: one of `KINDS`.
        things: (colour, shape) of each described object, in the order of the sentence.
        relation: for kind "relation", one of `RELATIONS`: things[0] is `relation` things[1].
        count: for kind "count", how many of things[0].
        size: for kind "size", one of `SIZES`, of things[0].
    """

    kind: str
    things: tuple[tuple[str, str], ...]
    relation: str = ""
    count: int = 1
    size: str = ""

    @property
    def text(self) -> str:
        """The prompt, e.g. "a red circle above a blue square"."""
        noun = [f"{colour} {shape}" for colour, shape in self.things]
        if self.kind == "pair":
            return f"a {noun[0]} and a {noun[1]}"
        if self.kind == "relation":
            return f"a {noun[0]} {self.relation} a {noun[1]}"
        if self.kind == "count":
            word = next(word for word, n in COUNTS.items() if n == self.count)
            return f"{word} {plural(noun[0])}"
        if self.kind == "size":
            return f"a {self.size} {noun[0]}"
        return f"a {noun[0]}"


def plural(noun: str) -> str:
    """English plural of a shape's name ("cross" -> "crosses")."""
    return noun + ("es" if noun.endswith("s") else "s")


def vocabulary() -> tuple[str, ...]:
    """Every word a prompt can hold, sorted."""
    words = {"a", "and"} | set(COLOURS) | set(SHAPES) | {plural(s) for s in SHAPES} | set(SIZES) | set(COUNTS)
    for relation in RELATIONS:
        words |= set(relation.split())
    return tuple(sorted(words))


def parse(text: str) -> Request:
    """The request a prompt of this grammar asks for (the inverse of `Request.text`).

    Raises:
        ValueError: the text is not a sentence of the grammar.
        ConfigError: it is no text.
    """
    if not isinstance(text, str):
        check_value("text", str, text)
    words = text.lower().split()
    singular = {**{plural(s): s for s in SHAPES}, **{s: s for s in SHAPES}}
    if len(words) == 3 and words[0] in COUNTS and words[1] in COLOURS and words[2] in singular:
        return Request("count", ((words[1], singular[words[2]]),), count=COUNTS[words[0]])
    if len(words) == 4 and words[0] == "a" and words[1] in SIZES and _is_thing(words[2:]):
        return Request("size", ((words[2], words[3]),), size=words[1])
    if len(words) == 3 and words[0] == "a" and _is_thing(words[1:]):
        return Request("single", ((words[1], words[2]),))
    middle = " ".join(words[3:-3])
    if len(words) >= 7 and words[0] == "a" and words[-3] == "a" and _is_thing(words[1:3]) and _is_thing(words[-2:]):
        things = ((words[1], words[2]), (words[-2], words[-1]))
        if middle == "and":
            return Request("pair", things)
        if middle in RELATIONS:
            return Request("relation", things, relation=middle)
    raise ValueError(f"not a sentence of the shapes world: {text!r}")


def _is_thing(words: Sequence[str]) -> bool:
    return len(words) == 2 and words[0] in COLOURS and words[1] in SHAPES


# ------------------------------------------------------------------------------------------------ drawing at random


def split_of(request: Request) -> str:
    """ "train", "validation" or "test": a hash of the text decides; every request with a `HELD_OUT` thing is "test"."""
    if any(thing in HELD_OUT for thing in request.things):
        return "test"
    percent = int(hashlib.sha256(request.text.encode()).hexdigest(), 16) % 100
    train, validation = (80, 85) if request.kind in ("pair", "relation") else (70, 80)
    return "train" if percent < train else "validation" if percent < validation else "test"


def random_request(rng: np.random.Generator, kind: str = "", split: str = "train") -> Request:
    """A request of a split; two described things never share colour and shape."""
    kind = kind or str(rng.choice(KINDS))
    pairs = TRAINED if split != "test" else (*TRAINED, *sorted(HELD_OUT))
    while True:
        request = _draw(rng, kind, pairs)
        if split_of(request) == split:
            return request


def _draw(rng: np.random.Generator, kind: str, pairs: Sequence[tuple[str, str]]) -> Request:
    first = pairs[int(rng.integers(len(pairs)))]
    if kind in ("pair", "relation"):
        second = first
        while second == first:
            second = pairs[int(rng.integers(len(pairs)))]
        relation = str(rng.choice(RELATIONS)) if kind == "relation" else ""
        return Request(kind, (first, second), relation=relation)
    if kind == "count":
        return Request(kind, (first,), count=int(rng.choice(list(COUNTS.values()))))
    if kind == "size":
        return Request(kind, (first,), size=str(rng.choice(list(SIZES))))
    return Request("single", (first,))


def random_scene(rng: np.random.Generator, request: Request, size: tuple[int, int] = SQUARE) -> Scene:
    """A scene that shows exactly what `request` asks, nothing else; objects do not touch.

    Args:
        size: (height, width) in pixels, of which neither is below `SIZE`.

    Raises:
        ConfigError: a size out of its range.
    """
    check_value("size", tuple[int, int], size, _SIDES)
    things = request.things * request.count if request.kind == "count" else request.things
    low, high = SIZES.get(request.size, PLAIN_RADIUS)
    while True:
        radii = rng.uniform(low, high, len(things))
        placed = _place(rng, radii, size)
        if placed is None:
            continue
        objects = tuple(Object(c, s, x, y, r) for (c, s), (x, y), r in zip(things, placed, radii, strict=True))
        if request.kind != "relation" or holds(request.relation, objects[0], objects[1]):
            return Scene(objects, float(rng.uniform(0.08, 0.22)))


def _place(
    rng: np.random.Generator, radii: np.ndarray, size: tuple[int, int], gap: float = 2.0
) -> list[tuple[float, float]] | None:
    centres: list[tuple[float, float]] = []
    for i, r in enumerate(radii):
        for _ in range(30):
            x, y = rng.uniform(r + 1, (size[1] - r - 1, size[0] - r - 1))
            if all(max(abs(x - a), abs(y - b)) > r + radii[j] + gap for j, (a, b) in enumerate(centres)):
                centres.append((float(x), float(y)))
                break
        else:
            return None
        assert len(centres) == i + 1
    return centres


def holds(relation: str, a: Object, b: Object, margin: float = 4.0) -> bool:
    """Whether `a` is `relation` `b`: their centres differ that way by `margin` pixels and more than across."""
    dx, dy = b.x - a.x, b.y - a.y
    along = {"left of": dx, "right of": -dx, "above": dy, "below": -dy}[relation]
    across = dy if relation in ("left of", "right of") else dx
    return along > margin and along > abs(across)


# --------------------------------------------------------------------------------------------------------- rendering


def distance(shape: str, x: np.ndarray, y: np.ndarray, radius: np.ndarray | float) -> np.ndarray:
    """Signed distance (pixels, negative inside; exact to about a pixel) from a shape centred at the origin.

    `radius` is half the extent of the shape: every shape fits the square [-radius, radius]^2.
    """
    r = radius
    if shape == "circle":
        return np.hypot(x, y) - r
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.74 * r) - 0.26 * r
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.9 * r
    if shape == "cross":
        ax, ay = np.abs(x), np.abs(y)
        upright = np.maximum(ax - 0.3 * r, ay - r)
        return np.minimum(upright, np.maximum(ay - 0.3 * r, ax - r))
    if shape == "triangle":
        return np.maximum(y - 0.85 * r, 0.8814 * np.abs(x) - 0.4724 * (y + 1.0 * r))
    if shape == "star":
        return _star(x, y, r)
    raise ValueError(f"unknown shape {shape!r}")


def _star(x: np.ndarray, y: np.ndarray, r: np.ndarray | float) -> np.ndarray:
    """Five-pointed star, a tip upwards: fold the plane into one tenth, then one half-plane."""
    angle = np.mod(np.arctan2(x, -y) + np.pi / 5, 2 * np.pi / 5) - np.pi / 5
    rho = np.hypot(x, y)
    px, py = rho * np.abs(np.sin(angle)), rho * np.cos(angle)
    inner = 0.45 * r
    ax, ay = inner * np.sin(np.pi / 5), inner * np.cos(np.pi / 5)
    nx, ny = r - ay, ax
    length = np.hypot(nx, ny)
    return (nx * px + ny * (py - r)) / length


def coverage(scene_object: Object, size: tuple[int, int] = SQUARE) -> np.ndarray:
    """Anti-aliased mask of one object, float32 (height, width) in [0, 1], of `size` = (height, width)."""
    rows, columns = (np.arange(side, dtype=np.float32) + 0.5 for side in size)
    x, y = columns[None, :] - scene_object.x, rows[:, None] - scene_object.y
    return np.clip(0.5 - distance(scene_object.shape, x, y, scene_object.radius), 0, 1).astype(np.float32)


def render(scene: Scene, size: tuple[int, int] = SQUARE) -> np.ndarray:
    """The picture of a scene, float32 (height, width, 3) in [0, 1], of `size` = (height, width).

    Raises:
        ConfigError: a size out of its range.
    """
    check_value("size", tuple[int, int], size, _SIDES)
    image = np.full((*size, 3), scene.ground, np.float32)
    for item in scene.objects:
        mask = coverage(item, size)[..., None]
        image = image * (1 - mask) + mask * np.asarray(COLOURS[item.colour], np.float32)
    return image
