"""Pruning against a choice made here, from x_0 estimates written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.scorers.table import SCORERS
from tests.methods.stubs import NOISE, TEXTS, Brightness, Opaque, pipeline

STEPS = 8
SAMPLING = Sampling(guidance_scale=3.0, num_inference_steps=STEPS)


@pytest.fixture(autouse=True)
def _scorers(monkeypatch):
    monkeypatch.setitem(SCORERS._entries, "brightness", Brightness)
    monkeypatch.setitem(SCORERS._entries, "opaque", Opaque)


def pruned(made, options: str) -> torch.Tensor:
    method = MethodSpec.parse(f"prune:{options}").build()
    method.prepare(made, SAMPLING)
    assert method.describe()["scorer"] == method.scorer  # type: ignore[attr-defined]
    return method.perturb(made, made.encode(TEXTS), NOISE)


def early(made, noise: torch.Tensor, steps: int) -> np.ndarray:
    """Brightness of x_0 as DDIM tells it at its `steps`-th step, the U-Net called here."""
    pipe, embeds = made.pipe, made.encode(TEXTS)
    both = torch.cat([embeds.call_kwargs["negative_prompt_embeds"], embeds.call_kwargs["prompt_embeds"]])
    grid = DDIMScheduler.from_config(pipe.scheduler.config)
    grid.set_timesteps(STEPS)
    x, found = noise, None
    with torch.no_grad():
        for t in grid.timesteps[:steps]:
            empty, own = pipe.unet(torch.cat([x, x]), t, encoder_hidden_states=both).sample.chunk(2)
            found = grid.step(empty + 3.0 * (own - empty), t, x)
            x = found.prev_sample
        assert found is not None
        image = pipe.vae.decode(found.pred_original_sample / pipe.vae.config.scaling_factor).sample
    return (image / 2 + 0.5).clamp(0, 1).mean((1, 2, 3)).numpy()


@pytest.mark.parametrize(("share", "steps"), [(0.25, 2), (0.3, 3), (1, 8)])
def test_the_brightest_early_picture_of_four_is_kept(share: float, steps: int) -> None:
    made = pipeline()
    result = pruned(made, f"n=4,keep=1,share={share},scorer=brightness")
    assert made.denoiser_calls == len(TEXTS) * 4 * steps * 2
    candidates = [NOISE, *(fresh_noise(NOISE, "prune", k) for k in range(1, 4))]
    best = np.stack([early(made, x, steps) for x in candidates]).argmax(0)
    for i, place in enumerate(best):
        assert torch.equal(result[i], candidates[place][i])


def test_those_that_are_kept_are_judged_by_their_finished_pictures() -> None:
    made = pipeline()
    result = pruned(made, "n=4,keep=2,scorer=brightness")
    assert made.denoiser_calls == len(TEXTS) * (4 * 2 + 2 * STEPS) * 2
    candidates = [NOISE, *(fresh_noise(NOISE, "prune", k) for k in range(1, 4))]
    first = np.stack([early(made, x, 2) for x in candidates])
    embeds = made.encode(TEXTS)
    last = np.stack([made.sample(embeds, x, **vars(SAMPLING)).mean((1, 2, 3)) for x in candidates])
    for i in range(len(TEXTS)):
        finalists = np.argsort(-first[:, i])[:2]
        best = max(finalists, key=lambda place: last[place, i])
        assert torch.equal(result[i], candidates[best][i])


def test_at_equal_scores_the_source_stays() -> None:
    for keep in (1, 3):
        assert torch.equal(pruned(pipeline(), f"n=3,keep={keep},scorer=opaque"), NOISE)
