"""The command line: bad input ends in one line, whatever it is, and warnings are one line each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseprompt.cli import entry as cli
from noiseprompt.cli import main
from noiseprompt.npnet import NPNetConfig, build
from tests.cli.messages import one_message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("generate x --out {tmp}/o --model {tmp}/nothing", "nothing"),
        ("generate x --out {tmp}/o --methods standrad", "Did you mean 'standard'"),
        ("generate x --out {tmp}/o --seeds 5-2", "seeds '5-2'"),
        ("generate x --out {tmp}/o --strength .inf", "--strength .inf. Expected a finite number"),
        ("generate x --out {tmp}/o --model {tmp}/nothing --methods ,", "no names"),
        ("generate x --out {tmp}/o --model {tmp}/nothing --batch_size 0", "--batch_size 0. Expected"),
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


def test_warnings_are_one_line_each(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = saved_npnet(tmp_path / "net")
    long = " and ".join(["a red circle above a blue ring"] * 3)
    words = ["generate", long, "--model", model, "--out", str(tmp_path / "o"), "--num_inference_steps", "1"]
    assert main([*words, "--methods", f"standard,npnet:path={net},strength=600", "--seeds", "0-3"]) == 0
    said = capfd.readouterr().err.replace(str(tmp_path), "")
    lines = [line for line in said.splitlines() if "warning" in line.lower()]
    assert len(lines) == 2 and all("noiseprompt: warning: " in line for line in lines)
    assert "12 tokens" in lines[0] and "is cut" in lines[0]
    assert "not like unit Gaussian noise" in lines[1]


def test_options_may_be_spelled_with_dashes() -> None:
    assert cli._underscored("--long-prompts=a-b") == "--long_prompts=a-b"
    assert cli._underscored("a-b") == "a-b" and cli._underscored("-v") == "-v"


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
        ("nonsense", ("'nonsense'", "generate,", "noiseprompt --help")),
    ],
)
def test_a_wrong_argument_ends_in_one_line(words: str, parts: tuple[str, ...], capfd: pytest.CaptureFixture) -> None:
    message = one_message(capfd, words)
    assert all(part in message for part in parts), message
