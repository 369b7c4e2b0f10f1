"""Stable Diffusion 2.1, SDXL and its relatives from the command line, on folders with the names people know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from diffusers import DPMSolverMultistepScheduler

from noiseprompt.cli import main
from noiseprompt.npd import Npd
from tests import tiny
from tests.pipelines.families.stages import run_stages


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def sdxl(root) -> Path:
    return tiny.save(tiny.stable_diffusion_xl(), root / "stable-diffusion-xl-base-1.0")


@pytest.fixture(scope="module")
def npnet(sdxl, root) -> Path:
    """An NPNet that went through collect and train with SDXL."""
    (root / "sdxl").mkdir()
    run_stages(sdxl, root / "sdxl", "stable-diffusion-xl")
    return root / "sdxl" / "npnet" / "best"


def test_sdxl(npnet, root):
    settings = Npd(root / "sdxl" / "npd").settings
    assert (settings["denoise_guidance_scale"], settings["invert_guidance_scale"]) == (5.5, 1.0)
    assert (settings["num_inference_steps"], settings["guidance_scale"]) == (10, 5.5)


def test_stable_diffusion_2_1_predicts_v(root, tmp_path):
    folder = tiny.save(tiny.stable_diffusion(prediction_type="v_prediction"), root / "stable-diffusion-2-1")
    run_stages(folder, tmp_path, "stable-diffusion")


def test_dreamshaper_turbo(root, tmp_path, capsys):
    pipe = tiny.stable_diffusion_xl()
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    run_stages(tiny.save(pipe, root / "dreamshaper-xl-v2-turbo"), tmp_path, "stable-diffusion-xl")
    settings = Npd(tmp_path / "npd").settings
    assert (settings["denoise_guidance_scale"], settings["num_inference_steps"]) == (3.5, 4)
    assert settings["guidance_scale"] == 3.5
    run = json.loads((tmp_path / "images" / "run.json").read_text())
    assert (run["settings"]["guidance_scale"], run["scheduler"]) == (3.5, "DPMSolverMultistepScheduler")
    assert "taken for DreamShaper-xl-v2-turbo by its name: guidance 3.5, 4 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "steps"), [("sdxl-turbo", 1), ("SDXL-Lightning-4step", 4), ("lcm-sdxl", 4), ("pcm-sdxl", 4)]
)
def test_guidance_free_relatives_take_an_npnet_and_no_redenoise(npnet, sdxl, root, tmp_path, capsys, name, steps):
    folder = root / name
    folder.symlink_to(sdxl, target_is_directory=True)
    options = [f"--model={folder}", "--device=cpu", "--seeds=0-1"]
    drawing = [f"--methods=standard,npnet:path={npnet}", f"--out={tmp_path / 'images'}"]
    assert main(["generate", "a red cube", *options, *drawing]) == 0
    run = json.loads((tmp_path / "images" / "run.json").read_text())
    assert run["settings"]["guidance_scale"] == 1 and run["settings"]["num_inference_steps"] == steps
    capsys.readouterr()
    assert main(["generate", "a red cube", *options, "--methods=redenoise", f"--out={tmp_path / 'other'}"]) == 2
    said = capsys.readouterr().err
    assert "is sampled without guidance): there is no guidance gap to work with" in said
    stronger = ["--methods=redenoise:denoise_guidance_scale=2", f"--out={tmp_path / 'more'}"]
    assert main(["generate", "a red cube", *options, *stronger]) == 0
