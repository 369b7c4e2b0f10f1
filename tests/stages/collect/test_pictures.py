"""Pictures as targets: what is stored of each, resumption after a kill, bad pictures, settings that do not fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError, StoreError
from noiseprompt.core.types import Prompt
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npd import Npd, PairFilter
from noiseprompt.npd.info import info, write_noise_figures
from noiseprompt.npd.verify import verify
from noiseprompt.prompts.captions import load_captioned
from noiseprompt.scorers.base import load_scorers
from noiseprompt.shapes.world import reference_scenes, scene_of
from noiseprompt.stages.collect.collect import pair_seeds
from noiseprompt.stages.collect.pictures import collect_pictures
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.collect.sources import find_pictures, read_source
from tests.npd_fakes import PROMPTS, SHAPE, Brightness, shards
from tests.picture_fakes import CAPTIONS, PicturePipeline, config_of, picture, write_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures") / "folder")


def run(folder: Path | str, out: Path, scorers: Any = (), pipeline: Any = None, listed: Any = None, **changed: Any):
    listed = load_captioned(folder) if listed is None else listed
    return list(collect_pictures(pipeline or PicturePipeline(), listed, scorers, config_of(folder, **changed), out))


def means(images: np.ndarray) -> np.ndarray:
    """The latents of the fake autoencoder, in numpy."""
    blocks = images[..., :2].astype(np.float64).reshape(-1, 4, 8, 4, 8, 2).mean((2, 4))
    return blocks.transpose(0, 3, 1, 2) / 127.5 - 1


def test_captioned_pictures_become_latents_with_their_scores_and_no_source(folder: Path, tmp_path: Path) -> None:
    pipeline = PicturePipeline()
    progress = run(folder, tmp_path, [Brightness()], pipeline)
    npd = Npd(tmp_path)
    assert progress[-1].done == len(npd) == 14 and npd.pictures and npd.latent_shape == SHAPE
    assert [prompt.text for prompt in npd.prompts()] == CAPTIONS
    assert npd.prompt_rows().tolist() == [i // 2 for i in range(14)]
    images = np.stack([picture(i) for i in range(14)])
    np.testing.assert_allclose(npd.targets(range(14)), means(images), atol=1e-3)
    scores = npd.scores()["brightness"]
    assert np.isnan(scores[:, 0]).all()
    np.testing.assert_allclose(scores[:, 1], images.mean((1, 2, 3)))
    assert npd[3].source is None and len(set(npd.seeds().tolist())) == 14
    assert {name for name, _ in pipeline.calls} == {"encode", "image"}  # no denoiser
    assert verify(tmp_path) == []
    write_noise_figures(tmp_path)
    assert not (tmp_path / "noise.json").exists()
    told = info(tmp_path)
    assert told["scores"] == {"brightness": {"target": pytest.approx(images.mean())}}
    assert told["settings"]["pictures"] == "files" and str(folder) not in str(told["settings"])
    with pytest.raises(InputError, match="holds pictures"):
        npd.sources([0])


def test_kill_9_then_the_same_command_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "whole")
    parts = tmp_path / "parts"
    command = [sys.executable, "-m", "tests.picture_fakes", str(folder), str(parts)]
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    while not list(parts.glob("*.arrow")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(Npd(parts)) < 14
    run(folder, parts)
    assert shards(parts) == shards(tmp_path / "whole")


def test_own_pictures_are_those_of_their_seeds_and_winners_are_chosen_at_reading(tmp_path: Path) -> None:
    run("drawn", tmp_path, [Brightness()], listed=PROMPTS[:5], seeds_per_prompt=4, guidance_scale=3.0)
    npd = Npd(tmp_path)
    config = CollectConfig(seeds_per_prompt=4)
    assert npd.seeds().tolist() == [seed for prompt in PROMPTS[:5] for seed in pair_seeds(prompt, config)]
    pipeline = PicturePipeline()
    how = {"guidance_scale": 3.0, "num_inference_steps": 10, "height": 32, "width": 32}
    noise = batch_noise(npd.seeds().tolist(), SHAPE)
    images = pipeline.sample(pipeline.encode([p.text for p in npd.prompts()]), noise, **how)
    np.testing.assert_allclose(npd.targets(range(20)), means(images), atol=1e-3)
    scores = images.mean((1, 2, 3)).reshape(5, 4)
    best = npd.select(PairFilter(("brightness",), best_share=0.25)).reshape(5)
    assert (scores[np.arange(5), best % 4] == scores.max(1)).all() and (best // 4 == np.arange(5)).all()
    above = np.flatnonzero((scores > scores.mean(1, keepdims=True) + 0.1).ravel())
    assert npd.select(PairFilter(("brightness",), margin=0.1)).tolist() == above.tolist() != []
    assert npd.select(PairFilter(("brightness",), least_score=126.0)).tolist() == np.flatnonzero(scores >= 126).tolist()
    assert npd.settings["sampling_steps"] == 10 and "weights" in npd.settings and "fit" not in npd.settings


def test_scenes_of_the_world_show_their_prompts_each_another_way(tmp_path: Path) -> None:
    class World(PicturePipeline):
        default_size = (64, 64)

        def encode_images(self, images: np.ndarray) -> torch.Tensor:
            return super().encode_images(images[:, ::2, ::2])

    texts = ["a red circle above a blue square", "two green rings"]
    run(
        "shapes",
        tmp_path,
        load_scorers(["shapes-checker"]),
        World(),
        [Prompt(text) for text in texts],
        seeds_per_prompt=6,
    )
    npd = Npd(tmp_path)
    assert (npd.scores()["shapes-checker"][:, 1] == 1).all()
    targets = npd.targets(range(12)).reshape(12, -1)
    assert len(np.unique(targets, axis=0)) == 12
    reference = means(np.stack(list(reference_scenes(texts, 6)))[:, ::2, ::2]).reshape(12, -1)
    assert np.abs(targets[:, None] - reference[None]).max(-1).min() > 1e-2
    with pytest.raises(InputError, match=r"scenes of 'a photo of a dog'.*shapes:train"):
        run("shapes", tmp_path / "other", listed=[Prompt("a photo of a dog")])


@pytest.mark.parametrize(("size", "drawn"), [((64, 96), (64, 96)), ((32, 48), (64, 64))])
def test_scenes_have_the_size_that_is_asked(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    """From the world's own on; smaller pictures are what these are brought to."""
    made = find_pictures(PicturePipeline(), [], CollectConfig(pictures="shapes"), size)  # type: ignore[arg-type]
    (picture,) = made([(Prompt("two green rings"), 3)])
    scene = scene_of("two green rings", 3, drawn)
    assert isinstance(picture, np.ndarray) and picture.shape == (*size, 3) and scene.shape == (*drawn, 3)
    assert np.array_equal(picture, scene) == (size == drawn)


@pytest.mark.parametrize(("fit", "expected"), [("crop", (slice(None), slice(16, 48))), ("stretch", None)])
def test_a_picture_of_another_shape_is_brought_to_the_size(tmp_path: Path, fit: str, expected: Any) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    wide = picture(0, 64)[:32]  # 32 x 64
    Image.fromarray(wide).save(folder / "a.png")
    (folder / "a.txt").write_text("a wide\npicture\n")
    run(folder, tmp_path / "npd", fit=fit)
    npd = Npd(tmp_path / "npd")
    made = wide[expected] if expected else np.asarray(Image.fromarray(wide).resize((32, 32), Image.Resampling.LANCZOS))
    np.testing.assert_allclose(npd.targets([0]), means(made[None]), atol=1e-3)
    assert npd.prompts()[0].text == "a wide picture" and npd.settings["fit"] == fit


def test_one_bad_picture_of_many_is_a_rejected_row_with_its_reason(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder")
    (folder / "004.png").write_bytes(b"no picture")
    (folder / "007.png").write_bytes((folder / "007.png").read_bytes()[:500])
    Image.fromarray(picture(9, 40)).save(folder / "009.png")
    progress = run(folder, tmp_path / "npd", fit="exact")
    npd = Npd(tmp_path / "npd")
    reasons = npd.table().column("rejected").to_pylist()
    assert [i for i, reason in enumerate(reasons) if reason] == [4, 7, 9] and progress[-1].rejected == 3
    assert reasons[4].startswith("004.png is not a readable picture") and reasons[7].startswith("007.png is not")
    assert "40 x 40 pixels. Expected 32 x 32" in reasons[9]
    assert str(tmp_path) not in "".join(reasons)
    assert verify(tmp_path / "npd") == []


def test_pictures_that_all_fail_are_told_before_anything_is_recorded(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", side=40)
    with pytest.raises(NoisepromptError, match=r"in a row fail.*'picture 0'.*40 x 40 pixels"):
        run(folder, tmp_path / "npd", fit="exact")
    assert not list((tmp_path / "npd").glob("*.arrow"))


def test_a_disk_that_fails_is_no_fault_of_the_picture(folder: Path, tmp_path: Path) -> None:
    listed = load_captioned(folder)
    gone = [*listed[:5], type(listed[0])(Prompt("gone"), tmp_path / "gone.png", "gone.png"), *listed[5:]]
    with pytest.raises(StoreError, match="No such file"):
        run(folder, tmp_path / "npd", listed=gone)
    assert len(Npd(tmp_path / "npd")) == 4


@pytest.mark.parametrize(
    ("pictures", "changed", "match"),
    [
        ("folder", {"seeds_per_prompt": 2}, "seeds_per_prompt with pictures 'folder'"),
        ("folder", {"guidance_scale": 2.0}, "guidance_scale with"),
        ("shapes", {"num_inference_steps": 5}, "num_inference_steps with"),
        ("shapes", {"method": "nlg"}, "method with"),
        ("drawn", {"redenoise_steps": 4}, "redenoise_steps with"),
        ("drawn", {"store_source": True}, "store_source with"),
        ("drawn", {"fit": "stretch"}, "fit with"),
        ("folder", {"fit": "fill"}, "crop, stretch, exact"),
    ],
)
def test_settings_without_effect_on_pictures_are_refused(pictures: str, changed: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config_of(pictures, **changed)


def test_prompts_and_captions_are_not_asked_for_together(folder: Path) -> None:
    with pytest.raises(InputError, match=r"shapes:train.*bring their captions"):
        read_source("shapes:train", config_of(folder))
    with pytest.raises(InputError, match=r"nowhere, which is not there\..*ass --pictures drawn or shapes"):
        read_source("shapes:train", config_of("nowhere"))
    with pytest.raises(InputError, match="no prompts"):
        read_source(None, config_of("drawn"))
    assert [one.prompt.text for one in read_source(None, config_of(folder), n=2)] == CAPTIONS[:4]
