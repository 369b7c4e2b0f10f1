"""Data sets whose targets another noise method makes: what is stored, what is recorded, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.closed_form import ClosedForm
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd
from noiseprompt.pipelines import Pipeline
from noiseprompt.scorers.base import load_scorers
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.collect.settings import CollectConfig

PROMPTS = [Prompt(text) for text in ("a red circle", "a blue square", "two green stars")]
CONFIG = CollectConfig(method="closed_form", guidance_scale=3.0, num_inference_steps=2, batch_size=2)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    torch.manual_seed(0)
    pipe = build_pipeline()
    pipe.set_progress_bar_config(disable=True)
    return Pipeline(pipe, name="tiny")


def run(pipeline: Pipeline, out, config: CollectConfig = CONFIG) -> Npd:
    list(collect(pipeline, PROMPTS, load_scorers(["shapes-checker"]), config, out))
    return Npd(out)


def test_targets_and_scores_are_those_of_the_method(pipeline: Pipeline, tmp_path) -> None:
    npd = run(pipeline, tmp_path)
    method = ClosedForm()
    method.prepare(pipeline, Sampling(guidance_scale=3.0, num_inference_steps=2))
    (checker,) = load_scorers(["shapes-checker"])
    for i, prompt in enumerate(PROMPTS):
        embeds = pipeline.encode([prompt.text])
        source = initial_noise(int(npd.seeds()[i]), pipeline.latent_shape())[None]
        target = method.perturb(pipeline, embeds, source)
        wanted, stored = (target - source)[0].numpy(), npd[i].target - source[0].numpy()
        assert np.linalg.norm(stored - wanted) < 0.1 * np.linalg.norm(wanted)  # stored as fp16
        before = checker.score(pipeline.sample(embeds, source, guidance_scale=3.0, num_inference_steps=2), [prompt])
        assert npd[i].scores["shapes-checker"][0] == pytest.approx(float(before[0]), abs=0.05)


def test_the_method_is_a_setting_and_re_denoise_is_not_named(pipeline: Pipeline, tmp_path) -> None:
    settings = run(pipeline, tmp_path / "own").settings
    assert settings["method"] == "closed_form" and "denoise_guidance_scale" not in settings
    with pytest.raises(ConfigError, match="nlg"):
        run(pipeline, tmp_path / "own", dataclasses.replace(CONFIG, method="nlg:rounds=1"))
    paper = run(pipeline, tmp_path / "paper", dataclasses.replace(CONFIG, method="redenoise")).settings
    assert "method" not in paper and paper["invert_at"] == "paper"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "best_of_n"}, "NPNet can learn"),
        ({"method": "search:noise=npnet"}, "NPNet can learn"),
        ({"method": "standard"}, "NPNet can learn"),
        ({"method": "nlg:swap"}, "NPNet can learn"),
        ({"method": "nothing"}, "unknown"),
        ({"denoise_guidance_scale": 9.0}, "denoise_guidance_scale with method 'closed_form'"),
        ({"method": "redenoise", "redenoise_steps": 5000}, "redenoise_steps=5000. Expected 1 to 1,000"),
    ],
)
def test_what_teaches_nothing_is_refused(pipeline: Pipeline, tmp_path, change: dict, message: str) -> None:
    with pytest.raises(NoisepromptError, match=message) as caught:
        run(pipeline, tmp_path / "out", dataclasses.replace(CONFIG, **change))
    assert isinstance(caught.value, InputError) or message == "unknown"
    assert not (tmp_path / "out").exists()
