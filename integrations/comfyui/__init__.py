"""noiseprompt for ComfyUI: better starting noise for the sampler, from an NPNet or from the model itself.

extension.py      what ComfyUI asks for: the list of nodes
nodes.py          the five nodes: inputs, outputs, words
noises.py         the NOISE objects that the nodes give
steps.py          closed form and re-denoise, on ComfyUI's own sampler
conditioning.py   CONDITIONING -> what an NPNet sees
levels.py         MODEL and SIGMAS -> where the sampler begins
latents.py        LATENT -> (B, C, H, W) and back
networks.py       an NPNet by its file, folder or hub id
doctor.py         what a noise looks like: figures and a picture
"""

from .extension import comfy_entrypoint

WEB_DIRECTORY = "./web"
"""Help pages of the nodes, in docs/."""

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
