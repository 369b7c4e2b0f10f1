"""What a Python call is handed wrongly: another type, a text for a list, numbers that are none. One line names it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt import perturb_noise, register_scorer, winning_noise
from noiseprompt.cli import main
from noiseprompt.core.errors import NoisepromptError, ShapeError, StoreError
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.npnet import NpnetMethod
from noiseprompt.methods.table import METHODS
from noiseprompt.noise import initial_noise
from noiseprompt.noise.figures import noise_spectrum
from noiseprompt.noise.guard import inspect_noise
from noiseprompt.noise.seeds import batch_noise, prompt_seed
from noiseprompt.npd import Npd, NpdWriter, PairFilter
from noiseprompt.npd.info import info
from noiseprompt.npd.verify import verify
from noiseprompt.npnet import NPNet, NPNetConfig, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.samplers import make_scheduler
from noiseprompt.prompts import load_prompts
from noiseprompt.scorers.base import load_scorers
from noiseprompt.scorers.sets.extractors import load_features
from noiseprompt.scorers.shapes_checker import ShapesChecker
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.collect.pictures import collect_pictures
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.evaluate.evaluate import evaluate, summarize_run
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.generate.generate import generate
from noiseprompt.stages.generate.settings import GenerateConfig
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.train import train
from tests import tiny
from tests.evaluation_fakes import FakePipeline, FakeScorer
from tests.pipelines.tiny_pair import tiny_pipeline

OUT = Path("never made")
SHAPE = (4, 8, 8)
NOISE = torch.zeros(1, *SHAPE)
ONE = [Prompt("a cat")]
STANDARD = [MethodSpec.parse("standard")]
IMAGES = np.zeros((1, 64, 64, 3), np.uint8)
NET = build(tokens_config(SHAPE, 3, 8))
NET_OF_NOTHING = build(tokens_config(SHAPE, 3, 8)).to("meta")
TEXT = torch.zeros(1, 3, 8)


def pipe() -> Pipeline:
    return tiny_pipeline("stable_diffusion")


def anything_of(value: Any) -> Any:
    return value


def broken() -> NPNet:
    net = build(tokens_config(SHAPE, 3, 8))
    torch.nn.init.constant_(net.get_parameter("head.bias"), math.nan)
    return net


def with_schedule(name: str) -> Any:
    changed = copy.copy(tiny_pipeline("stable_diffusion"))  # other tests share it
    changed.schedule = name
    return changed.sample(changed.encode(["a cat"]), NOISE, num_inference_steps=2)


def embeds() -> Any:
    return pipe().encode(["a cat"])


def drawn(**changes: Any) -> Any:
    given = {"prompts": ONE, "seeds": [0], "specs": STANDARD, "config": GenerateConfig(), "out": OUT, **changes}
    return generate(FakePipeline(), **given)  # type: ignore[arg-type]


def compared(**changes: Any) -> Any:
    given = {"prompts": ONE, "scorers": [FakeScorer()], "methods": STANDARD, "config": EvaluateConfig(), **changes}
    return evaluate(FakePipeline(), **{"out": OUT, **given})  # type: ignore[arg-type]


def collected(**changes: Any) -> Any:
    given = {"prompts": ONE, "scorers": [FakeScorer()], "config": CollectConfig(), "out": OUT, **changes}
    return collect(FakePipeline(), **given)  # type: ignore[arg-type]


def pictured(**changes: Any) -> Any:
    given = {"pipeline": FakePipeline(), "listed": ONE, "scorers": [], "config": CollectConfig(pictures="shapes")}
    return collect_pictures(**{**given, "out": OUT, **changes})  # type: ignore[arg-type]


def step(**changes: Any) -> Any:
    given: dict[str, Any] = {"guidance_scale": 2.0, "num_inference_steps": 4, **changes}
    return pipe().denoise_step(embeds(), NOISE, **given)


anything: Any = None
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "a model that is none": (lambda: Pipeline.load(anything), "model null"),
    "a model that is a number": (lambda: Pipeline.load(3), "model 3"),  # type: ignore[arg-type]
    "options of a model": (lambda: Pipeline.load("shapes", {"device": "cpu"}), "options {"),  # type: ignore[arg-type]
    "a pipeline's name": (lambda: Pipeline("shapes"), "Pipeline.load"),
    "no pipeline": (lambda: Pipeline(None), "Pipeline.load"),
    "guidance in words": (lambda: step(guidance_scale="2"), "guidance_scale '2'"),
    "guidance NaN": (lambda: step(guidance_scale=math.nan), "guidance_scale nan"),
    "guidance without end": (lambda: step(guidance_scale=math.inf), "guidance_scale inf"),
    "steps in words": (lambda: step(num_inference_steps="4"), "num_inference_steps '4'"),
    "half a step": (lambda: step(num_inference_steps=4.5), "num_inference_steps 4.5"),
    "more steps than a scheduler has": (
        lambda: pipe().sample(embeds(), NOISE, num_inference_steps=1001),
        "num_inference_steps 1001. Expected 1 to 1000",
    ),
    "no steps": (lambda: step(num_inference_steps=0), "steps 0"),
    "levels in words": (lambda: pipe().levels("ten"), "num_inference_steps 'ten'"),  # type: ignore[arg-type]
    "a size in words": (lambda: pipe().latent_shape("64", 64), "height '64'"),  # type: ignore[arg-type]
    "a size with a point": (lambda: pipe().latent_shape(64, 64.0), "width 64.0"),  # type: ignore[arg-type]
    "a size below 0": (lambda: pipe().latent_shape(-64, 64), "-64"),
    "latents of another orientation": (
        lambda: pipe().sample(embeds(), torch.zeros(1, 4, 16, 8), height=64, width=128),
        "latents (1, 4, 16, 8)",
    ),
    "latents of another size": (lambda: pipe().sample(embeds(), NOISE, height=128, width=128), "latents (1, 4, 8, 8)"),
    "latents of no size": (lambda: pipe().sample(embeds(), torch.zeros(1, 4, 0, 0)), "0 x 0"),
    "more latents than prompts": (lambda: pipe().sample(embeds(), torch.zeros(2, *SHAPE)), "one row a prompt"),
    "an edge of no pixels": (lambda: pipe().levels(2, height=0), "height 0"),
    "an edge in words": (lambda: pipe().levels(2, 64, "64"), "width '64'"),  # type: ignore[arg-type]
    "no generators": (lambda: pipe().sample(embeds(), NOISE, generator=[]), "0 generators for 1 latents"),
    "after a step that is no truth": (
        lambda: pipe().sample(embeds(), NOISE, after_first_step=1),  # type: ignore[arg-type]
        "after_first_step 1",
    ),
    "a generator that is a seed": (lambda: pipe().sample(embeds(), NOISE, generator=3), "generator 3"),  # type: ignore[arg-type]
    "drawn: with one of diffusers": (
        lambda: generate(pipe().pipe, ONE, [0], STANDARD, GenerateConfig(), OUT),
        "pipeline: a StableDiffusionPipeline",
    ),
    "compared: with none": (
        lambda: evaluate(anything, ONE, [FakeScorer()], STANDARD, EvaluateConfig(), OUT),
        "pipeline: nothing",
    ),
    "compared: a scorer twice": (lambda: compared(scorers=[FakeScorer(), FakeScorer()]), "each scorer once"),
    "a flag of a list": (
        lambda: perturb_noise(anything, NOISE, NOISE, renormalize=[]),  # type: ignore[arg-type]
        "renormalize []",
    ),
    "a level of a number": (
        lambda: perturb_noise(anything, NOISE, NOISE, level=3),  # type: ignore[arg-type]
        "level 3",
    ),
    "a winning network": (lambda: winning_noise(pipe(), anything, "a cat"), "npnet null"),
    "a seed of half": (lambda: initial_noise(1.5, SHAPE), "seed 1.5"),  # type: ignore[arg-type]
    "a seed in words": (lambda: initial_noise("1", SHAPE), "seed '1'"),  # type: ignore[arg-type]
    "a seed that is true": (lambda: initial_noise(True, SHAPE), "seed True"),
    "a shape below 0": (lambda: initial_noise(0, (-1, 2)), "a shape [-1, 2]"),
    "a shape without values": (lambda: initial_noise(0, ()), "a shape []"),
    "a shape larger than any memory": (lambda: initial_noise(0, (2**40, 64, 64)), "at most 67,108,864 values"),
    "a scheduler without timesteps": (
        lambda: make_scheduler(pipe().pipe, "DDIMScheduler:num_train_timesteps=0"),
        "DDIMScheduler:num_train_timesteps 0",
    ),
    "a spacing that only the first timesteps need": (
        lambda: make_scheduler(pipe().pipe, "EulerDiscreteScheduler:timestep_spacing=nope"),
        "EulerDiscreteScheduler does not take timestep_spacing=nope: nope",
    ),
    "a schedule that is none": (
        lambda: make_scheduler(pipe().pipe, "DDIMScheduler:beta_schedule=nope"),
        "nope is not implemented for DDIMScheduler",
    ),
    "a device that is none": (lambda: initial_noise(0, SHAPE, device=anything), "device null"),
    "a type that is none": (lambda: initial_noise(0, SHAPE, dtype="half"), "dtype 'half'"),  # type: ignore[arg-type]
    "latents larger than any memory": (lambda: pipe().latent_shape(2**26, 2**26), "8 times a side"),
    "a shape in words": (lambda: initial_noise(0, "abc"), "a shape 'abc'"),  # type: ignore[arg-type]
    "no seeds": (lambda: batch_noise([], SHAPE), "seeds []"),
    "a number of seeds": (lambda: batch_noise(3, SHAPE), "seeds 3"),  # type: ignore[arg-type]
    "a range of one": (lambda: prompt_seed(0, "a", (5,)), "seed_range [5]"),  # type: ignore[arg-type]
    "a method that is none": (lambda: MethodSpec.parse(anything), "a method null"),
    "methods": (lambda: MethodSpec.parse(["standard"]), "a method ['standard']"),  # type: ignore[arg-type]
    "an option in words": (lambda: MethodSpec("x", "redenoise", {"steps": "4"}).build(), "redenoise:steps '4'"),
    "an option that is none": (lambda: MethodSpec("x", "redenoise", {"stps": 4}).build(), "option stps"),
    "an option of standard": (lambda: MethodSpec("x", "standard", {"n": 4}).build(), "no options"),
    "a path of a number": (lambda: NpnetMethod(3), "npnet:path 3"),  # type: ignore[arg-type]
    "a flag of a number": (lambda: NpnetMethod(None, 1), "npnet:no_text 1"),  # type: ignore[arg-type]
    "drawn: a text": (lambda: drawn(prompts="a cat"), "prompts 'a cat'"),
    "drawn: texts": (lambda: drawn(prompts=["a cat"]), "prompts ['a cat']"),
    "drawn: seeds in words": (lambda: drawn(seeds=["0"]), "seeds ['0']"),
    "drawn: a seed": (lambda: drawn(seeds=0), "seeds 0"),
    "drawn: a seed below 0": (lambda: drawn(seeds=[-1]), "seed -1"),
    "drawn: names": (lambda: drawn(specs=["standard"]), "specs ['standard']"),
    "drawn: a mapping": (lambda: drawn(config={"batch_size": 1}), "config {'batch_size': 1}"),
    "drawn: nowhere": (lambda: drawn(out=None), "out null"),
    "compared: texts": (lambda: compared(prompts=["a cat"]), "prompts ['a cat']"),
    "compared: names": (lambda: compared(methods=["standard"]), "methods ['standard']"),
    "compared: names of scorers": (lambda: compared(scorers=["aes"]), "scorers ['aes']"),
    "compared: no settings": (lambda: compared(config=None), "config null"),
    "compared: nowhere": (lambda: compared(out=None), "out null"),
    "summed up: nowhere": (lambda: summarize_run(anything), "out null"),
    "collected: texts": (lambda: collected(prompts=["a cat"]), "prompts ['a cat']"),
    "collected: names of scorers": (lambda: collected(scorers=["aes"]), "scorers ['aes']"),
    "collected: a mapping": (lambda: collected(config={}), "config {}"),
    "collected: nowhere": (lambda: collected(out=None), "out null"),
    "collected: no scorers": (lambda: collected(scorers=[]), "scorers []. Expected a list of at least one"),
    "collected: when to stop": (lambda: collected(should_stop=3), "should_stop 3. Expected a function"),
    "pictures: with none": (lambda: pictured(pipeline=None), "pipeline: nothing"),
    "pictures: names of scorers": (lambda: pictured(scorers=["aes"]), "scorers ['aes']"),
    "pictures: a mapping": (lambda: pictured(config={}), "config {}"),
    "pictures: nowhere": (lambda: pictured(out=None), "out null"),
    "trained: a path": (lambda: train("npd", pipe(), TrainConfig(), OUT), "npd 'npd'"),  # type: ignore[arg-type]
    "images that are none": (lambda: ShapesChecker().score(anything, ONE), "images: nothing"),
    "images of a list": (lambda: ShapesChecker().score(IMAGES.tolist(), ONE), "images: a list"),
    "prompts of images": (lambda: ShapesChecker().score(IMAGES, ["a cat"]), "prompts ['a cat']"),  # type: ignore[list-item]
    "a scorer without a name": (lambda: register_scorer(anything, FakeScorer), "the name of a scorer null"),
    "a scorer that is none": (lambda: register_scorer("three", 3), "the scorer 'three' is 3"),  # type: ignore[arg-type]
    "scorers that are none": (lambda: load_scorers([3]), "scorers [3]"),  # type: ignore[list-item]
    "a data set nowhere": (lambda: Npd(anything), "folder null"),
    "a data set to write": (lambda: NpdWriter(anything, {}, SHAPE), "folder null"),
    "a shape that cannot be written": (
        lambda: NpdWriter(OUT, {}, (2**40, 64, 64)),
        "latent_shape [1099511627776, 64, 64]. Expected at most 67,108,864 values",
    ),
    "settings to write": (lambda: NpdWriter(OUT, anything, SHAPE), "settings null"),
    "a data set to check": (lambda: verify(anything), "folder null"),
    "a data set to sum up": (lambda: info(anything), "folder null"),
    "sizes of a network": (lambda: tokens_config(anything, 3, 8), "latent_shape null"),
    "features": (lambda: load_features(anything), "spec null"),
    "a shape to write": (lambda: NpdWriter(OUT, {}, (4, -4, 4)), "latent_shape [4, -4, 4]"),
    "a network nowhere": (lambda: NPNet.from_pretrained(anything), "source null"),
    "noise that is none": (lambda: NET(anything, TEXT), "noise: nothing"),
    "noise of numpy": (lambda: NET(NOISE.numpy(), TEXT), "noise: a ndarray"),
    "noise of whole numbers": (lambda: NET(NOISE.long(), TEXT), "noise: torch.int64"),
    "text that is none": (lambda: NET(NOISE, anything), "prompt embeddings: nothing"),
    "a width in words": (lambda: NPNetConfig(width="2"), "width '2'"),  # type: ignore[arg-type]
    "a branch that is a text": (lambda: NPNetConfig(without="text"), "without 'text'"),  # type: ignore[arg-type]
    "a limit in words": (lambda: load_prompts("shapes:test", limit="3"), "limit '3'"),  # type: ignore[arg-type]
    "a network of another kind": (
        lambda: perturb_noise(anything_of(torch.nn.Linear(1, 1)), NOISE, TEXT),
        "npnet a Linear",
    ),
    "noise without values": (lambda: perturb_noise(NET, NOISE.to("meta"), TEXT), "without values (meta)"),
    "sparse noise": (lambda: perturb_noise(NET, NOISE.to_sparse(), TEXT), "torch.sparse_coo"),
    "embeddings of whole numbers": (
        lambda: winning_noise(pipe(), NET, prompt_embeds=TEXT.int(), seeds=[0]),
        "prompt_embeds: torch.int32. Expected a dense torch tensor (B, L, D)",
    ),
    "embeddings that are not finite": (
        lambda: winning_noise(pipe(), NET, prompt_embeds=TEXT * math.nan, seeds=[0]),
        "values of prompt_embeds are not finite",
    ),
    "more images than any memory": (
        lambda: winning_noise(pipe(), NET, "a cat", seeds=[0], num_images_per_prompt=10**9),
        "at most 10,000 images in one call",
    ),
    "the base of networks": (lambda: NPNet(NET.config), "noiseprompt.npnet.build(config)"),
    "a level that is a number": (lambda: NET(NOISE, TEXT, 5), "level 5"),
    "shapes to check": (lambda: NET.check(anything, anything), "latent_shape null"),
    "a network saved nowhere": (lambda: NET.save_pretrained(""), "folder ''. Expected a text that is not blank"),
    "a network of NaN": (lambda: broken().save_pretrained("o"), "weights are not finite"),
    "a format of whole numbers": (lambda: NPNet.from_pretrained("x", dtype=torch.int8), "dtype torch.int8"),
    "a format in words": (lambda: NPNet.from_pretrained("x", dtype="half"), "dtype 'half'"),  # type: ignore[arg-type]
    "too long a path": (lambda: NPNet.from_pretrained("x" * 5000), "a path of 5,000 letters"),
    "a repository that is none": (lambda: NET.push_to_hub(anything), "repo_id null"),
    "branches of tokens": (lambda: NPNetConfig(architecture="tokens", without=("text",)), "without text of"),
    "a ratio below 0": (lambda: NPNetConfig(mlp_ratio=-1.0), "mlp_ratio -1.0"),
    "a class of pipelines": (lambda: Pipeline(type(pipe().pipe)), "Pipeline.load"),
    "no pictures to encode": (lambda: pipe().encode_images(IMAGES[:0]), "pictures uint8 of shape (0, 64, 64, 3)"),
    "a schedule set by hand": (lambda: with_schedule("fast"), "schedule 'fast'"),
    "noise of truths": (lambda: initial_noise(0, SHAPE, dtype=torch.bool), "noise of torch.bool"),
    "a device that is not there": (lambda: initial_noise(0, SHAPE, device="gpu"), "device 'gpu'"),
    "figures of whole numbers": (lambda: inspect_noise(NOISE.int()), "latents: torch.int32"),
    "a signal below 0": (lambda: inspect_noise(NOISE, None, -1.0), "signal -1.0"),
    "a spectrum of words": (lambda: noise_spectrum([[[["a"]]]]), "Expected an array (B, C, H, W) of numbers"),  # type: ignore[arg-type]
    "a spectrum of lists of several lengths": (lambda: noise_spectrum([[1], [2, 3]]), "noise: a list"),  # type: ignore[arg-type]
    "an empty prompt": (lambda: Prompt(" "), "an empty prompt"),
    "an empty option": (lambda: MethodSpec.parse("redenoise:"), "an empty option in 'redenoise:'"),
    "a name that is none": (lambda: METHODS.get(anything), "the method null"),
    "a scorer of two words": (lambda: register_scorer("a b", FakeScorer), "the name 'a b'"),
    "a scorer at no address": (lambda: register_scorer("mine", "nowhere"), "the scorer 'mine' is 'nowhere'"),
    "a margin without scorers": (lambda: PairFilter(margin=5.0), "a filter with margin 5 and no scorers"),
    "a setting of another type": (
        lambda: make_scheduler(pipe().pipe, "ddim:clip_sample=maybe"),
        "ddim:clip_sample 'maybe'. Expected true or false",
    ),
    "a prediction that is none": (
        lambda: make_scheduler(pipe().pipe, "DDIMScheduler:prediction_type=x"),
        "DDIMScheduler does not take prediction_type=x: prediction_type given as x",
    ),
    "scorers to write": (lambda: NpdWriter(OUT, {"scorers": ["a", "a"]}, SHAPE), "each scorer once"),
    "lists of several widths": (
        lambda: winning_noise(pipe(), NET, prompt_embeds=[torch.zeros(3, 8), torch.zeros(3, 9)]),
        "prompt_embeds of the widths 8, 9",
    ),
    "noise of one image": (lambda: perturb_noise(NET, NOISE[0], TEXT), "noise of shape (4, 8, 8) with"),
    "noise of no image": (lambda: perturb_noise(NET, NOISE[:0], TEXT[:0]), "B from 1 on"),
    "a dtype for its name": (lambda: Pipeline.load("x", dtype=torch.float64), "dtype 'float64'. Expected one of"),
    "a network without values": (lambda: NET_OF_NOTHING.save_pretrained(OUT), "without values (meta)"),
    "a class for its object": (
        lambda: evaluate(FakePipeline(), ONE, [FakeScorer], STANDARD, EvaluateConfig(), OUT),  # type: ignore[arg-type, list-item]
        "scorers [the class FakeScorer]",
    ),
    "scores of another number": (
        lambda: PairFilter(("a",)).mask({"a": np.zeros(3)}, np.ones(2, bool)),
        "scores of a: float64 (3,) for 2 pairs",
    ),
    "half a limit": (lambda: load_prompts("shapes:test", limit=2.5), "limit 2.5"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_is_refused_in_one_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call, told = CALLS[kind]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoisepromptError) as caught:
        result = call()
        if isinstance(result, Iterator):
            list(result)
    assert told in str(caught.value) and "\n" not in str(caught.value), str(caught.value)
    assert not [word for word in ("<class", " object at 0x") if word in str(caught.value)]
    assert not list(tmp_path.iterdir())


def test_a_closed_writer_takes_nothing(tmp_path: Path) -> None:
    writer = NpdWriter(tmp_path / "npd", {"scorers": []}, SHAPE)
    writer.close()
    noise = NOISE[0].numpy()
    with pytest.raises(StoreError, match="after its writer was closed"):
        writer.add(ScoredPair("a-0", ONE[0], 0, noise, noise))
    with pytest.raises(StoreError, match="closed"):
        writer.flush()


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "id": ({"id": 5}, "the id of a pair 5"),
    "prompt": ({"prompt": "a cat"}, "its prompt 'a cat'"),
    "seed": ({"seed": "0"}, "its seed '0'"),
    "target": ({"target": [1.0]}, "the target of pair a-0: a list"),
    "scores": ({"scores": {"mine": (1.0,)}}, "two numbers for each scorer"),
    "no scores": ({"scores": None}, "the scores of pair a-0"),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_pair_of_other_kinds_is_not_written(kind: str, tmp_path: Path) -> None:
    changes, told = FIELDS[kind]
    noise = NOISE[0].numpy()
    given = {"id": "a-0", "prompt": ONE[0], "seed": 0, "source": noise, "target": noise, "scores": {"mine": (0.0, 1.0)}}
    with NpdWriter(tmp_path / "npd", {"scorers": ["mine"]}, SHAPE) as writer:
        with pytest.raises(NoisepromptError) as caught:
            writer.add(ScoredPair(**{**given, **changes}))
        assert told in str(caught.value)
        writer.add(ScoredPair(**given))  # type: ignore[arg-type]
    assert len(Npd(tmp_path / "npd")) == 1


def test_main_takes_a_list_of_words(capfd: pytest.CaptureFixture[str]) -> None:
    for given in (5, "doctor", [None], b"x"):
        assert main(given) == 2  # type: ignore[arg-type]
        error = capfd.readouterr().err
        assert error.startswith("noiseprompt: error: main(") and error.count("\n") == 1


def test_embeddings_of_another_pipeline_are_told() -> None:
    """And nothing is said of parts that do not belong together."""
    one, other = tiny_pipeline("stable_diffusion"), tiny_pipeline("stable_diffusion_xl")
    latents = torch.randn(1, *one.latent_shape())
    with pytest.raises(ShapeError, match=r"text embeddings of width .* in a pipeline whose own have"):
        one.sample(other.encode(["a cat"]), latents, num_inference_steps=1)


def test_a_pipeline_without_values_is_told() -> None:
    with pytest.raises(NoisepromptError, match="without values"):
        Pipeline(tiny.stable_diffusion().to("meta")).encode(["a cat"])


def test_a_network_loads_whatever_device_is_the_default(tmp_path: Path) -> None:
    NET.save_pretrained(tmp_path)
    with torch.device("meta"):
        loaded = NPNet.from_pretrained(tmp_path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in NET.state_dict().items())
