"""The objectives of a training by name, and the couplings (`coupling.py`)."""

from __future__ import annotations

from noiseprompt.core.registry import Registry

OBJECTIVES = Registry(
    "objective",
    {
        "noise": "noiseprompt.stages.train.noises:NoiseObjective",
        "picture": "noiseprompt.stages.train.pictures:PictureObjective",
        "reward": "noiseprompt.stages.train.reward:RewardObjective",
    },
)

COUPLINGS = ("correlation", "any", "nearest")
