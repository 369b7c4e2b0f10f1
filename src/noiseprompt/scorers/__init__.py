"""Scorers of images, one file each; `base` holds the protocol and the loading by name.

What the published ones share: `model` (batches, device), `clip`, `preprocess`, `loading` (weights), `specs` (options).
Figures of whole sets of images: `sets`, on features of `features` and `inception`.
"""

from noiseprompt.scorers.base import Scorer, load_scorers, register_scorer

__all__ = ["Scorer", "load_scorers", "register_scorer"]
