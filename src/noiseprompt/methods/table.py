"""The noise methods by name. To add one: one line here."""

from __future__ import annotations

from noiseprompt.core.registry import Registry

METHODS = Registry(
    "method",
    {
        "standard": "noiseprompt.methods.standard:Standard",
        "redenoise": "noiseprompt.methods.redenoise:Redenoise",
        "npnet": "noiseprompt.methods.npnet:NpnetMethod",
        "closed_form": "noiseprompt.methods.closed_form:ClosedForm",
        "repaint": "noiseprompt.methods.repaint:Repaint",
        "nlg": "noiseprompt.methods.nlg:Nlg",
        "best_of_n": "noiseprompt.methods.best_of_n:BestOfN",
        "prune": "noiseprompt.methods.prune:Prune",
        "search": "noiseprompt.methods.search:Search",
        "initno": "noiseprompt.methods.initno:InitNO",
        "reward_gradient": "noiseprompt.methods.reward_gradient:RewardGradient",
    },
)
