"""The architectures by name. To add one: one line here."""

from __future__ import annotations

from noiseprompt.core.registry import Registry

NETWORKS = Registry(
    "architecture",
    {
        "paper": "noiseprompt.npnet.paper:PaperNPNet",
        "published": "noiseprompt.npnet.published:PublishedNPNet",
        "tokens": "noiseprompt.npnet.tokens:TokensNPNet",
    },
)
