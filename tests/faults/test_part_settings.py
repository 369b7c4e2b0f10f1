"""Settings of a model's parts that diffusers would take for something else without a word are refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import main
from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.part_settings import check_settings
from noiseprompt.pipelines import Pipeline
from tests import tiny_flow

GONE = object()


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "sd"))


def write(path: Path, **changes: Any) -> None:
    told = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not GONE}))


SCHEDULER, UNET, TEXT = "scheduler/scheduler_config.json", "unet/config.json", "text_encoder/config.json"
WRONG: list[tuple[str, str, Any, str]] = [
    (SCHEDULER, "beta_end", GONE, "says nothing of beta_end: scheduler of .* would draw with numbers of its own"),
    (SCHEDULER, "num_train_timesteps", GONE, "says nothing of num_train_timesteps"),
    (SCHEDULER, "beta_end", 1, "has beta_end 1. Expected a number between 0 and 1"),
    (SCHEDULER, "clip_sample", 3, "has clip_sample 3. Expected true or false"),
    (SCHEDULER, "thresholding", 0.5, "has thresholding 0.5. Expected true or false"),
    (SCHEDULER, "clip_sample_range", "abc", "has clip_sample_range 'abc'. Expected a number"),
    (SCHEDULER, "prediction_type", "noise", "has prediction_type 'noise'. Expected"),
    (SCHEDULER, "timestep_spacing", "even", "has timestep_spacing 'even'. Expected"),
    (UNET, "flip_sin_to_cos", None, "has flip_sin_to_cos null. Expected true or false"),
    (UNET, "center_input_sample", [1, 2], "has center_input_sample .1, 2.. Expected true or false"),
    (UNET, "norm_eps", 3, "has norm_eps 3. Expected"),
    (UNET, "freq_shift", float("inf"), "has freq_shift inf. Expected a finite number"),
    (UNET, "act_fn", 7, "has act_fn 7. Expected a text"),
    (UNET, "down_block_types", 0.5, "has down_block_types 0.5. Expected a text"),
    (UNET, "attention_head_dim", -1, "asks for attention_head_dim -1. Expected none below 0"),
    (UNET, "cross_attention_dim", 32.5, r"unet of .* does not load with cross_attention_dim 32\.5 in"),
    (UNET, "attention_head_dim", 10**9, "asks for attention_head_dim 1000000000. Expected 100,000,000 at most"),
    (UNET, "transformer_layers_per_block", [1], r"does not load with transformer_layers_per_block \[1\] in"),
    (UNET, "downsample_padding", -1, "asks for downsample_padding -1. Expected none below 0"),
    (UNET, "time_cond_proj_dim", "wide", "does not load with time_cond_proj_dim 'wide' in its config.json"),
    (UNET, "conv_in_kernel", [1, 2, 3], r"unet of .* does not load with conv_in_kernel .1, 2, 3. in"),
    ("vae/config.json", "up_block_types", GONE, "has 4 block_out_channels, 4 down_block_types, 1 up_block_types"),
    (SCHEDULER, "thresholding", [], "has thresholding ... Expected some, as false"),
    ("vae/config.json", "latents_mean", [0.0] * 5, "has 5 latents_mean of 4 channels. Expected one for each"),
    (TEXT, "hidden_size", 65536, r"describes a CLIPTextModel of [\d,]+ weights, and beside it lie [\d,]+ bytes"),
    (TEXT, "eos_token_id", 49407, "text_encoder of .* has eos_token_id 49407. Expected one of its 78 words"),
    (TEXT, "num_attention_heads", -4, "asks for num_attention_heads -4"),
    (TEXT, "layer_norm_eps", 0.5, "has layer_norm_eps 0.5"),
    (TEXT, "attention_dropout", "abc", "does not load with attention_dropout 'abc' in its config.json"),
    ("model_index.json", "feature_extractor", None, "gives feature_extractor as null. Expected a library and a class"),
]


@pytest.mark.parametrize(("file", "name", "value", "says"), WRONG)
def test_a_setting_that_none_has_is_named(file: str, name: str, value: Any, says: str, folder: Path) -> None:
    write(folder / file, **{name: value})
    with pytest.raises(ModelLoadError, match=says) as told:
        Pipeline.load(folder)
    assert "\n" not in str(told.value)


SOUND: list[tuple[str, str, Any]] = [
    (SCHEDULER, "clip_sample", 0),
    (SCHEDULER, "prediction_type", GONE),  # as Stable Diffusion 1's
    (SCHEDULER, "timestep_spacing", GONE),
    (SCHEDULER, "trained_betas", None),
    (UNET, "attention_head_dim", [4, 4]),
    (UNET, "only_cross_attention", [False, False]),
    (UNET, "upcast_attention", None),
    (UNET, "mid_block_scale_factor", 1.0),
    (UNET, "of_a_later_release", float("inf")),
    (TEXT, "bos_token_id", 0),
]


@pytest.mark.parametrize(("file", "name", "value"), SOUND)
def test_settings_as_published_models_have_them_pass(file: str, name: str, value: Any, folder: Path) -> None:
    write(folder / file, **{name: value})
    Pipeline.load(folder)


def test_the_doctor_says_what_every_command_says(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor", "--model", str(folder)]) == 0
    assert "  ok      loads: " in capsys.readouterr().out
    write(folder / SCHEDULER, clip_sample=3)
    assert main(["doctor", "--model", str(folder)]) == 2
    assert "  MISSING loads: " in (said := capsys.readouterr().out) and "has clip_sample 3" in said


def test_a_checkpoint_in_one_file_is_told_how_to_become_a_folder(folder: Path) -> None:
    file = next((folder / "unet").glob("*.safetensors"))
    with pytest.raises(ModelLoadError, match=r"is a file\. Expected a folder .*from_single_file"):
        Pipeline.load(file)


def test_a_variant_that_no_part_has_is_named(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"has no weights of the variant fp16\. .* Leave the variant out"):
        Pipeline.load(folder, variant="fp16")


def test_an_autoencoder_of_other_channels_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    tiny_flow.flow_vae(16).save_pretrained(folder / "vae")
    with pytest.raises(ModelLoadError, match=r"unet of .* takes latents of 4 channels\. Expected 16, of its vae"):
        Pipeline.load(folder)


def test_null_in_the_place_of_no_bound_is_named(tmp_path: Path) -> None:
    from diffusers import DPMSolverMultistepScheduler

    DPMSolverMultistepScheduler().save_pretrained(tmp_path)
    check_settings(tmp_path, DPMSolverMultistepScheduler, "it")
    write(tmp_path / "scheduler_config.json", lambda_min_clipped=None)
    with pytest.raises(ModelLoadError, match=r"has lambda_min_clipped null\. Expected a number"):
        check_settings(tmp_path, DPMSolverMultistepScheduler, "it")
