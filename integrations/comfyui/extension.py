"""What ComfyUI calls when it loads this folder (V3 schema)."""

from __future__ import annotations

from comfy_api.v0_0_2 import ComfyExtension, io

from .nodes import NODES


class NoisepromptExtension(ComfyExtension):
    """The nodes of this pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Asked once, when ComfyUI starts."""
        return list(NODES)


async def comfy_entrypoint() -> NoisepromptExtension:
    """ComfyUI finds this function by its name."""
    return NoisepromptExtension()
