"""The command line: every command parses, bad input ends in one line, and the whole story runs from a recipe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from jsonargparse import ArgumentParser
from PIL import Image

from noiseprompt.cli import entry as cli
from noiseprompt.cli import main
from noiseprompt.cli.commands import _with
from noiseprompt.cli.entry import build_parser
from noiseprompt.cli.table import COMMANDS, Command, resolve
from noiseprompt.methods.base import MethodSpec
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNetConfig, build
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.stages.evaluate.plan import all_methods
from tests import tiny
from tests.npnet.test_published import published_file
from tests.pipelines.families import tiny_hunyuan


def every_command() -> list[list[str]]:
    found = []
    for name, command in COMMANDS.items():
        found += [[name]] if isinstance(command, Command) else [[name, inner] for inner in command]
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained world on disk: the commands meet the same loading code as for a 7 GB model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "world"
    build_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser([*words, "--help"]).parse_args([*words, "--help"])
    assert stop.value.code == 0
    assert "--config" in capsys.readouterr().out


def settings_of_commands() -> list[str]:
    commands = [one for entry in COMMANDS.values() for one in (entry.values() if isinstance(entry, dict) else [entry])]
    return sorted({command.settings for command in commands} - {""})


@pytest.mark.parametrize("record", settings_of_commands())
def test_every_setting_has_a_help_text(record: str) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(resolve(record), None)
    assert not [action.dest for action in parser._actions if not action.help]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("generate x --out {tmp}/o --model {tmp}/nothing", "nothing"),
        ("generate x --out {tmp}/o --methods standrad", "Did you mean 'standard'"),
        ("generate x --out {tmp}/o --seeds 5-2", "seeds '5-2'"),
        ("generate x --out {tmp}/o --strength .inf", "strength inf"),
        ("generate x --out {tmp}/o --model {tmp}/nothing --methods ,", "no names"),
        ("generate x --out {tmp}/o --model {tmp}/nothing --batch_size 0", "batch_size 0"),
        ("generate x --out {tmp}/o --model {tmp}/nothing --num_inference_steps 0", "num_inference_steps 0"),
        ("generate hpdv2:{tmp}/none.json --out {tmp}/o", "none.json"),
        ("evaluate --out {tmp}/o --model {model} --num_inference_steps 0 --scorers+ shapes-checker", "steps 0"),
        ("collect --prompts {tmp}/none.txt --out {tmp}/o", "none.txt"),
        ("evaluate --out {tmp}/o --prompts {tmp}/none.csv --scorers+ shapes-checker", "none.csv"),
        ("evaluate --out {tmp}/o --model {model} --scorers+ beauty", "unknown scorer 'beauty'"),
        ("train --npd {tmp}/none --out {tmp}/o", "none"),
        ("npd info {tmp}/none", "none"),
        ("import {tmp}/none.pth {tmp}/o", "none.pth"),
        ("run {tmp}/none.yaml", "none.yaml"),
        ("report {tmp}", "evaluat"),
    ],
)
def test_bad_input_ends_in_one_message(
    words: str, message: str, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([w.format(tmp=tmp_path, model=model) for w in words.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("noiseprompt: error:") == 1 and message in error and "Traceback" not in error


def recipe(model: str) -> dict:
    return {
        "model": model,
        "collect": {
            "prompts": "shapes:train",
            "n": 24,
            "num_inference_steps": 2,
            "batch_size": 8,
            "shard_size": 8,
            "scorers": ["shapes-checker"],
        },
        "train": {
            "architecture": "tokens",
            "sizes": {"width": 16, "depth": 1, "heads": 2},
            "epochs": 1,
            "batch_size": 8,
            "validation_share": 0.2,
        },
        "evaluate": {
            "prompts": "shapes:test",
            "n": 4,
            "num_inference_steps": 2,
            "scorers": ["shapes-checker"],
            "methods": "standard,redenoise,npnet:path={npnet},npnet:path={npnet},strength=0",
        },
    }


def test_a_recipe_runs_collect_train_and_evaluate(model: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe(model)))
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0
    assert len(Npd(tmp_path / "run" / "npd")) == 24
    assert (tmp_path / "run" / "npnet" / "best" / "model.safetensors").exists()
    lines = (tmp_path / "run" / "evaluation" / "results.jsonl").read_text().splitlines()
    results = [json.loads(line) for line in lines]
    assert len(results) == 4 * 4
    by_method: dict[str, dict] = {}
    for r in results:
        by_method.setdefault(r["method"], {})[r["prompt_id"], r["seed"]] = r["scores"]["shapes-checker"]
    plain, *_, silent = by_method.values()
    assert plain == silent  # strength 0 draws the standard image
    assert (tmp_path / "run" / "evaluation" / "report.html").exists()
    before = (tmp_path / "run" / "npnet" / "best" / "model.safetensors").stat().st_mtime_ns
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0  # complete: passed over
    assert (tmp_path / "run" / "npnet" / "best" / "model.safetensors").stat().st_mtime_ns == before


def test_a_recipe_with_an_unknown_option_is_refused_before_anything_runs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recipe(model)
    data["evaluate"]["guidance"] = 3
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(data))
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 2
    assert "no option guidance" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


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


# ------------------------------------------------------------------------------- errors a user meets, in a real process


def in_a_process(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "noiseprompt", *words], capture_output=True, text=True, timeout=300)


def test_an_error_is_all_that_is_printed(model: str, tmp_path: Path) -> None:
    """A whole process: nothing of the libraries above it, no bar, no traceback."""
    methods = "standard,redenoise:denoise_guidance_scale=1"
    done = in_a_process(
        "generate", "a red circle", "--model", model, "--out", str(tmp_path / "o"), "--methods", methods
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("noiseprompt: error: re-denoise with guidance scale 1")
    assert done.stderr.count("\n") == 1 and "no guidance gap" in done.stderr
    assert not (tmp_path / "o").exists()


def one_message(capfd: pytest.CaptureFixture[str], words: str) -> str:
    assert main(words.split()) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("noiseprompt: error: ")
    return said.err


def test_an_unknown_family(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    index = json.loads((Path(model) / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "AudioLDMPipeline"}))
    assert "AudioLDMPipeline" in one_message(capfd, f"generate circle --model {folder} --out {tmp_path / 'o'}")


def saved_npnet(folder: Path, **changes: Any) -> Path:
    sizes: dict[str, Any] = {"latent_shape": (4, 16, 16), "text_length": 12, "text_width": 128}
    torch.manual_seed(0)
    net = build(NPNetConfig("tokens", **{**sizes, "width": 16, "depth": 1, "heads": 2, **changes}))
    for parameter in net.parameters():  # a fresh network changes nothing
        torch.nn.init.normal_(parameter, std=0.2)
    return net.save_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"family": "hunyuan-dit", "denoiser": "Hunyuan-DiT"}, "", "made for Hunyuan-DiT"),
        ({"text_width": 2048}, "", "(12, 2048), the shape this NPNet was made for"),
        ({}, "--height 128", "use re-denoise, or an NPNet trained for this one; noise is never resized"),
        ({}, "--height 100", "multiples of 8"),
    ],
)
def test_a_wrong_npnet_or_size(
    changes: dict[str, Any], options: str, message: str, model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    net = saved_npnet(tmp_path / "net", **changes)
    words = f"generate circle --model {model} --out {tmp_path / 'o'} --methods standard,npnet:path={net} {options}"
    assert message in one_message(capfd, words)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("generate circle --out {tmp}/o --model {model} --methods npnet:path={tmp}/none", "none"),
        ("generate circle --out {tmp}/o --model {model} --methods npnet", "npnet:path="),
        ("generate circle --out {tmp}/o --model {model} --unet {tmp}/none", "no folder"),
        ("generate circle --out {tmp}/o --model {model} --lora {tmp}/none.safetensors", "none.safetensors"),
        ("generate circle --out {tmp}/o --model {model} --control_image {tmp}/none.png", "none.png"),
        ("generate circle --out {tmp}/o --model {model} --scheduler euler-ancestrl", "Did you mean 'euler-ancestral'"),
        ("generate circle --out {tmp}/o --model {model} --schedule ays", "DDIMScheduler, which takes no timesteps"),
        ("generate circle --out {tmp}/o --model {model} --offload model --device cpu", "accelerator"),
        ("evaluate --out {tmp}/o --model {model} --long_prompts cut --scorers+ shapes-checker", "truncate, average"),
        ("collect --prompts shapes:test --out {tmp}/o --model {model} --dtype half --scorers+ shapes-checker", "half"),
    ],
)
def test_wrong_options_end_in_one_message(
    words: str, message: str, tmp_path: Path, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert message in one_message(capfd, words.format(tmp=tmp_path, model=model))


# -------------------------------------------------------------------------------------- warnings, figures, fingerprints


def test_warnings_are_one_line_each(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = saved_npnet(tmp_path / "net")
    long = " and ".join(["a red circle above a blue ring"] * 3)
    words = ["generate", long, "--model", model, "--out", str(tmp_path / "o"), "--num_inference_steps", "1"]
    assert main([*words, "--methods", f"standard,npnet:path={net},strength=600", "--seeds", "0-3"]) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "warning" in line.lower()]
    assert len(lines) == 2 and all("noiseprompt: warning: " in line for line in lines)
    assert "12 tokens" in lines[0] and "is cut" in lines[0]
    assert "not like unit Gaussian noise" in lines[1]


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


# ------------------------------------------------------------------------------------------------- a published NPNet


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
    pipe = tiny_hunyuan.hunyuan_dit()
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


def test_options_may_be_spelled_with_dashes() -> None:
    assert cli._underscored("--long-prompts=a-b") == "--long_prompts=a-b"
    assert cli._underscored("a-b") == "a-b" and cli._underscored("-v") == "-v"


def test_generate_draws_the_prompts_of_a_published_set(model: str, tmp_path: Path) -> None:
    (tmp_path / "photo.json").write_text('["a red circle", "two blue rings"]')
    words = f"generate hpdv2:{tmp_path} --model {model} --methods standard --seeds 3 --num_inference_steps 1"
    assert main([*words.split(), "--out", str(tmp_path / "o")]) == 0
    images = json.loads((tmp_path / "o" / "run.json").read_text())["images"]
    assert [(i["prompt"], i["seed"]) for i in images] == [("a red circle", 3), ("two blue rings", 3)]


def test_options_of_the_command_are_added_where_a_method_does_not_name_its_own() -> None:
    """Words inside a path are no options; "all" obeys the flags too; labels are the canonical ones."""
    texts = ["standard", "npnet:path=runs/renormalized/no_text/best", "npnet:strength=1,renormalize=false", "nlg:swap"]
    specs = _with([MethodSpec.parse(text) for text in texts], strength=1.5, renormalize=True, no_text=True)
    assert [spec.label for spec in specs] == [
        "standard",
        "npnet:no_text,path=runs/renormalized/no_text/best,strength=1.5,renormalize",
        "npnet:no_text",
        "nlg:strength=1.5,renormalize,swap",
    ]
    assert specs == [MethodSpec.parse(spec.label) for spec in specs]
    labels = [spec.label for spec in _with(all_methods(), no_text=True)]
    assert {label for label in labels if label.startswith("npnet")} == {"npnet:no_text", "npnet:no_text,swap"}
    assert "redenoise" in labels and [s.label for s in _with(all_methods())] == [s.label for s in all_methods()]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("generate", ("required: prompt, --out", "noiseprompt generate --help")),
        ("shapes train", ("required: --out",)),
        ("generate x --out o --colour red", ("--colour red", "noiseprompt generate --help")),
        (
            "generate x --out o --num_inference_steps many",
            ("_inference_steps 'many'", "Expected a whole number. "),
        ),
        ("nonsense", ("'nonsense'", "'generate'", "noiseprompt --help")),
    ],
)
def test_a_wrong_argument_ends_in_one_line(words: str, parts: tuple[str, ...], capfd: pytest.CaptureFixture) -> None:
    message = one_message(capfd, words)
    assert all(part in message for part in parts), message
