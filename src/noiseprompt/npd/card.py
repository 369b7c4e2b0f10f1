"""README.md of a noise prompt data set, in the hub's layout, with the columns that the hub's viewer shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from noiseprompt.core.cards import CARD_FILE, head, head_of, read_card, sections
from noiseprompt.core.stores import store_of
from noiseprompt.core.tables import table
from noiseprompt.core.texts import in_markdown
from noiseprompt.npd.format import holds_pictures, present_shards, stored_shard
from noiseprompt.npd.info import info

SHARDS = "shard-*.arrow"

_TITLES = ("Use", "Columns", "Scores", "How it was made", "Limits")

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_MEANS = {
    "id": 'of the pair: "{prompt id}-{seed}"',
    "prompt": "the text",
    "kind": "category of the prompt, or empty",
    "seed": "of the source noise",
    "source_digest": "first 16 hexadecimal digits of the SHA-256 of the source noise (float32)",
    "source": "source noise, float16, where it is stored; else it follows from the seed",
    "target": "target noise, float16, in row-major order; null where rejected",
    "rejected": "empty, or why there is no target",
}


def data_card(folder: Path, repo: str, license: str = "") -> str:
    """The card of a data set for a repository.

    Args:
        license: as the hub writes it; what the folder's own card states unless given.

    Raises:
        StoreError: no data set there.
        InputError: its own card cannot be read.
    """
    own, told = read_card(folder / CARD_FILE), info(folder)
    license = license or str(head_of(own).get("license") or "")
    store = store_of(folder)
    schema = stored_shard(store, present_shards(store)[0]).batch.schema
    kind = "pictures" if holds_pictures(told["settings"]) else "noise pairs"
    title = f"{told['pairs']:,} {kind} for {told['settings'].get('pipeline') or 'a diffusion model'}"
    parts = [
        head(_head(title, license, told["pairs"], schema)) + f"\n# {title}",
        _about(told, kind, license),
        "## Use\n\n" + _snippet(repo, told),
        "## Columns\n\n" + _columns(schema, kind),
        *(["## Scores\n\n" + _scores(told)] if told["scores"] else []),
        "## How it was made\n\n" + _settings(told),
        "## Limits\n\n" + _limits(kind),
        sections(own, but=_TITLES),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(title: str, license: str, pairs: int, schema: pa.Schema) -> dict[str, Any]:
    size = next((word for most, word in _SIZES if pairs < most), "n>1M")
    return {
        "license": license,
        "pretty_name": title,
        "task_categories": ["text-to-image"],
        "tags": ["noise-prompt", "noise-prompt-data-set"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": SHARDS}]}],
        "dataset_info": {"features": [{"name": field.name, "dtype": dtype(field.type)} for field in schema]},
    }


def dtype(kind: pa.DataType) -> str:
    """A type of Arrow by the name that `datasets` and the hub's viewer have for it."""
    names = {"double": "float64", "float": "float32"}
    return names.get(str(kind), str(kind))


def _about(told: Mapping[str, Any], kind: str, license: str) -> str:
    rejected = sum(told["rejected"].values())
    rows = [
        ("rows", f"{told['pairs']:,} of {told['prompts']:,} prompts, {rejected:,} of them rejected"),
        *([("scored", f"{told['scored']:,} of {told['usable']:,} usable rows")] if told["scores"] else []),
        ("latents (C, H, W)", tuple(told["latent_shape"])),
        ("size", f"{told['bytes'] / 1e6:,.1f} MB in {told['shards']:,} shards"),
        ("fingerprint of the settings", f"`{told['fingerprint']}`"),
        ("licence", license or "none stated"),
    ]
    lead = {
        "noise pairs": "A noise prompt data set: for each prompt and seed the random noise and a better one, with the"
        " scores of the images drawn\nfrom both. Every candidate is kept; which pairs are worth learning from is chosen"
        " at training.",
        "pictures": "A noise prompt data set of pictures: latents of pictures of each prompt, for a network whose noise"
        " carries a picture\nof the prompt.",
    }[kind]
    return lead + "\n\n| | |\n|---|---|\n" + "\n".join(table(("", ""), rows).splitlines()[2:])


def _snippet(repo: str, told: Mapping[str, Any]) -> str:
    shape, objective = tuple(told["latent_shape"]), " --objective picture" * holds_pictures(told["settings"])
    return f"""\
`pip install noiseprompt`, then fetch it, byte by byte and checked, and train:

    noiseprompt npd pull npd {repo}
    noiseprompt train --npd npd --out npnet{objective}

Or as it is:

```python
import numpy as np
from datasets import load_dataset

rows = load_dataset("{repo}", split="train")
target = np.frombuffer(rows[0]["target"], np.float16).reshape({shape})
```"""


def _columns(schema: pa.Schema, kind: str) -> str:
    means = {**_MEANS, **({"target": "latents of the picture, scale of x_0, float16"} if kind == "pictures" else {})}
    rows = []
    for field in schema:
        side, _, name = field.name.partition(".")
        score = f"of the image drawn from the {side.removeprefix('score_')}, by {name}" if name else ""
        rows.append((f"`{field.name}`", dtype(field.type), means.get(field.name, score)))
    return table(("column", "type", "what it holds"), rows)


def _scores(told: Mapping[str, Any]) -> str:
    sides = ("source", "target", "gain")
    rows = [
        (in_markdown(name), *(f"{found[side]:.4f}" if side in found else "" for side in sides), told["scored"])
        for name, found in told["scores"].items()
    ]
    filters = told["filter_rates"].items()
    rates = [(in_markdown(name), *(f"{share:.0%}" for share in found.values())) for name, found in filters]
    margins = next(iter(told["filter_rates"].values()), {})
    means, dropped = table(("scorer", *sides, "n"), rows), table(("filter", *(f"margin {m:g}" for m in margins)), rates)
    return f"{means}\n\nMeans over the rows that were scored. What a filter would drop:\n\n{dropped}\n\n{_MADE}"


_MADE = "Made by `noiseprompt npd info FOLDER`."


def _settings(told: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in told["settings"].items() if not isinstance(value, dict)}
    rows = [(f"`{key}`", in_markdown(str(value))) for key, value in plain.items()]
    return "`noiseprompt collect` with these settings:\n\n" + table(("setting", "value"), rows)


def _limits(kind: str) -> str:
    source = "- A source noise that is not stored is `noiseprompt.initial_noise(seed, shape)`; its digest proves it.\n"
    return source * (kind != "pictures") + (
        "- It teaches a network for this model, this size and these settings of the sampler alone.\n"
        "- Scores are those of models that judge images: what they prefer is not what everybody prefers.\n"
        "- The prompts' and the model's own licences hold beside that of this data set."
    )
