"""README.md of a saved network, in the hub's layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noiseprompt.core.files import public_name

_MAKES = {
    "noise": "the target noise",
    "picture": "the latents of a picture (scale of x_0), which the noise carries at the sampler's first level",
}

_USES = {
    "noise": """target_noise = net(noise, prompt_embeds)  # then pass it to the pipeline as `latents`""",
    "picture": """\
level = noiseprompt.Pipeline(pipe).start_level(num_inference_steps)  # of the sampler that will run
target_noise = net(noise, prompt_embeds, level)  # level.noise * noise + level.signal * picture: the `latents`""",
}

_SOURCES = {
    "noise": """Method: "Golden Noise for Diffusion Models: A Learning Framework" (arXiv 2411.09502).""",
    "picture": """\
Noise that carries a picture is what the denoiser was trained on: its schedule leaves a trace of the picture in the
noisiest level, which plain noise lacks (Lin et al., arXiv 2305.08891; Everaert et al., arXiv 2309.15842; WACV 2024).
Learned noise for a prompt: "Golden Noise for Diffusion Models: A Learning Framework" (arXiv 2411.09502).""",
}


def model_card(settings: Mapping[str, Any], parameters: int) -> str:
    """The card.

    Args:
        settings: fields of `NPNetConfig`.
        parameters: their number.
    """
    denoiser, family, predicts = public_name(settings["denoiser"]), settings["family"], settings["predicts"]
    base = f"base_model: {denoiser}\n" if denoiser.count("/") == 1 else ""
    imports = "import noiseprompt\n" if predicts == "picture" else ""
    return f"""---
library_name: noiseprompt
tags:
- noise-prompt
- npnet
{base}---

# NPNet for {denoiser or family or "a diffusion model"}

A noise prompt network: it turns the random initial noise of a text-to-image diffusion model into noise that suits the
prompt, before sampling starts.

| | |
|---|---|
| architecture | {settings["architecture"]}, {parameters / 1e6:.2f} M parameters |
| predicts | {_MAKES[predicts]} |
| pipeline family | {family or "any"} |
| latents (C, H, W) | {tuple(settings["latent_shape"])} |
| prompt embedding (L, D) | {(settings["text_length"], settings["text_width"])} |

```python
{imports}from noiseprompt.npnet import NPNet

net = NPNet.from_pretrained("path/to/this/folder")
{_USES[predicts]}
```

{_SOURCES[predicts]}
"""
