"""Where the objects of right pictures stand: how far two right pictures of one prompt differ, on the world.

    python benchmarks/layouts.py FOLDER      (of `noiseprompt evaluate` with the checker, two seeds and all images)

Feature distances count wrong colours, artefacts and grounds as diversity; this counts objects alone. Prompts of which
standard sampling and the method both have two right pictures; as a comparison rendered scenes of the same prompts.
Intervals are a bootstrap over prompts.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from itertools import permutations
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.pictures import read_picture
from noiseprompt.results.lines import read_results
from noiseprompt.results.pictures import Pictures
from noiseprompt.results.statistics import paired_bootstrap
from noiseprompt.shapes.checker import Found, check
from noiseprompt.shapes.scenes import parse, random_scene, render

Layout = tuple[Found, ...]


def places(one: Layout, other: Layout) -> float:
    """Mean distance in pixels between the same objects of two right pictures, matched as they fit best."""
    orders = [
        order
        for order in permutations(other)
        if all((a.colour, a.shape) == (b.colour, b.shape) for a, b in zip(one, order, strict=True))
    ]
    return min(
        float(np.mean([np.hypot(a.x - b.x, a.y - b.y) for a, b in zip(one, order, strict=True)])) for order in orders
    )


def radii(one: Layout, other: Layout) -> float:
    """Mean difference of the radii in pixels, small with small and large with large."""
    sizes = [sorted(item.radius for item in layout) for layout in (one, other)]
    return float(np.abs(np.subtract(*sizes)).mean())


def rendered(text: str, rng: np.random.Generator) -> Layout:
    """The objects of a rendered scene that the checker finds right."""
    while True:
        result = check(render(random_scene(rng, parse(text))), parse(text))
        if result.correct:
            return result.found


def right_pairs(folder: Path, checker: str) -> dict[str, dict[str, tuple[Layout, Layout]]]:
    """Method -> prompt -> the objects of its first two right pictures."""
    right: dict[str, dict[str, list[AnyFile]]] = defaultdict(lambda: defaultdict(list))
    pictures = Pictures(folder)
    for result in read_results(folder):
        if result.scores[checker] == 1 and result.image:
            right[result.method][result.text].append(pictures.file(result.image))
    pairs: dict[str, dict[str, tuple[Layout, Layout]]] = {}
    for method, prompts in right.items():
        pairs[method] = {}
        for text, files in prompts.items():
            if len(files) > 1:
                found = [check(read_picture(file), parse(text)).found for file in files[:2]]
                pairs[method][text] = (found[0], found[1])
    return pairs


def main(folder: Path, checker: str = "shapes-checker", seed: int = 0) -> None:
    """Print one JSON line a method: shares of standard's spread, e.g. -0.02 where it is 2 % less."""
    pairs = right_pairs(folder, checker)
    rng = np.random.default_rng(seed)
    standard = pairs.pop("standard", {})
    pairs["rendered scenes"] = {text: (rendered(text, rng), rendered(text, rng)) for text in sorted(standard)}
    for method, found in pairs.items():
        both = sorted(set(found) & set(standard))
        line: dict[str, object] = {"method": method, "prompts": len(both)}
        for name, measure in (("places", places), ("radii", radii)) if both else ():
            before = np.array([measure(*standard[text]) for text in both])
            change = np.array([measure(*found[text]) for text in both]) - before
            interval, mean = paired_bootstrap(change), before.mean()
            line[name] = [round(float(value / mean), 3) for value in (interval.mean, interval.low, interval.high)]
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(auto_cli(main))
