"""The flow model of the benchmark: its shortcuts change nothing, and what it writes is a model like any other."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from noiseprompt.cli import main
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline

TEXTS = ["a red circle left of a blue square", "three green stars"]


@pytest.fixture(scope="module")
def flow() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "flow_model.py"
    spec = importlib.util.spec_from_file_location("benchmark_flow_model", path)
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def transformer(flow: ModuleType) -> Any:
    torch.manual_seed(0)
    made = flow.build_transformer()
    for parameter in made.parameters():
        if not parameter.any():  # those that make it begin as the identity
            torch.nn.init.normal_(parameter, std=0.05)
    return made.eval().requires_grad_(False)


def test_one_zero_token_stands_for_all(flow: ModuleType, transformer: Any) -> None:
    pipe = flow.build_pipeline(transformer)
    whole = Pipeline(pipe).encode(TEXTS)
    known = flow.conditions(pipe, Pipeline.load("shapes").pipe, TEXTS)
    assert whole.prompt_embeds.shape[1] == known["prompt"].shape[1] - 1 + flow.ZEROS
    x, t = batch_noise([1, 2], (4, 16, 16)), torch.tensor([900.0, 300.0])
    theirs = transformer(x, whole.prompt_embeds, whole.call_kwargs["pooled_prompt_embeds"], t).sample
    with flow.one_zero_token():
        mine = transformer(x, known["prompt"], known["pooled"], t).sample
    assert (mine - theirs).abs().max() < 1e-5
    assert (transformer(x, known["prompt"], known["pooled"], t).sample - theirs).abs().max() > 1e-2


def test_the_text_encoder_gives_what_the_world_reads_before_its_last_norm(flow: ModuleType) -> None:
    own = Pipeline.load("shapes").pipe
    read = flow.conditions(flow.build_pipeline(flow.build_transformer()), own, TEXTS)
    norm = own.text_encoder.float().final_layer_norm
    width = read["taught"].shape[-1]
    assert (norm(read["prompt"][:, :-1, :width]) - read["taught"]).abs().max() < 1e-4


@pytest.mark.parametrize("t", [100, 600, 900])
def test_the_teacher_is_the_worlds_denoiser(flow: ModuleType, t: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its velocity leads to the clean picture that DDIM predicts at the timestep of the same signal to noise."""
    pipe, teacher = Pipeline.load("shapes").pipe, flow.Teacher()
    a = float(pipe.scheduler.alphas_cumprod[t])
    embeds, x = pipe.encode_prompt(TEXTS, "cpu", 1, False)[0].float(), batch_noise([1, 2], (4, 16, 16))
    with torch.no_grad():
        eps = pipe.unet.float()(x, t, embeds).sample
    pipe.scheduler.set_timesteps(1000)
    clean = pipe.scheduler.step(eps, t, x).pred_original_sample
    sigma = (1 - a) ** 0.5 / (a**0.5 + (1 - a) ** 0.5)
    flowing = x * (sigma**2 + (1 - sigma) ** 2) ** 0.5
    monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())  # bfloat16 would be the larger part of the error
    velocity = teacher.velocity(flowing, torch.full((2,), sigma), embeds)
    assert (flowing - sigma * velocity - clean).abs().max() < 1e-3


@pytest.mark.slow
def test_it_trains_and_is_a_model(flow: ModuleType, tmp_path: Path) -> None:
    npd, out = tmp_path / "scenes", tmp_path / "flow"
    words = ["--prompts", "shapes:train", "--n", "3", "--pictures", "shapes", "--seeds_per_prompt", "2"]
    assert main(["collect", *words, "--out", str(npd)]) == 0
    flow.main(npd, out, steps=1, batch_size=2)
    flow.main(npd, out, steps=2, batch_size=2)
    assert sum(1 for _ in (out / "metrics.jsonl").open()) == 2
    pipeline = Pipeline.load(out / "model")
    pictures = pipeline.sample(pipeline.encode(TEXTS), batch_noise([1, 2], pipeline.latent_shape()))
    assert pipeline.family.name == "stable-diffusion-3" and pictures.shape == (2, 64, 64, 3)
