"""On an accelerator every tensor is where it must be: each stage, method and network, on one that is pretended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import Prompt, Sampling, StartLevel
from noiseprompt.methods.base import MethodSpec, make_noise
from noiseprompt.methods.table import METHODS
from noiseprompt.noise import figures
from noiseprompt.noise.guard import inspect_noise
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet, NPNetConfig, build, small_config, tokens_config
from noiseprompt.npnet.published import published_config
from noiseprompt.npnet.transfer import without_text
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.long_prompts import TextWarning
from noiseprompt.scorers.table import SCORERS
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.collect.pictures import collect_pictures
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.evaluate.evaluate import evaluate
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.generate.generate import generate
from noiseprompt.stages.generate.settings import GenerateConfig
from noiseprompt.stages.generate.winning import winning_noise
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.train import train
from tests import tiny
from tests.devices import DEVICE, Generator, accelerator
from tests.methods.stubs import NOISE, TEXTS, Brightness
from tests.methods.test_every_method import MADE, SAMPLING

PROMPTS = tuple(Prompt(text) for text in (*TEXTS, "a green fan"))
SHAPE, TEXT = (4, 8, 8), (tiny.TEXT_LENGTH, 32)


@pytest.fixture
def on_device() -> Iterator[None]:
    with accelerator():
        yield


def pipeline(device: Any = DEVICE) -> Pipeline:
    return Pipeline(tiny.stable_diffusion().to(device))


def lively(net: NPNet) -> NPNet:
    """A network whose prediction is not its input."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


@pytest.fixture(scope="module")
def npnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    net = lively(build(replace(small_config(SHAPE, *TEXT), swin_width=16)))
    return net.save_pretrained(tmp_path_factory.mktemp("npnet"))


@pytest.fixture(autouse=True)
def _scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORERS._entries, "brightness", Brightness)


# ------------------------------------------------------------------------------------------------- the device itself


def test_the_pretended_device_shows_a_missing_move(on_device) -> None:
    there, here = torch.ones(3, device=DEVICE), torch.ones(3)
    assert (there + torch.tensor(1.0)).tolist() == [2, 2, 2] == (there + here.to(DEVICE)).tolist()
    there[torch.tensor([0])] = 5
    assert there.cpu().numpy().tolist() == [5, 1, 1]
    for wrong in (
        lambda: there + here,
        lambda: here.add_(there),
        lambda: torch.cat([there, here]),
        lambda: here[torch.tensor([0], device=DEVICE)] + here,
        lambda: there.numpy(),
        lambda: torch.randn(3, device=DEVICE, generator=torch.Generator()),
        lambda: torch.randn(3, generator=Generator()),
    ):
        with pytest.raises((RuntimeError, TypeError)):
            wrong()
    with pytest.raises(TypeError, match="float64"):
        there.double()


# ----------------------------------------------------------------------------------------------------------- methods


def tried(name: str, npnet: Path) -> str:
    return f"npnet:path={npnet}" if name == "npnet" else MADE[name][0]


def made_by(text: str, pipe: Pipeline, noise: torch.Tensor) -> torch.Tensor:
    method = MethodSpec.parse(text).build()
    method.prepare(pipe, SAMPLING)
    return method.perturb(pipe, pipe.encode(TEXTS), noise)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_moves_in_and_out_itself(name: str, npnet: Path) -> None:
    text = tried(name, npnet)
    expected = made_by(text, pipeline("cpu"), NOISE)
    assert torch.equal(expected, NOISE) == (name in ("standard", "best_of_n"))
    with accelerator():
        pipe = pipeline()
        for device in ("cpu", DEVICE):
            made = made_by(text, pipe, NOISE.to(device))
            assert made.device == torch.device(device) and made.dtype == torch.float32
            torch.testing.assert_close(made.cpu(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_keeps_the_precision_of_its_noise(name: str, dtype: torch.dtype, npnet: Path, on_device) -> None:
    made = made_by(tried(name, npnet), pipeline(), NOISE.to(dtype))
    assert made.device.type == "cpu" and made.dtype == dtype and torch.isfinite(made).all()


@pytest.mark.parametrize("controls", ["strength=0.5,renormalize", "swap", "shuffle"])
def test_controls_keep_the_device_of_the_noise(controls: str, npnet: Path, on_device) -> None:
    spec, pipe = MethodSpec.parse(f"npnet:path={npnet},{controls}"), pipeline()
    method = spec.build()
    method.prepare(pipe, Sampling())
    for noise in (NOISE, NOISE.to(DEVICE)):
        made = make_noise(spec, method, pipe, pipe.encode(TEXTS), pipe.encode(TEXTS[::-1]), noise)
        assert made.device == noise.device


# ---------------------------------------------------------------------------------------------------------- networks

NETWORKS: dict[str, NPNetConfig] = {
    "paper": replace(small_config(SHAPE, *TEXT), swin_width=16),
    "tokens": replace(tokens_config(SHAPE, *TEXT), width=16, heads=2, depth=2),
    "pictures": replace(tokens_config(SHAPE, *TEXT, predicts="picture"), width=16, heads=2, depth=2),
    "published": published_config(32),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_on_its_device(name: str) -> None:
    config = NETWORKS[name]
    torch.manual_seed(0)
    net = lively(build(config))
    noise, embeds = batch_noise([1, 2], config.latent_shape), torch.randn(2, config.text_length, config.text_width)
    with torch.no_grad():
        level = StartLevel(0.97, 0.24)
        expected = net(noise, embeds, level)
        with accelerator():
            net.to(DEVICE)
            made = net(noise.to(DEVICE), embeds.to(DEVICE), level)
            assert made.device == DEVICE
            torch.testing.assert_close(made.cpu(), expected, atol=1e-4, rtol=1e-3)
            if config.architecture != "tokens":
                assert without_text(net)(noise.to(DEVICE), embeds.to(DEVICE)).device == DEVICE


# ------------------------------------------------------------------------------------------------------------ stages


def test_every_method_is_drawn_by_generate_and_evaluate(npnet: Path, tmp_path: Path, on_device) -> None:
    specs = [MethodSpec.parse(tried(name, npnet)) for name in METHODS]
    pipe, options = pipeline(), {"num_inference_steps": 2, "batch_size": 4}
    batches = list(generate(pipe, PROMPTS[:2], (0,), specs, GenerateConfig(**options), tmp_path / "g"))
    assert [{p.method for p in batch} for batch in batches] == [{spec.label} for spec in specs]
    assert json.loads((tmp_path / "g" / "run.json").read_text())["device"] == str(DEVICE)
    config = EvaluateConfig(**options)
    records = list(evaluate(pipe, PROMPTS[:2], [Brightness()], specs, config, tmp_path / "e"))
    assert sorted(record.method for record in records) == sorted(spec.label for spec in specs)
    assert len((tmp_path / "e" / figures.FILE).read_text().splitlines()) == len(specs)


@pytest.mark.parametrize("method", ["redenoise", "nlg:rounds=1"])
def test_pairs_are_collected_and_trained_on(method: str, tmp_path: Path, on_device) -> None:
    prompts = [Prompt(f"a red cat {i}") for i in range(12)]
    config = CollectConfig(method=method, num_inference_steps=2, guidance_scale=2.0, batch_size=6)
    pipe = pipeline()
    list(collect(pipe, prompts, [Brightness()], config, tmp_path / "npd"))
    npd = Npd(tmp_path / "npd")
    assert len(npd) == 12 and np.isfinite(npd.targets(np.arange(12))).all()
    training = TrainConfig(
        architecture="tokens", sizes={"width": 16, "depth": 1, "heads": 2}, epochs=2, batch_size=4,
        validation_share=0.3, checkpoint_every=1, validate_every=1, checkpoint_seconds=0,
    )  # fmt: skip
    first = next(train(npd, pipe, training, tmp_path / "run"))
    records = list(train(npd, pipe, training, tmp_path / "run"))  # goes on from the checkpoint
    assert first.step == 1 and records[0].step == 2 and np.isfinite(records[-1].loss)
    assert NPNet.from_pretrained(tmp_path / "run" / "last").dtype == torch.float32


@pytest.mark.parametrize("coupling", ["correlation", "nearest"])
def test_pictures_are_drawn_encoded_and_trained_on(coupling: str, tmp_path: Path, on_device) -> None:
    prompts = [Prompt(f"a red cat {i}") for i in range(12)]
    config = CollectConfig(pictures="drawn", seeds_per_prompt=2, num_inference_steps=2, batch_size=6)
    pipe = pipeline()
    list(collect_pictures(pipe, prompts, [Brightness()], config, tmp_path / "npd"))
    npd = Npd(tmp_path / "npd")
    assert len(npd) == 24 and np.isfinite(npd.targets(np.arange(24))).all()
    training = TrainConfig(
        architecture="tokens", sizes={"width": 16, "depth": 1, "heads": 2}, epochs=1, batch_size=4,
        validation_share=0.3, validate_every=1, objective="picture", coupling=coupling,
    )  # fmt: skip
    records = list(train(npd, pipe, training, tmp_path / "run"))
    assert np.isfinite(records[-1].loss) and np.isfinite(records[-1].best)


def test_figures_of_noise_on_both_devices(on_device) -> None:
    moved, source = (NOISE * 1.1).to(DEVICE), NOISE
    assert inspect_noise(moved, source).perturbation == pytest.approx(0.1, rel=1e-3)
    assert figures.measure(moved, source)["perturbation"] == pytest.approx([0.1, 0.1], rel=1e-3)


# ----------------------------------------------------------------------------------------------------- winning noise

OPTIONS: dict[str, Any] = {"guidance_scale": 2.0, "num_inference_steps": 2, "output_type": "np"}


@pytest.mark.parametrize("kind", [torch.Generator, Generator])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("several", [False, True])
def test_winning_noise_starts_from_what_the_pipeline_would_draw(kind, dtype, several, npnet: Path, on_device) -> None:
    """The very images that the plain pipeline draws from a generator, whichever device the generator is of."""
    pipe, net = tiny.stable_diffusion().to(DEVICE, dtype), NPNet.from_pretrained(npnet)

    def generator() -> Any:
        return [kind().manual_seed(s) for s in (5, 6)] if several else kind().manual_seed(5)

    plain = pipe(list(TEXTS), generator=generator(), **OPTIONS).images
    latents = winning_noise(pipe, net, TEXTS, generator=generator(), strength=0)
    assert latents.device == DEVICE and latents.dtype == dtype
    np.testing.assert_array_equal(pipe(list(TEXTS), latents=latents, **OPTIONS).images, plain)


@pytest.mark.parametrize("device", ["cpu", DEVICE])
def test_winning_noise_goes_to_the_network_and_back(device, npnet: Path, on_device) -> None:
    expected = winning_noise(pipeline("cpu"), NPNet.from_pretrained(npnet), TEXTS, seeds=[1, 2], renormalize=True)
    net, pipe = NPNet.from_pretrained(npnet).to(device), pipeline()
    made = winning_noise(pipe, net, TEXTS, seeds=[1, 2], renormalize=True)
    assert made.device == DEVICE
    torch.testing.assert_close(made.cpu(), expected, atol=1e-4, rtol=1e-3)
    embeds = pipe.encode(TEXTS).prompt_embeds.cpu()
    drawn = winning_noise(pipe, net, prompt_embeds=embeds, generator=Generator().manual_seed(1))
    assert drawn.device == DEVICE


def test_noise_carries_a_picture_wherever_the_network_and_the_pipeline_are(tmp_path: Path) -> None:
    folder = lively(build(NETWORKS["pictures"])).save_pretrained(tmp_path)
    text, steps = f"npnet:path={folder}", {"num_inference_steps": SAMPLING.num_inference_steps}
    expected = made_by(text, pipeline("cpu"), NOISE)
    made = winning_noise(pipeline("cpu"), NPNet.from_pretrained(folder), TEXTS, seeds=[1, 2], **steps)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
    with accelerator():
        pipe = pipeline()
        pipe.sample(pipe.encode(TEXTS), NOISE, **steps)  # its scheduler holds tensors of the device now
        for device in ("cpu", DEVICE):
            assert made_by(text, pipe, NOISE.to(device)).device == torch.device(device)
            net = NPNet.from_pretrained(folder).to(device)
            made = winning_noise(pipe, net, TEXTS, seeds=[1, 2], **steps)
            assert made.device == DEVICE
            torch.testing.assert_close(made.cpu(), expected, atol=1e-3, rtol=1e-3)


def test_a_generator_of_a_third_device_is_refused(npnet: Path, on_device) -> None:
    net = NPNet.from_pretrained(npnet)
    with pytest.raises(InputError, match=r"lazy.*cpu"):
        winning_noise(pipeline("cpu"), net, TEXTS, generator=Generator())
    with pytest.raises(InputError, match="one device"):
        winning_noise(pipeline(), net, TEXTS, generator=[Generator(), torch.Generator()])


def test_the_mean_over_chunks_of_long_prompts(npnet: Path, on_device) -> None:
    long = " ".join(["a red cat"] * 10)
    with pytest.warns(TextWarning):
        made = winning_noise(pipeline(), NPNet.from_pretrained(npnet), long, seeds=[1], long_prompts="average")
    assert made.device == DEVICE
