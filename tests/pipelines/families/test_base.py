"""Guidance gaps: where there is none, re-denoise is refused with the reason."""

from __future__ import annotations

import pytest

from noiseprompt.cli import main
from noiseprompt.core.errors import InputError
from noiseprompt.pipelines import Pipeline
from tests import tiny, tiny_flow
from tests.pipelines.families.inputs import PROMPTS, noise


def test_no_gap_no_redenoise(xl):
    turbo = Pipeline(xl, "stabilityai/sdxl-turbo")
    embeds, x = turbo.encode(PROMPTS), noise(turbo)
    with pytest.raises(InputError, match=r"scale 1 both down and up \(SDXL-Turbo is sampled without guidance\)"):
        turbo.redenoise(embeds, x)
    assert (turbo.redenoise(embeds, x, denoise_guidance_scale=2.0) - x).abs().max() > 0.01
    plain = Pipeline(xl)
    for scale in (1.0, 3.0):
        with pytest.raises(InputError, match=f"guidance scale {scale:g} both down and up: there is no guidance gap"):
            plain.redenoise(embeds, x, denoise_guidance_scale=scale, invert_guidance_scale=scale)


def test_collecting_without_a_gap_ends_before_anything_is_written(xl, tmp_path, capsys):
    folder = tiny.save(xl, tmp_path / "sdxl-turbo")
    (tmp_path / "prompts.txt").write_text("a red cube\n")
    options = [f"--prompts={tmp_path / 'prompts.txt'}", f"--out={tmp_path / 'npd'}", "--device=cpu"]
    assert main(["collect", f"--model={folder}", *options, "--scorers+", "shapes-preference"]) == 2
    assert "no guidance gap to work with" in capsys.readouterr().err
    assert not list(tmp_path.glob("npd/*.arrow"))


def test_a_denoiser_that_takes_guidance_as_a_condition_has_no_gap(xl):
    pipe = tiny.stable_diffusion_xl()
    config = {key: value for key, value in xl.unet.config.items() if not key.startswith("_")}
    pipe.unet = tiny.unet(**{**config, "time_cond_proj_dim": 8}).eval()
    pipeline = Pipeline(pipe)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    assert pipeline.family.why_no_guidance(pipeline.pipe)
    with pytest.raises(InputError, match=r"time_cond_proj_dim.*no guidance gap"):
        pipeline.redenoise(embeds, x)
    with pytest.raises(InputError, match="time_cond_proj_dim"):
        pipeline.denoise_step(embeds, x, guidance_scale=5.0, num_inference_steps=10)
    before = pipeline.denoiser_calls
    assert pipeline.sample(embeds, x, guidance_scale=7.0, num_inference_steps=2).shape == (2, 64, 64, 3)
    assert pipeline.denoiser_calls - before == 2 * 2, "one prediction a step, whatever the guidance"


def test_a_pipeline_without_the_guidance_argument_has_no_gap(monkeypatch):
    pipeline = Pipeline(tiny_flow.flux())
    own = type(pipeline.pipe).__call__

    def older(self, prompt_embeds=None, pooled_prompt_embeds=None, guidance_scale=3.5, **kwargs):
        return own(
            self,
            prompt_embeds=prompt_embeds,
            pooled_prompt_embeds=pooled_prompt_embeds,
            guidance_scale=guidance_scale,
            **kwargs,
        )

    monkeypatch.setattr(type(pipeline.pipe), "__call__", older)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    with pytest.raises(InputError, match="FluxPipeline of the installed diffusers has no true_cfg_scale"):
        pipeline.redenoise(embeds, x)
    assert pipeline.sample(embeds, x, num_inference_steps=2).shape == (2, 64, 64, 3)
