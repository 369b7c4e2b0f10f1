"""What an NPNet sees, without empty prompts: the same embeddings at half the encoders' work."""

from __future__ import annotations

import pytest
import torch

from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.texts import prompt_embeds
from tests import tiny
from tests.pipelines.families.every import PIPELINES, build

TEXTS = ["a red cat", "two blue cubes left of a circle"]


@pytest.mark.parametrize("name", [name for name in PIPELINES if name != "no-family"])
def test_every_family_gives_the_embeddings_of_encode(name: str) -> None:
    pipeline = build(name)
    assert torch.equal(prompt_embeds(pipeline, TEXTS), pipeline.encode(TEXTS).prompt_embeds)


def test_empty_prompts_are_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(tiny.stable_diffusion())
    pipeline.long_prompts = "average"
    rows: list[int] = []
    pipeline.pipe.text_encoder.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    long = [*TEXTS, "a red cat and " * 40]
    found = prompt_embeds(pipeline, long)
    alone = sum(rows)
    rows.clear()
    assert torch.equal(found, pipeline.encode(long).prompt_embeds)
    assert sum(rows) == 2 * alone > 6
