"""README.md of a network, in the hub's layout: what it is, how to use it, what was measured, where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.core.cards import CARD_FILE, head, head_of, read_card, sections
from noiseprompt.core.files import public_name
from noiseprompt.core.tables import table

FOLDER = "path/to/this/folder"
"""What stands in the snippet of a network that is in no repository."""

_TITLES = ("Use", "Figures", "Limits", "Origin", "Method")

_MAKES = {
    "noise": "the target noise",
    "picture": "the latents of a picture (scale of x_0), which the noise carries at the sampler's first level",
}

_CALLS = {
    "noise": "target_noise = net(noise, prompt_embeds)",
    "picture": "target_noise = net(noise, prompt_embeds, level)",
}

_SOURCES = {
    "noise": """Method: "Golden Noise for Diffusion Models: A Learning Framework" (arXiv 2411.09502).""",
    "picture": """\
Noise that carries a picture is what the denoiser was trained on: its schedule leaves a trace of the picture in the
noisiest level, which plain noise lacks (Lin et al., arXiv 2305.08891; Everaert et al., arXiv 2309.15842; WACV 2024).
Learned noise for a prompt: "Golden Noise for Diffusion Models: A Learning Framework" (arXiv 2411.09502).""",
}


@dataclass(frozen=True)
class Facts:
    """What a card tells that no configuration holds.

    Fields:
        license: as the hub writes it, such as "apache-2.0"; "" where none is stated.
        dataset: hub id of the data set it learned from.
        source: where its weights are from, such as "owner/name, weights/sdxl.pth, commit 12ab".
        sha256: of the file they were converted from, 64 hexadecimal digits.
        figures: Markdown of what was measured; and `results`, the same for the hub (`model-index`).
        own: sections that somebody added to the card.
    """

    license: str = ""
    dataset: str = ""
    source: str = ""
    sha256: str = ""
    figures: str = ""
    results: tuple[Mapping[str, Any], ...] = ()
    own: str = ""


def read_facts(folder: Path) -> Facts:
    """The facts that the card of a folder tells; figures are asked for anew each time.

    Raises:
        InputError: the card cannot be read.
    """
    text = read_card(folder / CARD_FILE)
    told = head_of(text)
    own = told.get("noiseprompt")
    made: Mapping[str, Any] = own if isinstance(own, Mapping) else {}
    named = told.get("datasets") or [""]
    dataset = named[0] if isinstance(named, list) else named
    license, dataset, source, sha256 = (
        str(word or "") for word in (told.get("license"), dataset, made.get("source"), made.get("sha256"))
    )
    return Facts(license, dataset, source, sha256, own=sections(text, but=_TITLES))


def model_card(settings: Mapping[str, Any], parameters: int, repo: str = "", facts: Facts | None = None) -> str:
    """The card.

    Args:
        settings: fields of `NPNetConfig`.
        parameters: their number.
        repo: id of the repository it is for; none for a folder.
    """
    facts = facts or Facts()
    base, predicts = public_name(settings["denoiser"]), settings["predicts"]
    name = base or settings["family"] or "a diffusion model"
    title = f"NPNet for {name}"
    parts = [
        head(_head(settings, base, title, facts)) + f"\n# {title}",
        "A noise prompt network: it turns the random initial noise of a text-to-image diffusion model into noise that"
        " suits the\nprompt, before sampling starts: one pass of a small network, any unmodified diffusers pipeline.",
        _table(settings, parameters, facts),
        "## Use\n\n" + _snippet(settings, base, repo or FOLDER),
        "## Figures\n\n" + (facts.figures or _NO_FIGURES.format(source=repo or FOLDER, model=base or "MODEL")),
        "## Limits\n\n" + _limits(settings, base),
        *(["## Origin\n\n" + _origin(facts)] if facts.source else []),
        "## Method\n\n" + _SOURCES[predicts],
        *([facts.own] if facts.own else []),
    ]
    return "\n\n".join(parts) + "\n"


def _head(settings: Mapping[str, Any], base: str, title: str, facts: Facts) -> dict[str, Any]:
    on_hub = base.count("/") == 1
    results = {"model-index": [{"name": title, "results": [dict(one) for one in facts.results]}]}
    return {
        "license": facts.license,
        "library_name": "noiseprompt",
        "pipeline_tag": "text-to-image",
        "base_model": base if on_hub else "",
        "base_model_relation": "adapter" if on_hub else "",
        "datasets": [facts.dataset] if facts.dataset else [],
        "tags": ["noise-prompt", "npnet", *([settings["family"]] if settings["family"] else [])],
        "noiseprompt": {"source": facts.source, "sha256": facts.sha256} if facts.source else {},
        **(results if facts.results else {}),
    }


def _table(settings: Mapping[str, Any], parameters: int, facts: Facts) -> str:
    rows = [
        ("architecture", f"{settings['architecture']}, {parameters / 1e6:.2f} M parameters"),
        ("predicts", _MAKES[settings["predicts"]]),
        ("pipeline family", settings["family"] or "any"),
        ("latents (C, H, W)", tuple(settings["latent_shape"])),
        ("prompt embedding (L, D)", (settings["text_length"], settings["text_width"])),
        ("licence", facts.license or "none stated: ask its authors before you share it"),
    ]
    return "| | |\n|---|---|\n" + "\n".join(table(("", ""), rows).splitlines()[2:])


def _snippet(settings: Mapping[str, Any], base: str, source: str) -> str:
    model = base if base.count("/") == 1 else "path/to/the/model"
    call = _CALLS[settings["predicts"]]
    level = "level = noiseprompt.Pipeline(pipe).start_level(num_inference_steps)  # of the sampler that will run\n"
    return f"""\
`pip install noiseprompt`, then in three lines more than the pipeline alone:

```python
import noiseprompt
import torch
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{model}").to("cuda")
net = noiseprompt.NPNet.from_pretrained("{source}")
latents = noiseprompt.winning_noise(pipe, net, "a prompt", generator=torch.Generator().manual_seed(0))
image = pipe("a prompt", latents=latents).images[0]
```

On the command line: `noiseprompt generate "a prompt" --model {model} --methods standard,npnet:path={source} --out out`.
The network alone, on noise (B, C, H, W) and prompt embeddings (B, L, D):

```python
{level if settings["predicts"] == "picture" else ""}{call}  # the `latents`
```"""


_NO_FIGURES = """\
None are stated. Measure it on your prompts, beside plain noise and with its control:

    noiseprompt evaluate --model {model} --prompts FILE --scorers NAME --out evaluation \\
        --methods "standard,npnet:path={source},npnet:path={source},swap\""""


def _limits(settings: Mapping[str, Any], base: str) -> str:
    size = "other sides that are multiples of its patches too" if settings.get("any_size") else "no other size"
    text = "any prompt embedding" if "text" in settings.get("without", ()) else "its own text encoder's embeddings"
    return f"""\
- Made for {base or "one model"}: latents of {tuple(settings["latent_shape"])} ({size}) and {text}.
  A pipeline of another family is refused; noise is never resized.
- It moves the noise towards what its training aimed at: pictures of one prompt may become more alike. `strength`
  scales the change, 0 is the plain noise.
- A gain holds for the prompts, sampler, steps and guidance it was measured with.
- `model.safetensors` holds a checksum of its weights: noiseprompt refuses them where a byte was changed.
- What may be drawn, and the licence of the pictures, are those of the model it is used with."""


def _origin(facts: Facts) -> str:
    lines = [f"Converted by `noiseprompt import` from {facts.source}."]
    lines += [f"SHA-256 of that file: `{facts.sha256}`."] if facts.sha256 else []
    return "\n".join(lines)
