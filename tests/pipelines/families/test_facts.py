"""Fields of `Family`: what each family says against diffusers, and that a family which says it gets the behaviour."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.schedulers import AysSchedules

from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptWarning
from noiseprompt.pipelines import Pipeline, calls, loading
from noiseprompt.pipelines.families import FAMILIES, find_family, stable_diffusion
from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.long_prompts import TextWarning, warn_cut
from noiseprompt.pipelines.samplers import check_schedule, make_scheduler
from tests import tiny, tiny_flow
from tests.pipelines.families import tiny_sana

TINY = {
    "sd3": tiny_flow.stable_diffusion_3,
    "flux": tiny_flow.flux,
    "qwen-image": tiny_flow.qwen_image,
    "z-image": tiny_flow.z_image,
    "sana": tiny_sana.sana,
}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny.stable_diffusion()


def of_its_own(**facts: Any) -> Family:
    """A family like Stable Diffusion's, but for these facts."""
    return replace(stable_diffusion.FAMILY, name="of-its-own", variants=(), **facts)


# ---------------------------------------------------------------------------------------- what the families say is true


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.pipeline_classes[0])
def test_as_many_tokens_are_read_as_diffusers_reads_unless_told(family: Family) -> None:
    kind = getattr(diffusers, family.pipeline_classes[0])
    asked = [inspect.signature(f).parameters.get("max_sequence_length") for f in (kind.__call__, kind.encode_prompt)]
    said = next((p.default for p in asked if p is not None and isinstance(p.default, int)), None)
    if said is not None:
        assert said in family.token_limits.values()
    held = inspect.signature(kind.__init__).parameters
    assert {name for name in held if name.startswith("tokenizer")} >= {
        name for name, most in family.token_limits.items() if most < 100_000
    }


@pytest.mark.parametrize("name", TINY)
def test_sigmas_are_handed_to_the_scheduler_where_the_family_says_so(name: str, monkeypatch) -> None:
    asked: list[bool] = []

    class Asked(calls.OneMove):
        def set_timesteps(self, *args: Any, sigmas: Any = None, **named: Any) -> None:
            asked.append(sigmas is not None)
            super().set_timesteps(*args, sigmas=sigmas, **named)

    monkeypatch.setattr(calls, "OneMove", Asked)
    pipeline = Pipeline(TINY[name]())
    pipeline.levels(4, 64, 64)
    assert asked == [pipeline.family.hands_sigmas]


@pytest.mark.parametrize("path", sorted(Path(loading.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_no_other_file_knows_a_family(path: Path) -> None:
    """Neither by a pipeline class, nor by the beginning of its name."""
    begins = {name.partition("Pipeline")[0] for family in FAMILIES for name in family.pipeline_classes} | {"Hunyuan"}
    assert not [name for name in begins if re.search(rf"\b{name}[A-Z\"']", path.read_text(encoding="utf-8"))]


# ----------------------------------------------------------------------------- a family that says it gets the behaviour


def test_token_limits(pipe) -> None:
    pipeline = Pipeline(pipe, family=of_its_own(token_limits={"tokenizer": 5}))
    assert pipeline.text_limits == [(pipe.tokenizer, 5)]
    with pytest.warns(TextWarning, match=r"\(5 tokens\)"):
        warn_cut(pipeline.text_limits, ["a red cube on a blue ball"])
    assert Pipeline(pipe, family=of_its_own(token_limits={})).text_limits == []


def test_guided_only(pipe) -> None:
    pipeline = Pipeline(pipe, family=of_its_own(guided_only=("negative_prompt_embeds",)))
    embeds = pipeline.encode(["a red cube"])
    without, with_guidance = (pipeline.family.call_settings(pipe, embeds, g) for g in (1.0, 1.5))
    assert set(with_guidance) - set(without) == {"negative_prompt_embeds"}
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    step = {"guidance_scale": 1.0, "num_inference_steps": 4}
    assert torch.equal(pipeline.denoise_step(embeds, x, **step), Pipeline(pipe).denoise_step(embeds, x, **step))


def test_hands_sigmas() -> None:
    pipe = tiny_sana.sana()
    assert type(make_scheduler(pipe, "dpm++")).__name__ == "DPMSolverMultistepScheduler"
    with pytest.raises(InputError, match=r"DPMSolverMultistepScheduler in a SanaPipeline.*takes sigmas: flow-euler"):
        make_scheduler(pipe, "dpm++", hands_sigmas=True)
    make_scheduler(pipe, "flow-euler", hands_sigmas=True)


def test_timestep_schedules(pipe) -> None:
    sampled = tiny.stable_diffusion()
    sampled.scheduler = make_scheduler(pipe, "dpm++")
    xl = of_its_own(timestep_schedules={"ays": "StableDiffusionXLTimesteps"})
    assert check_schedule(sampled, xl, "ays") == AysSchedules["StableDiffusionXLTimesteps"]
    with pytest.raises(InputError, match=r"schedule 'ays'.*one of stable-diffusion, stable-diffusion-xl"):
        check_schedule(sampled, of_its_own(timestep_schedules={}), "ays")


def test_renamed_classes(tmp_path, monkeypatch) -> None:
    folder = tiny.save(tiny.stable_diffusion(), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "TokenizerOfLastYear"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelLoadError, match="TokenizerOfLastYear"):
        Pipeline.load(folder)
    family = of_its_own(renamed_classes={"TokenizerOfLastYear": "CLIPTokenizer"})
    monkeypatch.setattr(loading, "FAMILIES", (*FAMILIES, family))
    assert Pipeline.load(folder).encode(["a red cube"]).prompt_embeds.shape == (1, 16, 32)


def test_a_class_that_is_named_after_a_family_has_its_schedules_and_tokenizers(pipe) -> None:
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    relative = diffusers.StableDiffusionPAGPipeline(**parts, requires_safety_checker=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoisepromptWarning)
        family = find_family(relative)
    assert family.generic and family.timestep_schedules == stable_diffusion.FAMILY.timestep_schedules
    assert not family.hands_sigmas and Pipeline(relative, family=family).text_limits == [(pipe.tokenizer, 16)]
