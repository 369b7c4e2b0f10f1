"""The scorers and feature extractors by name. To add one: one line here."""

from __future__ import annotations

from noiseprompt.core.registry import Registry

SCORERS = Registry(
    "scorer",
    {
        "shapes-checker": "noiseprompt.scorers.shapes_checker:ShapesChecker",
        "shapes-preference": "noiseprompt.scorers.shapes_preference:ShapesPreference",
        "pickscore": "noiseprompt.scorers.pickscore:PickScore",
        "clipscore": "noiseprompt.scorers.clipscore:CLIPScore",
        "hpsv2": "noiseprompt.scorers.hpsv2:HPSv2",
        "hpsv2.1": "noiseprompt.scorers.hpsv2:HPSv21",
        "aes": "noiseprompt.scorers.aes:AES",
        "imagereward": "noiseprompt.scorers.imagereward:ImageReward",
        "mps": "noiseprompt.scorers.mps:MPS",
    },
)


FEATURES = Registry(
    "feature extractor",
    {
        "shapes-features": "noiseprompt.scorers.sets.extractors:ShapesFeatures",
        "inception": "noiseprompt.scorers.sets.inception:Inception",
    },
)
