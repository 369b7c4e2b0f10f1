"""Collection: order, seeds, resumption after a kill, rejection, sharing, settings."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError, StoreLockedError, UnknownNameError
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.noise.seeds import batch_noise, prompt_seed
from noiseprompt.npd import Npd, PairFilter
from noiseprompt.npd.verify import verify
from noiseprompt.pipelines import Pipeline
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.stages.collect.collect import collect, find_teacher, pair_seeds, plan
from noiseprompt.stages.collect.pairs import PairMaker
from noiseprompt.stages.collect.settings import CollectConfig
from tests.npd_fakes import CONFIG, PROMPTS, SHAPE, Brightness, Darkness, FakePipeline, shards

ROOT = Path(__file__).parents[3]


def run(out: Path, prompts=PROMPTS, config=CONFIG, pipeline=None, scorers=None, **kwargs) -> list:
    return list(
        collect(
            pipeline or FakePipeline(), prompts, [Brightness()] if scorers is None else scorers, config, out, **kwargs
        )
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    run(folder)
    return shards(folder)


def test_pairs_are_what_algorithm_1_says(tmp_path):
    pipeline = FakePipeline()
    progress = run(tmp_path, pipeline=pipeline, scorers=[Brightness(), Darkness()])
    npd = Npd(tmp_path)
    assert [p.text for p in npd.prompts()] == [p.text for p in PROMPTS]
    assert npd.seeds().tolist() == [prompt_seed(0, p.id, (0, 1024)) for p in PROMPTS]
    for i in (0, 7, 17):
        embeds = FakePipeline().encode([PROMPTS[i].text])
        source = batch_noise([int(npd.seeds()[i])], SHAPE)
        # down with guidance 5.5, up with 1: the difference is 0.01 (5.5 - 1) e / 0.9
        target = source + 0.045 * embeds.prompt_embeds[..., None] / 0.9
        np.testing.assert_allclose(npd[i].target, target[0], atol=4e-3)
        for side, noise in enumerate((source, torch.from_numpy(npd[i].target)[None])):
            image = FakePipeline().sample(
                embeds, noise, guidance_scale=2.0, num_inference_steps=10, height=None, width=None
            )
            assert npd[i].scores["brightness"][side] == image.mean(dtype=np.float64)
            assert npd[i].scores["darkness"][side] == -image.mean(dtype=np.float64)
    scores = npd.scores()
    kept = {name: int((table[:, 0] < table[:, 1]).sum()) for name, table in scores.items()}
    assert progress[-1].kept_by_scorer == kept
    assert [(p.done, p.total) for p in progress] == [(n, 18) for n in (0, 3, 4, 7, 8, 11, 12, 15, 16, 18)]
    assert progress[0].eta_seconds is None
    assert progress[-1].eta_seconds == 0
    assert all(p.pairs_per_second > 0 for p in progress[1:])
    assert verify(tmp_path) == []


def test_text_is_encoded_once_a_batch(tmp_path):
    pipeline = FakePipeline()
    run(tmp_path, PROMPTS[:4], dataclasses.replace(CONFIG, batch_size=4), pipeline)
    # down at the guidance of the move and, from the same predictions, at that of the sampler
    assert pipeline.calls[1:] == [("encode", 4), ("down", 4), ("down", 4), ("up", 4), ("rest", 4), ("sample", 4)]


@pytest.mark.parametrize(
    ("change", "can", "shared"),
    [
        ({"guidance_scale": 5.5}, True, True),
        ({"guidance_scale": 5.5}, False, False),
        ({"guidance_scale": 5.0}, True, True),  # other guidance, the same two predictions
        ({"guidance_scale": 1.0}, True, False),
        ({"guidance_scale": 5.0, "num_inference_steps": 20}, True, False),
        ({"guidance_scale": 5.5, "num_inference_steps": 20}, True, False),
    ],
)
def test_first_step_is_shared_only_where_that_is_exact(tmp_path, change, can, shared):
    config = dataclasses.replace(CONFIG, **change)
    pipeline = FakePipeline(can_share_first_step=can)
    run(tmp_path / "maybe", config=config, pipeline=pipeline)
    assert ("rest" in {name for name, _ in pipeline.calls}) == shared
    run(tmp_path / "not", config=config, pipeline=FakePipeline(can_share_first_step=False))
    assert shards(tmp_path / "not") == shards(tmp_path / "maybe")


@pytest.mark.parametrize("guidance", [5.5, 3.0])
def test_sharing_draws_the_same_images_with_the_world(guidance, monkeypatch):
    torch.manual_seed(0)
    pipe = build_pipeline()
    pipe.set_progress_bar_config(disable=True)
    pipeline = Pipeline(pipe, name="tiny")
    config = CollectConfig(guidance_scale=guidance, redenoise_steps=3, num_inference_steps=3)
    items = [(Prompt("a red circle"), 1), (Prompt("a blue square"), 2)]
    maker = PairMaker(pipeline, [Brightness()], find_teacher(pipeline, config), Sampling.of(config))

    def made() -> tuple[list, float]:
        before = pipeline.denoiser_calls
        return maker.make(items), pipeline.denoiser_calls - before

    shared, calls = made()
    assert calls == 2 * (2 * 3 + 2 * 3 + 1)  # two guided images of three steps, and the step up
    monkeypatch.setattr(Pipeline, "can_share_first_step", False)
    plain, more_calls = made()
    assert more_calls - calls == 2 * 2  # one guided step of two images saved
    for mine, theirs in zip(shared, plain, strict=True):
        np.testing.assert_array_equal(mine.target, theirs.target)
        np.testing.assert_allclose(mine.scores["brightness"], theirs.scores["brightness"], atol=0.01)
    assert shared[0].scores != shared[1].scores


@pytest.mark.parametrize("committed", [1, 3])
def test_kill_9_then_the_same_command_gives_the_same_bytes(tmp_path, uninterrupted, committed):
    command = [sys.executable, "-m", "tests.npd_fakes", str(tmp_path), "0.15"]
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.glob("*.arrow"))) < committed:
        assert process.poll() is None
        time.sleep(0.01)
    if committed == 1:
        with pytest.raises(StoreLockedError, match=r"writes other pairs to .* \(process \d+ on "):
            run(tmp_path, PROMPTS[1:])
        with pytest.raises(ConfigError, match=r"guidance_scale: 2\.0 there, 3\.0 here"):
            run(tmp_path, config=dataclasses.replace(CONFIG, guidance_scale=3.0))
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.arrow")}
    assert len(before) < len(uninterrupted)
    (tmp_path / "shard-000004.arrow.tmp").write_bytes(b"half a shard")  # what a kill in the middle of a write leaves
    progress = run(tmp_path)
    assert progress[0].done >= 4 * committed
    assert shards(tmp_path) == uninterrupted
    assert all(uninterrupted[name] == data for name, data in before.items())


@pytest.mark.parametrize("batches", [1, 2, 3, 5])
def test_a_stop_commits_the_batch_and_the_run_goes_on(tmp_path, uninterrupted, batches):
    answers = iter([False] * (batches - 1) + [True])
    stopped = run(tmp_path, should_stop=lambda: next(answers))
    assert len(Npd(tmp_path)) == stopped[-1].done == [3, 4, 7, 8, 11][batches - 1]
    resumed = run(tmp_path)
    assert resumed[0].done == stopped[-1].done
    assert shards(tmp_path) == uninterrupted


def test_a_caller_that_breaks_off_loses_nothing(tmp_path, uninterrupted):
    generator = collect(FakePipeline(), PROMPTS, [Brightness()], CONFIG, tmp_path)
    next(generator), next(generator)
    generator.close()
    assert len(Npd(tmp_path)) == 3
    run(tmp_path)
    assert shards(tmp_path) == uninterrupted


def test_a_deleted_shard_is_made_again(tmp_path, uninterrupted):
    run(tmp_path)
    (tmp_path / "shard-000001.arrow").unlink()
    run(tmp_path)
    assert shards(tmp_path) == uninterrupted


def test_more_prompts_continue_a_folder(tmp_path, uninterrupted):
    run(tmp_path, PROMPTS[:10])
    run(tmp_path)
    assert verify(tmp_path) == []
    assert [p.text for p in Npd(tmp_path).prompts()] == [p.text for p in PROMPTS]


def test_batch_size_is_no_setting_but_the_rest_is(tmp_path):
    run(tmp_path, PROMPTS[:2])
    run(tmp_path, config=dataclasses.replace(CONFIG, batch_size=2))
    assert len(Npd(tmp_path)) == 18
    changes = {
        "seed": 1,
        "guidance_scale": 3.0,
        "invert_at": "published",
        "redenoise_steps": 9,
        "num_inference_steps": 9,
        "store_source": True,
    }
    for name, value in changes.items():
        with pytest.raises(ConfigError, match=name):
            run(tmp_path, config=dataclasses.replace(CONFIG, **{name: value}))
    with pytest.raises(ConfigError, match="scorers"):
        run(tmp_path, scorers=[Darkness()])
    other = FakePipeline()
    other.denoiser = torch.nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="weights"):
        run(tmp_path, pipeline=other)
    # a default written out is the same setting
    run(tmp_path, config=dataclasses.replace(CONFIG, guidance_scale=2.0, height=32, width=32))


BEFORE = [
    ({}, "e4cf8571f214"),
    ({"guidance_scale": 5.5}, "85cbbd52f3c8"),
    (
        {
            "redenoise_steps": 4,
            "denoise_guidance_scale": 3.5,
            "invert_guidance_scale": 2.0,
            "invert_at": "published",
            "num_inference_steps": 7,
            "height": 32,
        },
        "f315d1a5cc7a",
    ),
    ({"method": "redenoise:rounds=2,steps=4,denoise_guidance_scale=7"}, "e51be5b6c00f"),
]
"""Settings, and the fingerprint that a version recorded which called the two numbers of steps otherwise."""


@pytest.mark.parametrize(("change", "recorded"), BEFORE)
def test_a_data_set_records_what_it_always_did(tmp_path, change, recorded):
    run(tmp_path, PROMPTS[:2], dataclasses.replace(CONFIG, **change))
    settings = Npd(tmp_path).settings
    assert fingerprint(settings) == recorded
    assert settings["sampling_steps"] == change.get("num_inference_steps", 10)
    assert ("method" in settings) == ("method" in change)


def test_the_command_of_before_does_not_continue_with_another_sampler(tmp_path):
    """It said `num_inference_steps` for the grid of re-denoise, and `sampling_steps` for the sampler's."""
    run(tmp_path, PROMPTS[:2], dataclasses.replace(CONFIG, redenoise_steps=4, num_inference_steps=10))
    told = r"redenoise_steps \(recorded as num_inference_steps\): 4 there, 10 here; "
    told += r"num_inference_steps \(recorded as sampling_steps\): 10 there, 4 here"
    with pytest.raises(ConfigError, match=told):
        run(tmp_path, config=dataclasses.replace(CONFIG, num_inference_steps=4))


def test_a_hub_id_is_recorded_and_decides_nothing(tmp_path):
    hub, folder = FakePipeline(), FakePipeline()
    hub.name, folder.name = "owner/model", str(tmp_path / "model")
    for first, then in ((hub, folder), (folder, hub)):  # a folder made before the id was recorded looks like the second
        out = tmp_path / first.name.replace("/", "-")
        run(out, PROMPTS[:5], pipeline=first)
        run(out, pipeline=then)
        npd = Npd(out)
        assert len(npd) == len(PROMPTS) and npd.settings.get("model") == ("owner/model" if first is hub else None)
        assert npd.settings["pipeline"] == "model"


def test_what_fails_is_rejected_with_its_reason_and_the_rest_goes_on(tmp_path):
    texts = ["fine 0", "boom", "nan", "fine 1", "crowd", "unjudged", "fine 2", "nan again"]
    progress = run(tmp_path, [Prompt(text) for text in texts])
    npd = Npd(tmp_path)
    reasons = {
        p.text: reason for p, reason in zip(npd.prompts(), npd.table().column("rejected").to_pylist(), strict=True)
    }
    assert reasons == {
        "fine 0": "",
        "boom": "RuntimeError: the text encoder broke",
        "nan": "target noise is not finite",
        "fine 1": "",
        "crowd": "",  # fails in a batch only
        "unjudged": "score of brightness is not finite",
        "fine 2": "",
        "nan again": "target noise is not finite",
    }
    assert progress[-1].rejected == 4
    assert npd.select().tolist() == [0, 3, 4, 6]
    assert verify(tmp_path) == []
    assert len(run(tmp_path, [Prompt(text) for text in texts])) == 1  # rejected pairs are not tried again


def test_a_run_in_which_everything_fails_records_nothing(tmp_path):
    pipeline = FakePipeline()
    pipeline.sample = lambda *args, **kwargs: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(NoisepromptError, match="ZeroDivisionError"):
        run(tmp_path, config=dataclasses.replace(CONFIG, batch_size=4), pipeline=pipeline)
    assert shards(tmp_path) == {}


def test_nothing_is_drawn_where_nothing_is_scored(tmp_path):
    pipeline, config = FakePipeline(), dataclasses.replace(CONFIG, scored_share=0.0)
    done = run(tmp_path, config=config, pipeline=pipeline, scorers=[])
    assert not {"sample", "rest"} & {name for name, _ in pipeline.calls}
    npd, scored = Npd(tmp_path), tmp_path / "scored"
    run(scored)
    assert npd.table().column_names == [c for c in Npd(scored).table().column_names if not c.startswith("score_")]
    np.testing.assert_array_equal(npd.targets(range(18)), Npd(scored).targets(range(18)))
    assert verify(tmp_path) == [] and npd.usable().all() and not npd.scored().any()
    assert (done[-1].scored, done[-1].kept_by_scorer, npd.settings["scored_share"]) == (0, {}, 0.0)
    assert npd[0].scores == {} and npd.select().tolist() == [*range(18)]
    with pytest.raises(UnknownNameError, match="no scores of brightness"):
        npd.select(PairFilter(("brightness",)))


def of_the_sample(pair: str, share: float) -> bool:
    return int.from_bytes(hashlib.sha256(pair.encode()).digest()) / 2**256 < share


def test_a_sample_is_scored_which_is_a_function_of_the_pair(tmp_path, uninterrupted):
    run(tmp_path / "all")
    whole, config = Npd(tmp_path / "all"), dataclasses.replace(CONFIG, scored_share=0.4)
    pipeline = FakePipeline()
    done = run(tmp_path / "some", config=config, pipeline=pipeline)
    npd = Npd(tmp_path / "some")
    ids = npd.table().column("id").to_pylist()
    wanted = [of_the_sample(one, 0.4) for one in ids]
    assert 0 < sum(wanted) < 18 and npd.scored().tolist() == wanted
    assert sum(n for name, n in pipeline.calls if name in ("sample", "rest")) == 2 * sum(wanted)
    for i, one in enumerate(wanted):
        assert npd[i].scores == (whole[i].scores if one else {})
        np.testing.assert_array_equal(npd[i].target, whole[i].target)
    assert done[-1].scored == sum(wanted) and done[-1].kept_by_scorer["brightness"] <= sum(wanted)
    assert verify(tmp_path / "some") == []
    assert shards(tmp_path / "all") == uninterrupted  # what is scored whole records what it always did

    run(tmp_path / "other", PROMPTS[9:], dataclasses.replace(config, batch_size=2))
    run(tmp_path / "other", PROMPTS, config)  # in another order, other batches, continued
    other = Npd(tmp_path / "other")
    assert {p.id: p.scores for p in other} == {p.id: p.scores for p in npd}


def test_scorers_and_their_share_fit_each_other(tmp_path):
    none = dataclasses.replace(CONFIG, scored_share=0.0)
    with pytest.raises(ConfigError, match=r"scorers \[\].* or scored_share 0"):
        list(collect(FakePipeline(), PROMPTS, [], CONFIG, tmp_path))
    with pytest.raises(ConfigError, match="scorers brightness with scored_share 0"):
        run(tmp_path, config=none)
    with pytest.raises(ConfigError, match=r"scored_share 1\.5.*from 0 to 1"):
        dataclasses.replace(CONFIG, scored_share=1.5)
    with pytest.raises(ConfigError, match="scored_share with pictures 'drawn'"):
        CollectConfig(pictures="drawn", scored_share=0.5)
    assert shards(tmp_path) == {}
    run(tmp_path)
    with pytest.raises(ConfigError, match="scored_share"):
        run(tmp_path, config=dataclasses.replace(CONFIG, scored_share=0.5))


def test_seeds():
    config = CollectConfig(seed=3, seeds_per_prompt=5, seed_range=(10, 15))
    for i in range(20):
        seeds = pair_seeds(Prompt(f"text {i}"), config)
        assert len(set(seeds)) == 5
        assert all(10 <= seed <= 15 for seed in seeds)
        assert seeds[0] == prompt_seed(3, Prompt(f"text {i}").id, (10, 15))
        assert seeds[:2] == pair_seeds(Prompt(f"text {i}"), dataclasses.replace(config, seeds_per_prompt=2))
    assert pair_seeds(Prompt("text", seed=0), config)[0] == 0
    with pytest.raises(InputError, match="1 to 6"):
        pair_seeds(Prompt("text"), dataclasses.replace(config, seeds_per_prompt=7))
    with pytest.raises(InputError, match="seed -1"):
        pair_seeds(Prompt("text", seed=-1), config)


def test_the_plan_holds_no_pair_twice():
    prompts = [Prompt("a", seed=1), Prompt("b"), Prompt("a", seed=1), Prompt("a", seed=2)]
    assert [(p.text, seed) for p, seed in plan(prompts, CollectConfig())][::2] == [("a", 1), ("a", 2)]
    assert len(plan(prompts, CollectConfig())) == 3
    with pytest.raises(InputError):
        plan([], CollectConfig())
    with pytest.raises(InputError):
        plan(prompts, CollectConfig(batch_size=0))


def test_a_slow_run_commits_short_shards(tmp_path, uninterrupted, monkeypatch):
    monkeypatch.setattr("noiseprompt.stages.collect.work.COMMIT_SECONDS", 0.0)
    generator = collect(FakePipeline(), PROMPTS, [Brightness()], CONFIG, tmp_path)
    next(generator), next(generator)
    assert len(Npd(tmp_path)) == 3
    list(generator)
    assert shards(tmp_path) == uninterrupted


@pytest.mark.parametrize(("typed", "meant"), [("draw", "drawn"), ("Drawn", "drawn"), ("shape", "shapes")])
def test_a_source_of_pictures_that_is_misspelt_is_named(typed: str, meant: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"{typed}': it is not there\..*id you mean {meant}\?"):
        CollectConfig(pictures=typed, seeds_per_prompt=8)
    (tmp_path / typed).mkdir()
    assert CollectConfig(pictures=typed).of_files
