"""Judges of one image and its prompt: published preference models and the world's own, one file each.

base.py         the protocol, and the loading by name
table.py        the names; to add a scorer: a file here and a line there
model.py        what scorers made of a network share: batches, device, gradients
clip.py         CLIP as several of them use it
preprocess.py   images -> what the networks take
loading.py      weights and tokenizers of published scorers, from a file or the hub
sets/           figures of many images together
"""

from noiseprompt.scorers.base import Scorer, load_scorers, register_scorer

__all__ = ["Scorer", "load_scorers", "register_scorer"]
