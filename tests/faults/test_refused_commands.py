"""A command that is refused leaves nothing behind that would refuse the corrected one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.core.errors import InputError, NoisepromptError, ShapeError
from noiseprompt.core.types import Prompt
from noiseprompt.npd import Npd
from noiseprompt.results.lines import read_results
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.train.train import train
from tests import npd_fakes, train_fakes
from tests.evaluation_fakes import FakePipeline
from tests.evaluation_runs import CONFIG, PROMPTS, run

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")


class Sized(FakePipeline):
    """Draws multiples of 8 and at most 100 steps, which its sampler finds out only when it is asked to draw."""

    def latent_shape(self, height=None, width=None):
        if (height or 8) % 8 or (width or 8) % 8:
            raise ShapeError(f"{height} x {width} pixels", "multiples of 8")
        return super().latent_shape(height, width)

    def sample(self, embeds, latents, **kwargs):
        if (kwargs["num_inference_steps"] or 0) > 100:
            raise ValueError("the sampler has 100 steps")
        return super().sample(embeds, latents, **kwargs)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "size": ({"height": 100}, ShapeError),
    "width": ({"width": 1}, ShapeError),
    "seeds": ({"seeds": (0, -1)}, InputError),
    "large": ({"seeds": (2**63,)}, InputError),
    "steps": ({"num_inference_steps": 5000}, ValueError),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_evaluate_again_after_a_refusal(kind: str, tmp_path: Path) -> None:
    changes, error = REFUSED[kind]
    with pytest.raises(error):
        list(run(tmp_path / "out", Sized(), replace(CONFIG, **changes), ("standard",)))
    assert not (tmp_path / "out" / "settings.json").exists()
    list(run(tmp_path / "out", Sized(), CONFIG, ("standard",)))
    assert len(read_results(tmp_path / "out")) == 2 * len(PROMPTS)


def test_a_seed_of_a_prompt_that_counts_past_the_last_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"seed {2**63}"):
        list(run(tmp_path / "out", prompts=[Prompt("a", seed=2**63 - 1)], methods=("standard",)))
    assert not (tmp_path / "out").exists()


def test_evaluate_keeps_the_settings_of_what_it_drew(tmp_path: Path) -> None:
    pipeline = Sized()
    running = run(tmp_path, pipeline, CONFIG, ("standard",))
    next(running)
    pipeline.sample = lambda *args, **kwargs: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        list(running)
    assert (tmp_path / "settings.json").exists()
    with pytest.raises(NoisepromptError, match="other settings"):
        list(run(tmp_path, config=replace(CONFIG, num_inference_steps=7), methods=("standard",)))


def test_train_again_after_a_refusal(tmp_path: Path) -> None:
    pipeline = train_fakes.FakePipeline()
    npd = train_fakes.write(tmp_path / "npd", train_fakes.facts(pipeline))
    out, config = tmp_path / "run", train_fakes.CONFIG
    with pytest.raises(NoisepromptError):
        list(train(npd, pipeline, replace(config, init=str(tmp_path / "nothing")), out))
    assert not (out / "settings.json").exists()
    steps = train(npd, pipeline, config, out)
    while next(steps).step <= config.checkpoint_every:
        pass
    with pytest.raises(OSError, match="interrupted"):
        steps.throw(OSError("interrupted"))
    assert (out / "settings.json").exists()


@pytest.mark.parametrize("wrong", [{"seed_range": (-3, -1)}, {"shard_size": 0}, {"batch_size": 0}])
def test_collect_again_after_a_refusal(wrong: dict, tmp_path: Path) -> None:
    def collected(config) -> None:
        scorers = [npd_fakes.Brightness()]
        list(collect(npd_fakes.FakePipeline(), npd_fakes.PROMPTS[:4], scorers, config, tmp_path / "out"))

    with pytest.raises(InputError):
        collected(replace(npd_fakes.CONFIG, **wrong))
    assert not (tmp_path / "out").exists()
    collected(npd_fakes.CONFIG)
    assert len(Npd(tmp_path / "out")) == 4
