"""docs/models.md says what the families say, and docs/bring-your-own-model.md holds the files it tells one to write."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from noiseprompt.pipelines.families import FAMILIES, FILES
from noiseprompt.pipelines.families.base import Family

ROOT = Path(__file__).parents[3]
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
OWN = (ROOT / "docs" / "bring-your-own-model.md").read_text(encoding="utf-8")


def defaults(family: Family) -> list[str]:
    """The lines of the table of defaults: the family's own, and one a variant."""
    lines = []
    for variant in (None, *family.variants):
        one = replace(family, **({"source": variant.source, **variant.changes} if variant else {}))
        gap = f"{one.denoise_guidance_scale:g} to {one.invert_guidance_scale:g}, {one.collection_steps} steps"
        gap = "no gap" if one.denoise_guidance_scale <= one.invert_guidance_scale else gap
        gap += ", DPM-Solver++ grid" * (one.grid == "dpm-solver" and gap != "no gap")
        values = f"{one.guidance_scale:g} | {one.num_inference_steps} | {gap} | {one.source}"
        lines.append(f"| `{one.name}` | {variant.name if variant else ''} | {values} |")
    return lines


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.pipeline_classes[0])
def test_models_md_has_every_class_with_its_defaults_and_traps(family):
    classes = [
        f"a row for `{name}` in the first table" for name in family.pipeline_classes if f"`{name}`" not in MODELS
    ]
    lines = [line for line in (*defaults(family), *(f"- {trap}" for trap in family.traps)) if f"{line}\n" not in MODELS]
    assert not classes + lines, "docs/models.md lacks:\n" + "\n".join(classes + lines)


def test_models_md_names_no_family_that_is_not_there():
    named = set(re.findall(r"^\| `([a-z0-9-]+)` \|", MODELS, re.MULTILINE))
    assert named == {family.name for family in FAMILIES}


@pytest.mark.parametrize(
    "path", ["src/noiseprompt/pipelines/families/chroma.py", "tests/pipelines/families/test_chroma.py"]
)
def test_the_files_of_bring_your_own_model_are_those_that_run(path):
    blocks = re.findall(r"`([\w/.]+)`:\n\n```python\n(.*?)```", OWN, re.DOTALL)
    assert dict(blocks)[path] == (ROOT / path).read_text(encoding="utf-8")
    assert "chroma" in FILES and '    "chroma",\n' in OWN
