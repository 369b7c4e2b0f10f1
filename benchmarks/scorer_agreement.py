"""How often the preference scorer orders two generated images of one prompt as the exact checker does.

    python benchmarks/scorer_agreement.py FOLDER      (of `noiseprompt evaluate` with both scorers)

Pairs: images of the same prompt by different methods or seeds whose graded checker scores differ. The interval is a
bootstrap over prompts.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from noiseprompt.results.lines import read_results
from noiseprompt.results.statistics import paired_bootstrap


def main(folder: Path, preference: str = "shapes-preference", checker: str = "shapes-checker") -> None:
    """Print one JSON line."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for result in read_results(folder):
        groups[result.prompt_id].append((result.scores[checker], result.scores[preference]))
    shares, pairs = [], 0
    for images in groups.values():
        differing = [(a, b) for a, b in combinations(images, 2) if a[0] != b[0]]
        if differing:
            pairs += len(differing)
            shares.append(np.mean([(a[0] > b[0]) == (a[1] > b[1]) for a, b in differing]))
    interval = paired_bootstrap(np.asarray(shares))
    line = {
        "prompts": len(shares),
        "pairs": pairs,
        "agreement": interval.mean,
        "low": interval.low,
        "high": interval.high,
    }
    print(json.dumps({k: round(v, 4) for k, v in line.items()}))


if __name__ == "__main__":
    sys.exit(auto_cli(main))
