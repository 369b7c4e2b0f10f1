"""Scorers of images, one file each; `base` holds the protocol and the loading by name."""

from noiseprompt.scorers.base import Scorer, load_scorers

__all__ = ["Scorer", "load_scorers"]
