"""Commands: method lists and their options, the model of a data set, noise figures, a published NPNet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from noiseprompt.cli import main
from noiseprompt.cli.common import with_options
from noiseprompt.methods.base import MethodSpec
from noiseprompt.npd import Npd
from noiseprompt.stages.evaluate.plan import all_methods
from tests import tiny
from tests.cli.messages import one_message
from tests.npnet.test_published import published_file
from tests.pipelines.families import tiny_hunyuan


def test_train_takes_the_model_of_the_data_set(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collect = f"collect --prompts shapes:train --n 12 --num_inference_steps 1 --out {tmp_path / 'npd'} --model {model}"
    assert main([*collect.split(), "--scorers+", "shapes-checker"]) == 0
    train = f"train --npd {tmp_path / 'npd'} --out {tmp_path / 'net'} --architecture tokens --epochs 1 --batch_size 4"
    words = [*train.split(), "--sizes", json.dumps({"width": 16, "depth": 1, "heads": 2}), "--validation_share", "0.3"]
    assert main(words) == 2
    assert "was collected with world, which does not load by that name" in capsys.readouterr().err
    assert main([*words, "--model", "shapes"]) == 2  # the same architecture with other weights
    assert "shapes has weights" in capsys.readouterr().err
    assert not (tmp_path / "net").exists()
    monkeypatch.chdir(Path(model).parent)  # where "world" is a folder
    assert main(words) == 0
    assert json.loads((tmp_path / "net" / "best" / "config.json").read_text())["denoiser"] == "world"


def test_collect_stores_the_figures_of_its_noise(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = f"collect --prompts shapes:train --n 4 --num_inference_steps 1 --out {tmp_path / 'npd'} --model {model}"
    assert main([*words.split(), "--scorers+", "shapes-checker", "-v"]) == 0
    figures = json.loads((tmp_path / "npd" / "noise.json").read_text())["target noise"]
    data = Npd(tmp_path / "npd")
    targets, sources = (np.stack([getattr(data[i], name) for i in range(4)]) for name in ("target", "source"))
    assert figures["images"] == 4
    np.testing.assert_allclose(figures["std"], targets.std((0, 2, 3)), atol=1e-4)
    moved = np.linalg.norm((targets - sources).reshape(4, -1), axis=1) / np.linalg.norm(sources.reshape(4, -1), axis=1)
    assert figures["perturbation"] == pytest.approx(moved.mean(), abs=1e-4)
    assert "noise of target noise: mean" in capfd.readouterr().out


def test_a_continued_collection_tells_of_all_its_noise(model: str, tmp_path: Path) -> None:
    def collected(folder: Path, *counts: int) -> str:
        for n in counts:
            words = f"collect --prompts shapes:train --n {n} --num_inference_steps 1 --out {folder} --model {model}"
            assert main([*words.split(), "--scorers+", "shapes-checker", "--batch_size", "2"]) == 0
        return (folder / "noise.json").read_text()

    whole = collected(tmp_path / "whole", 4)
    assert collected(tmp_path / "cut", 2, 4) == whole
    data = Npd(tmp_path / "whole")
    targets = data.targets(range(4)).astype(np.float64)
    figures = json.loads(whole)["target noise"]
    assert figures["images"] == 4
    np.testing.assert_allclose(figures["mean"], targets.mean((0, 2, 3)), atol=2e-5)
    (tmp_path / "whole" / "noise.json").write_text(json.dumps({"target noise": {**figures, "images": 2}}))
    assert collected(tmp_path / "whole", 4) == whole  # figures of a part, as earlier releases left them, are mended


def test_another_sampler_is_another_run(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = f"evaluate --n 2 --num_inference_steps 2 --methods standard --model {model} --out {tmp_path / 'e'}"
    words += " --scorers+ shapes-checker"
    assert main(words.split()) == 0
    capfd.readouterr()
    assert main([*words.split(), "--scheduler", "dpm++"]) == 2
    assert "DPMSolverMultistepScheduler" in capfd.readouterr().err
    words = f"collect --prompts shapes:train --n 2 --num_inference_steps 1 --out {tmp_path / 'npd'} --model {model}"
    words += " --scorers+ shapes-checker"
    assert main(words.split()) == 0
    capfd.readouterr()
    assert main([*words.split(), "--scheduler", "dpm++"]) == 2
    assert "DPMSolverMultistepScheduler" in capfd.readouterr().err


def test_a_published_npnet_is_imported_and_draws_at_its_one_size(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the published layout with a narrow text branch, and a tiny SDXL whose latents are 128 x 128."""
    monkeypatch.setattr(tiny, "TEXT_LENGTH", 77)
    pipe = tiny.stable_diffusion_xl()
    torch.manual_seed(0)
    pipe.vae = AutoencoderKL(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
        latent_channels=4,
        sample_size=256,
    )
    pipe.unet.register_to_config(sample_size=128)
    model = tiny.save(pipe, tmp_path / "sdxl")
    torch.save(published_file(width=64), tmp_path / "sdxl.pth")
    net = tmp_path / "npnet"
    assert main(["import", str(tmp_path / "sdxl.pth"), str(net)]) == 0
    words = f"generate redcube --model {model} --methods standard,npnet:path={net} --seeds 1 --num_inference_steps 1"
    assert main([*words.split(), "--out", str(tmp_path / "o")]) == 0
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert record["noise"][f"npnet:path={net}"]["perturbation"] > 0.1
    images = [np.asarray(Image.open(tmp_path / "o" / i["file"])) for i in record["images"]]
    assert images[0].shape == (256, 256, 3) and (images[0] != images[1]).any()
    capfd.readouterr()
    message = one_message(capfd, f"{words} --out {tmp_path / 'p'} --height 128 --width 128")
    assert "(4, 64, 64)" in message and "(4, 128, 128)" in message
    assert "re-denoise" in message and "an NPNet trained for this one" in message and "never resized" in message


def test_a_published_npnet_draws_with_hunyuan_dit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Latents of 1024 x 1024 pixels through tiny Hunyuan-DiT; random weights are far from noise, which is said."""
    pipe = tiny_hunyuan.hunyuan_dit(sample_size=128)
    model = tiny.save(pipe, tmp_path / "dit")
    width = pipe.text_encoder.config.hidden_size
    torch.save(published_file(width=width), tmp_path / "dit.pth")
    net = tmp_path / "npnet"
    assert main(["import", str(tmp_path / "dit.pth"), str(net)]) == 0
    words = f"generate redcube --model {model} --methods npnet:path={net} --seeds 1 --num_inference_steps 1"
    assert main([*words.split(), "--height=1024", "--width=1024", "--out", str(tmp_path / "o")]) == 0
    assert "not like unit Gaussian noise" in capfd.readouterr().err
    [entry] = json.loads((tmp_path / "o" / "run.json").read_text())["images"]
    assert Image.open(tmp_path / "o" / entry["file"]).size == (1024, 1024)


def test_generate_without_guidance(model: str, tmp_path: Path) -> None:
    """Turbo models are asked for guidance 0: diffusers draws all scales up to 1 without guidance."""
    words = f"generate redcube --model {model} --methods standard --seeds 3 --num_inference_steps 1"
    for scale in ("0", "1"):
        assert main([*words.split(), f"--guidance_scale={scale}", "--out", str(tmp_path / scale)]) == 0
    zero, one = ((tmp_path / scale / "000-3-standard.png") for scale in ("0", "1"))
    np.testing.assert_array_equal(np.asarray(Image.open(zero)), np.asarray(Image.open(one)))


def test_generate_draws_the_prompts_of_a_published_set(model: str, tmp_path: Path) -> None:
    (tmp_path / "photo.json").write_text('["a red circle", "two blue rings"]')
    words = f"generate hpdv2:{tmp_path} --model {model} --methods standard --seeds 3 --num_inference_steps 1"
    assert main([*words.split(), "--out", str(tmp_path / "o")]) == 0
    images = json.loads((tmp_path / "o" / "run.json").read_text())["images"]
    assert [(i["prompt"], i["seed"]) for i in images] == [("a red circle", 3), ("two blue rings", 3)]


def test_options_of_the_command_are_added_where_a_method_does_not_name_its_own() -> None:
    """Words inside a path are no options; "all" obeys the flags too; labels are the canonical ones."""
    texts = ["standard", "npnet:path=runs/renormalized/no_text/best", "npnet:strength=1,renormalize=false", "nlg:swap"]
    specs = with_options([MethodSpec.parse(text) for text in texts], strength=1.5, renormalize=True, no_text=True)
    assert [spec.label for spec in specs] == [
        "standard",
        "npnet:no_text,path=runs/renormalized/no_text/best,strength=1.5,renormalize",
        "npnet:no_text",
        "nlg:strength=1.5,renormalize,swap",
    ]
    assert specs == [MethodSpec.parse(spec.label) for spec in specs]
    labels = [spec.label for spec in with_options(all_methods(), no_text=True)]
    assert {label for label in labels if label.startswith("npnet")} == {"npnet:no_text", "npnet:no_text,swap"}
    assert "redenoise" in labels and [s.label for s in with_options(all_methods())] == [s.label for s in all_methods()]
