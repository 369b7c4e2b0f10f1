"""A network that predicts a picture: the noise carries it at the level of the sampler that runs, whichever that is."""

from __future__ import annotations

import copy
import functools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError, InputError, ModelMismatchError
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec, make_noise
from noiseprompt.noise.guard import NoiseWarning
from noiseprompt.noise.seeds import batch_noise, sampler_generators
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.samplers import make_scheduler
from noiseprompt.results.lines import read_results
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.stages.evaluate.evaluate import evaluate
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.generate.generate import generate
from noiseprompt.stages.generate.settings import GenerateConfig
from noiseprompt.stages.generate.winning import winning_noise
from tests import tiny_flow
from tests.evaluation_fakes import FakeScorer

TEXTS = ["a red circle", "a blue ring"]
SEEDS = [3, 9]
SOURCE = batch_noise(SEEDS, (4, 16, 16))
SAMPLERS = (
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "DDPMScheduler",
    "EulerAncestralDiscreteScheduler",
    "PNDMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "EulerDiscreteScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
)
"""Of the paper's tables, and three more."""


@functools.cache
def shared() -> Any:
    """An untrained pipeline of the world's architecture."""
    torch.manual_seed(0)
    pipe = build_pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe() -> Any:
    return copy.copy(shared())


def network(**changes: Any) -> NPNet:
    """One that predicts pictures of unit size, not trained."""
    config = tokens_config((4, 16, 16), 12, 128, family="stable-diffusion", predicts="picture", **changes)
    torch.manual_seed(1)
    net = build(config).eval()
    torch.nn.init.normal_(net.head.weight, std=0.08)  # type: ignore[union-attr]
    return net


@pytest.fixture(scope="module")
def npnet() -> NPNet:
    return network()


@pytest.fixture(scope="module")
def folder(npnet, tmp_path_factory) -> Path:
    return npnet.save_pretrained(tmp_path_factory.mktemp("net"))


def picture(pipe: Any, npnet: NPNet) -> torch.Tensor:
    with torch.no_grad():
        return npnet.picture(SOURCE, Pipeline(pipe).encode(TEXTS).prompt_embeds)


def bar(t: int) -> float:
    """alpha-bar of Stable Diffusion's schedule, from its definition."""
    return float(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[t])


@pytest.mark.parametrize(
    ("steps", "timestep"), [(4, 751), (10, 901), (50, 981), (None, 981)], ids=["4", "10", "50", "of the call"]
)
def test_the_noise_carries_the_picture_at_the_first_level(pipe, npnet, steps, timestep) -> None:
    latents = winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, num_inference_steps=steps)
    h, a = picture(pipe, npnet), bar(timestep)
    assert 0.3 < h.std() < 3
    torch.testing.assert_close(latents, (1 - a) ** 0.5 * SOURCE + a**0.5 * h, atol=1e-4, rtol=1e-4)


def test_the_default_is_that_of_whoever_will_draw(pipe, npnet) -> None:
    of_call = winning_noise(pipe, npnet, TEXTS, seeds=SEEDS)
    assert torch.equal(of_call, winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, num_inference_steps=50))
    own = Pipeline(pipe)
    of_family = winning_noise(own, npnet, TEXTS, seeds=SEEDS)
    steps = own.family.num_inference_steps
    assert torch.equal(of_family, winning_noise(own, npnet, TEXTS, seeds=SEEDS, num_inference_steps=steps))


def test_strength_goes_from_the_source_to_the_target_and_beyond(pipe, npnet) -> None:
    def made(strength: float) -> torch.Tensor:
        return winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, strength=strength, num_inference_steps=10)

    assert torch.equal(made(0), SOURCE)
    torch.testing.assert_close(made(1.5) - SOURCE, 1.5 * (made(1) - SOURCE), atol=1e-5, rtol=1e-4)


def test_wrong_steps_and_levels_without_room_are_refused(pipe, npnet) -> None:
    for steps in (0, -1, 2.5):
        with pytest.raises(ConfigError, match="num_inference_steps"):
            winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, num_inference_steps=steps)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="num_inference_steps 2000"):
        winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, num_inference_steps=2000)
    pipe.scheduler = make_scheduler(pipe, "ddim:rescale_betas_zero_snr=true,timestep_spacing=trailing")
    with pytest.raises(InputError, match="no room for a picture"):
        winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, num_inference_steps=4)
    assert torch.equal(winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, strength=0), SOURCE)
    with pytest.raises(InputError, match="no_text with an NPNet of tokens"):
        winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, no_text=True)
    flow = tiny_flow.stable_diffusion_3()
    text = tuple(Pipeline(flow).encode(["a"]).prompt_embeds.shape[1:])
    for_flow = build(tokens_config((16, 8, 8), *text, predicts="picture"))
    with pytest.raises(InputError, match=r"flow matching at sigma 1.*predicts noise"):
        winning_noise(flow, for_flow, TEXTS, seeds=SEEDS)


def test_a_network_that_predicts_noise_does_not_ask_for_steps(pipe) -> None:
    torch.manual_seed(1)
    net = build(tokens_config((4, 16, 16), 12, 128, family="stable-diffusion")).eval()
    torch.nn.init.normal_(net.head.weight, std=0.08)  # type: ignore[union-attr]
    one, other = (winning_noise(pipe, net, TEXTS, seeds=SEEDS, num_inference_steps=n) for n in (None, 4))
    assert torch.equal(one, other) and not torch.equal(one, SOURCE)


def test_other_sizes_are_carried_too(pipe) -> None:
    latents = winning_noise(
        pipe, network(any_size=True), TEXTS, seeds=SEEDS, height=64, width=128, num_inference_steps=4
    )
    assert latents.shape == (2, 4, 16, 32)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws_from_its_own_level(pipe, npnet, folder, name: str, tmp_path: Path) -> None:
    """`generate` writes the very pictures that the plain diffusers call draws from noise at that sampler's level."""
    pipe.scheduler = make_scheduler(pipe, name)
    level = Pipeline(pipe).start_level(3)
    latents = level.noise * SOURCE + level.signal * picture(pipe, npnet)
    given = winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, num_inference_steps=3)
    torch.testing.assert_close(given, latents, atol=1e-5, rtol=1e-4)
    specs = [MethodSpec.parse(f"npnet:path={folder}")]
    drawn = []
    for text, seed in zip(TEXTS, SEEDS, strict=True):
        config = GenerateConfig(guidance_scale=2.0, num_inference_steps=3)
        with warnings.catch_warnings():
            warnings.simplefilter("error", NoiseWarning)
            [[shown]] = generate(Pipeline(pipe), [Prompt(text)], (seed,), specs, config, tmp_path / str(seed))
        drawn.append(shown.image)
    plain = copy.copy(pipe)
    extra = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    plain.scheduler = getattr(diffusers, name).from_config(shared().scheduler.config, **extra)
    images = plain(
        TEXTS, latents=given, generator=sampler_generators(SEEDS), output_type="np", guidance_scale=2.0,
        num_inference_steps=3,
    ).images  # fmt: skip
    difference = np.abs(np.stack(drawn).astype(int) - (images * 255).round().astype(int))
    assert difference.max() <= 1, "one image at a time and both together differ in the last bit"


def test_the_method_follows_the_sampling_it_was_prepared_for(pipe, npnet, folder) -> None:
    pipeline, spec = Pipeline(pipe), MethodSpec.parse(f"npnet:path={folder},strength=0.5")
    embeds = pipeline.encode(TEXTS)
    for steps in (4, 10):
        method = spec.build()
        method.prepare(pipeline, Sampling(num_inference_steps=steps))
        made = make_noise(spec, method, pipeline, embeds, None, SOURCE)
        expected = winning_noise(pipe, npnet, TEXTS, seeds=SEEDS, strength=0.5, num_inference_steps=steps)
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)
        assert method.signal(pipeline) == pytest.approx(bar({4: 751, 10: 901}[steps]) ** 0.5, rel=1e-4)
    pipe.scheduler = make_scheduler(pipe, "euler:rescale_betas_zero_snr=true,timestep_spacing=trailing")
    with pytest.raises(InputError, match="no room for a picture"):
        spec.build().prepare(Pipeline(pipe), Sampling(num_inference_steps=4))


def test_an_evaluation_at_other_steps_or_with_another_kind_of_network_is_another(pipe, folder, tmp_path: Path) -> None:
    specs = [MethodSpec.parse(text) for text in ("standard", f"npnet:path={folder}", f"npnet:path={folder},swap")]
    prompts = [Prompt(text) for text in TEXTS]

    def run(steps: int) -> list[Any]:
        config = EvaluateConfig(seeds=(1,), num_inference_steps=steps, features="none")
        return list(evaluate(Pipeline(pipe), prompts, [FakeScorer()], specs, config, tmp_path / "e"))

    assert [record.method for record in run(2)] == [spec.label for spec in specs]
    assert run(2) == []
    with pytest.raises(ConfigError, match="num_inference_steps"):
        run(3)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    net = NPNet.from_pretrained(folder)
    net.config = replace(net.config, predicts="noise")  # the same weights
    net.save_pretrained(folder)
    try:
        with pytest.raises(ConfigError, match="predicts"):
            run(2)
    finally:
        for path, data in before.items():
            path.write_bytes(data)


def test_a_network_of_another_family_is_refused_as_ever(pipe, npnet) -> None:
    with pytest.raises(ModelMismatchError):
        npnet.check((4, 16, 16), (12, 128), "stable-diffusion-xl")


def test_from_the_command_line_on_the_world(folder, tmp_path: Path) -> None:
    out, method = tmp_path / "e", f"npnet:path={folder}"
    words = ["--prompts", "test", "--n", "2", "--scheduler", "kdpm2-ancestral", "--num_inference_steps", "2"]
    words += ["--scorers", "shapes-checker", "--features", "none", "--out", str(out)]
    assert main(["evaluate", "--model", "shapes", "--methods", f"standard,{method}", *words]) == 0
    assert {result.method for result in read_results(out)} == {"standard", method}
