"""Training by reward: what rises, what is clipped and kept near, resuming, early stop, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError, InputError, ModelMismatchError, NoisepromptWarning
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.npnet import NpnetMethod
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.scorers.table import SCORERS
from noiseprompt.stages.train.judges import Judges, Reference, load_judges, reward_loss, weighted
from noiseprompt.stages.train.reward import RewardData, RewardObjective, clipped, tiled
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.train_reward import split, train_reward
from tests import tiny
from tests.devices import DEVICE, accelerator
from tests.pipelines.families.every import PIPELINES
from tests.pipelines.families.every import build as built
from tests.reward_fakes import CONFIG, JUDGES, PROMPTS, Flat, Red, Warm, config_of

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(tiny.stable_diffusion())


@pytest.fixture(autouse=True)
def _scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    for scorer in (Red, Warm, Flat):
        monkeypatch.setitem(SCORERS._entries, scorer.name, scorer)


def run(pipeline: Pipeline, out: Path, config: TrainConfig = CONFIG, judges: Judges | None = JUDGES) -> list[Any]:
    return list(train_reward(PROMPTS, pipeline, config, out, judges))


def picture_net(folder: Path, pipeline: Pipeline, **facts: Any) -> str:
    text = tuple(pipeline.encode([""]).prompt_embeds.shape[1:])
    config = tokens_config(
        pipeline.latent_shape(), *text, predicts="picture", **{"family": "stable-diffusion", **facts}
    )
    torch.manual_seed(3)
    net = build(type(config)(**{**vars(config), **CONFIG.sizes, "picture_scale": 1.5}))
    torch.nn.init.normal_(net.head.weight, std=0.05)  # type: ignore[union-attr]
    return str(net.save_pretrained(folder))


def test_the_reward_rises_and_so_does_a_scorer_that_is_not_trained_on(pipeline: Pipeline, tmp_path: Path) -> None:
    config = config_of(epochs=8, anchor_weight=0.0, validate_every=8, checkpoint_every=100, reward_hinge=5.0)
    records = run(pipeline, tmp_path, config)
    assert records[-1].best > 0.05 and np.mean([r.loss for r in records[-4:]]) < np.mean([r.loss for r in records[:4]])
    reference = json.loads((tmp_path / "reference.json").read_text())
    assert records[-1].scores["red"] > reference["means"]["red"] == reference["start"]["red"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = next(line for line in lines if "explained" in line)
    gain = (found["scores"]["warm"] - reference["means"]["warm"]) / reference["deviations"]["warm"]
    assert found["explained"] == pytest.approx(gain)
    # what is saved draws what was judged
    method = NpnetMethod(str(tmp_path / "last"))
    method.prepare(pipeline, Sampling.of(config))
    objective = RewardObjective(config, RewardData(pipeline, PROMPTS, JUDGES, tmp_path), *split(PROMPTS, config))
    rows = split(PROMPTS, config)[1]
    embeds = pipeline.encode([PROMPTS[row].text for row in rows])
    noise = method.perturb(pipeline, embeds, objective.batch(rows, None)["noise"])
    images = pipeline.sample(embeds, noise, guidance_scale=2.0, num_inference_steps=3)
    assert Red().score(images, []).mean() == pytest.approx(records[-1].scores["red"], abs=0.01)
    names = {path.name for path in (tmp_path / "samples").iterdir()}
    assert names == {"standard.png", "0.png", *(f"{r.step}.png" for r in records if r.explained is not None)}
    assert Image.open(tmp_path / "samples" / "0.png").size == (4 * 64, 64)


@pytest.mark.parametrize("kind", ["noise", "picture"])
def test_interrupted_run_ends_bit_equal(pipeline: Pipeline, tmp_path: Path, kind: str) -> None:
    init = {"init": picture_net(tmp_path / "net", pipeline)} if kind == "picture" else {}
    config = config_of(accumulate=2, **init)
    whole = run(pipeline, tmp_path / "whole", config)
    for i, _ in enumerate(train_reward(PROMPTS, pipeline, config, tmp_path / "parts", JUDGES)):
        if i == 2:  # after the checkpoint of step 2, before that of step 4
            break
    rest = run(pipeline, tmp_path / "parts", config)
    assert len(rest) == len(whole) - 2 and [r.loss for r in rest] == [r.loss for r in whole[2:]]
    for name in ("best", "last"):
        files = [tmp_path / part / name / "model.safetensors" for part in ("whole", "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()
    saved = NPNet.from_pretrained(tmp_path / "whole" / "last").config
    assert saved.predicts == kind and saved.picture_scale == (1.5 if kind == "picture" else 1.0)


def test_loss_and_gradient_are_those_of_the_formula(pipeline: Pipeline, tmp_path: Path) -> None:
    """With a clip that never acts the gradient of every weight is that of the loss as it is written down."""
    config = config_of(reward_clip=1e9, anchor_weight=0.03, init=picture_net(tmp_path / "net", pipeline))
    training, validation = split(PROMPTS, config)
    objective = RewardObjective(config, RewardData(pipeline, PROMPTS, JUDGES, tmp_path), training, validation)
    net = NPNet.from_pretrained(config.init)
    objective.begin(net)
    with torch.no_grad():
        net.gain.add_(0.3)  # type: ignore[operator]
    batch = objective.batch(training[:2], 0)
    loss = objective.loss(net, batch)
    found = torch.autograd.grad(loss, list(net.parameters()))

    from noiseprompt.pipelines.gradients import draw

    embeds, level = pipeline.encode([PROMPTS[row].text for row in training[:2]]), pipeline.start_level(3)
    noise, text = batch["noise"], embeds.prompt_embeds
    made = net(noise, text, level)
    first = NPNet.from_pretrained(config.init)(noise, text, level).detach()
    images = draw(pipeline, embeds, made, num_inference_steps=2, grid_of=3, guidance_scale=2.0)
    reference = json.loads((tmp_path / "reference.json").read_text())
    z = (images[:, 0].mean((1, 2)) - reference["means"]["red"]) / reference["deviations"]["red"]
    written = torch.log1p(torch.exp(config.reward_hinge - z)) + 0.03 * (made - first).square().sum((1, 2, 3)) / 2
    assert loss.item() == pytest.approx(written.mean().item(), rel=1e-4)
    for mine, theirs in zip(found, torch.autograd.grad(written.mean(), list(net.parameters())), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5 * float(theirs.abs().max()) + 1e-9, rtol=1e-3)


def test_gradients_are_clipped_image_by_image() -> None:
    gradient = torch.stack([torch.full((4, 8, 8), 3.0), torch.full((4, 8, 8), 1e-4)])
    made = clipped(gradient, 2.0)
    assert float(made[0].norm()) == pytest.approx(2 * (256 / 16_384) ** 0.5)
    assert torch.equal(made[1], gradient[1])


def test_weights_saturation_and_scales() -> None:
    judges = Judges((Red(), Warm()), (0.75, 0.25), (Flat(),))
    reference = Reference({"red": 0.5, "warm": 0.2}, {"red": 0.1, "warm": 0.4}, {})
    images = torch.tensor([0.9, 0.0, 0.2]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    z = np.array([(0.9 - 0.5) / 0.1, (0.9 - 0.1 - 0.2) / 0.4])
    expected = np.log1p(np.exp(1.0 - z)) @ [0.75, 0.25]
    assert reward_loss(judges, reference, images, PROMPTS[:1], 1.0).item() == pytest.approx(expected, rel=1e-5)
    assert reference.gain({"red": 0.7, "warm": 0.0}, ["red", "warm"]) == pytest.approx((2.0 - 0.5) / 2)
    assert weighted("hpsv2:path=a,weight=2") == ("hpsv2:path=a", 2.0) and weighted("aes") == ("aes", 1.0)
    loaded = load_judges(config_of(reward=("red:weight=3", "flat")), "model")
    assert loaded.weights == (0.75, 0.25) and [scorer.name for scorer in loaded.all] == ["red", "flat", "warm"]


def test_the_best_is_never_worse_than_the_start_and_patience_ends(pipeline: Pipeline, tmp_path: Path) -> None:
    init = picture_net(tmp_path / "net", pipeline)
    config = config_of(init=init, lr=1e-12, patience=1, epochs=6, validate_every=1)
    with pytest.warns(NoisepromptWarning, match="no better than"):
        records = run(pipeline, tmp_path / "run", config)
    assert 1 <= len(records) < records[-1].steps
    with pytest.warns(NoisepromptWarning, match="no better than"):
        assert run(pipeline, tmp_path / "run", config) == []  # it stays at its end
    worse = config_of(init=init, lr=0.3, warmup_steps=0, patience=1, anchor_weight=0.0, validate_every=1)
    records = run(pipeline, tmp_path / "worse", worse)
    start = json.loads((tmp_path / "worse" / "reference.json").read_text())
    gain = (start["start"]["warm"] - start["means"]["warm"]) / start["deviations"]["warm"]
    assert records[-1].best >= gain


def test_pictures_are_tiled() -> None:
    made = tiled([np.full((2, 3, 3), i, np.uint8) for i in range(5)])
    assert made.shape == (4, 12, 3) and made[3, 0, 0] == 4 and made[3, 3, 0] == 255


@pytest.mark.parametrize("name", [name for name in PIPELINES if name != "no-family"])
def test_every_family_is_trained_saved_loaded_and_drawn_with(name: str, tmp_path: Path) -> None:
    pipeline = built(name)
    small = {"height": 64, "width": 64, "chain_steps": 1, "num_inference_steps": 2, "validation_images": 2}
    config = config_of(epochs=1, guidance_scale=None, **small)
    training = train_reward(PROMPTS, pipeline, config, tmp_path, JUDGES)
    assert [np.isfinite(next(training).loss) for _ in range(2)] == [True, True]
    training.close()
    method = NpnetMethod(str(tmp_path / "last"))
    method.prepare(pipeline, Sampling(None, 2, 64, 64))
    embeds = pipeline.encode([PROMPTS[0].text])
    noise = torch.randn(1, *pipeline.latent_shape(64, 64), generator=torch.Generator().manual_seed(0))
    made = method.perturb(pipeline, embeds, noise)
    assert not torch.equal(made, noise)
    generator = [torch.Generator().manual_seed(1)]
    assert pipeline.sample(embeds, made, num_inference_steps=2, generator=generator).shape == (1, 64, 64, 3)


def test_on_an_accelerator(tmp_path: Path) -> None:
    with accelerator():
        pipeline = Pipeline(tiny.stable_diffusion().to(DEVICE))
        config = config_of(epochs=1, init=picture_net(tmp_path / "net", pipeline))
        first = next(train_reward(PROMPTS, pipeline, config, tmp_path / "run", JUDGES))
        records = run(pipeline, tmp_path / "run", config)
    assert first.step == 1 and np.isfinite(records[-1].loss) and np.isfinite(records[-1].best)


# ------------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"objective": "noise"}, "reward, validation_scorers.*with objective 'noise'"),
        ({"validation_scorers": ("red:path=a",)}, "red:path=a as reward and as validation scorer"),
        ({"filter_scorers": ("a",), "max_pairs": 3}, "filter_scorers, max_pairs with objective 'reward'"),
        ({"coupling": "any"}, "coupling with objective 'reward'"),
        ({"chain_steps": 0}, "chain_steps"),
        ({"validation_images": 1}, "validation_images"),
    ],
)
def test_settings_that_do_not_fit(changed: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config_of(**changed)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"reward": ("brightness:weight=0",)}, "weight"),
        ({"reward": ("shapes-checker",)}, "'shapes-checker' gives no gradient"),
        ({"reward": ("flat",)}, "'flat', whose scores have no gradient"),
        ({"reward": ()}, "without reward"),
        ({"validation_scorers": ()}, "without validation_scorers"),
        ({"validation_share": 0.001}, "0 validation prompts"),
        ({"sizes": {"wdith": 3}}, "wdith"),
        ({"guidance_scale": 0.5}, "guidance scale"),
    ],
)
def test_refused_before_anything_is_written(pipeline: Pipeline, tmp_path: Path, changed: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        run(pipeline, tmp_path / "run", config_of(**changed), None)
    assert not (tmp_path / "run").exists()


def test_networks_and_pipelines_that_do_not_serve(pipeline: Pipeline, tmp_path: Path) -> None:
    other = config_of(init=picture_net(tmp_path / "net", pipeline, family="sana"))
    with pytest.raises(ModelMismatchError, match="sana"):
        run(pipeline, tmp_path / "run", other)
    own = config_of(init=picture_net(tmp_path / "own", pipeline))
    terminal = Pipeline(tiny.stable_diffusion(rescale_betas_zero_snr=True, timestep_spacing="trailing"))
    with pytest.raises(InputError, match="no room for a picture"):
        run(terminal, tmp_path / "run", own)
    with pytest.raises(InputError, match="prediction type 'sample'"):
        run(Pipeline(tiny.stable_diffusion(prediction_type="sample")), tmp_path / "run")
    offloaded = Pipeline(tiny.stable_diffusion())
    offloaded.pipe.unet._hf_hook = object()
    with pytest.raises(InputError, match="offload"):
        run(offloaded, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_prompts_in_the_same_folder(pipeline: Pipeline, tmp_path: Path) -> None:
    next(train_reward(PROMPTS, pipeline, CONFIG, tmp_path, JUDGES))
    with pytest.raises(ConfigError, match="prompts"):
        next(train_reward([*PROMPTS, Prompt("another")], pipeline, CONFIG, tmp_path, JUDGES))
    (tmp_path / "reference.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"reference\.json holds no figures"):
        next(train_reward(PROMPTS, pipeline, CONFIG, tmp_path, JUDGES))


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("--objective reward --npd x --prompts shapes:train", "a data set (x) with objective reward"),
        ("--objective reward", "objective reward without prompts"),
        ("--npd x --prompts shapes:train", "prompts with objective 'noise'"),
        ("--npd x --n 3", "prompts with objective 'noise'"),
        ("", "objective 'noise' without a data set"),
        ("--objective reward --prompts shapes:train --reward shapes-checker", "shapes-checker"),
        ("--objective reward --prompts shapes:train --reward shapes-checker --validation_scorers red", "no gradient"),
        (
            "--objective reward --prompts shapes:train --validation_scorers shapes-preference",
            "and as validation scorer",
        ),
        ("--objective reward --prompts shapes:train --model other --reward red", "without validation_scorers"),
    ],
)
def test_command_lines_that_make_no_sense(
    words: str, match: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from noiseprompt.cli import common

    monkeypatch.setattr(common, "load_model", lambda *_: pytest.fail("a model was loaded"))
    assert main(["train", f"--out={tmp_path / 'run'}", *words.split()]) == 2
    error = capsys.readouterr().err
    assert match in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_world_brings_its_scorers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--objective reward --prompts shapes:train --n 12 --architecture tokens --epochs 1 --batch_size 4"
    parts = ["--accumulate=2", "--sizes", json.dumps(CONFIG.sizes)]
    small = "--validation_share 0.4 --validation_images 4 --num_inference_steps 2 --chain_steps 1 --validate_every 50"
    code = main(["train", f"--out={tmp_path / 'run'}", *words.split(), *small.split(), *parts, "--device=cpu"])
    error = capsys.readouterr().err
    assert code == 0 or "shapes-checker, which gives all 4 images" in error
    if not code:
        assert (tmp_path / "run" / "best" / "model.safetensors").exists()
        assert "shapes-preference" in (tmp_path / "run" / "settings.json").read_text()
