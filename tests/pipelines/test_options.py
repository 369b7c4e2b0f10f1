"""Options of a loaded model against diffusers called by hand, and what each wrong one says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, UNet2DConditionModel
from PIL import Image

from noiseprompt.cli import main
from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import (
    InputError,
    MissingDependencyError,
    ModelLoadError,
    ModelMismatchError,
    NoisepromptError,
    UnknownNameError,
)
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline, adapters
from noiseprompt.pipelines.options import ModelOptions
from tests import tiny
from tests.pipelines.families import tiny_controlnet

PROMPTS = ["a red cube", "of an age"]
X = batch_noise([1, 2], (4, 8, 8))
SAME: dict[str, Any] = {"guidance_scale": 3.0, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("model") / "sd")


def drawn(pipeline: Pipeline) -> np.ndarray:
    return pipeline.sample(pipeline.encode(PROMPTS), X, **SAME)


def plain(pipe: Any, **more: Any) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    images = pipe(PROMPTS, latents=X, output_type="np", **SAME, **more).images
    return (images * 255).round().astype(np.uint8)


def by_hand(folder: Path) -> Any:
    """The folder as a user of diffusers loads it."""
    return DiffusionPipeline.from_pretrained(folder, safety_checker=None)


def assert_same(mine: np.ndarray, theirs: np.ndarray) -> None:
    """The same images; convolutions in another memory format round differently."""
    assert np.abs(mine.astype(int) - theirs).max() <= 1


def test_the_scheduler_is_replaced_at_loading(folder: Path) -> None:
    pipe = by_hand(folder)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipeline = Pipeline.load(folder, scheduler="dpm++")
    assert_same(drawn(pipeline), plain(pipe))
    assert pipeline.changes == {"scheduler": {"class": "DPMSolverMultistepScheduler"}}


def test_ays_is_the_default_number_of_steps_of_a_loaded_model(folder: Path) -> None:
    assert Pipeline.load(folder, scheduler="dpm++", schedule="ays").family.num_inference_steps == 10
    with pytest.raises(InputError, match="DDIMScheduler, which takes no timesteps"):
        Pipeline.load(folder, schedule="ays")


# -------------------------------------------------------------------------------------------------------------- U-Net


def other_unet(folder: Path) -> Any:
    torch.manual_seed(5)
    unet = tiny.unet()
    unet.save_pretrained(folder)
    return unet


@pytest.mark.parametrize("inside", [True, False])
def test_another_unet_is_another_model(folder: Path, tmp_path: Path, inside: bool) -> None:
    """From a folder of the U-Net itself, and from one that holds it in unet/, as SDXL-DPO does."""
    other_unet(tmp_path / "dpo" / ("unet" if inside else ""))
    pipeline = Pipeline.load(folder, unet=str(tmp_path / "dpo"))
    pipe = by_hand(folder)
    own = plain(pipe)
    pipe.unet = UNet2DConditionModel.from_pretrained(tmp_path / "dpo" / ("unet" if inside else ""))
    assert_same(drawn(pipeline), plain(pipe))
    assert (drawn(pipeline) != own).mean() > 0.5
    assert pipeline.changes == {"unet": "dpo"}


def test_a_unet_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    tiny.unet(cross_attention_dim=64).save_pretrained(tmp_path / "wide")
    with pytest.raises(ModelMismatchError, match="cross_attention_dim 64 instead of 32"):
        Pipeline.load(folder, unet=str(tmp_path / "wide"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadError, match="holds no U-Net"):
        Pipeline.load(folder, unet=str(tmp_path / "empty"))
    with pytest.raises(ModelLoadError, match="no folder"):
        Pipeline.load(folder, unet=str(tmp_path / "none"))


# --------------------------------------------------------------------------------------------------------------- LoRA


def lora_file(path: Path, seed: int) -> dict[str, torch.Tensor]:
    """Random LoRA weights for the attention of the tiny U-Net, saved as diffusers saves them; returned by name."""
    peft = pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline

    torch.manual_seed(seed)
    unet = tiny.unet()
    unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]))
    weights = peft.get_peft_model_state_dict(unet)
    weights = {name: 0.3 * torch.randn_like(value) for name, value in weights.items()}
    StableDiffusionPipeline.save_lora_weights(path.parent, unet_lora_layers=weights, weight_name=path.name)
    return weights


def merge(unet: Any, weights: dict[str, torch.Tensor], scale: float) -> None:
    """W + scale B A, by hand."""
    modules = dict(unet.named_modules())
    for name, down in weights.items():
        if "lora_A" in name:
            up = weights[name.replace("lora_A", "lora_B")]
            with torch.no_grad():
                modules[name.split(".lora_A")[0]].weight += scale * up @ down


def test_loras_add_their_products_at_their_weights(folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    first, second = lora_file(one, 1), lora_file(two, 2)
    pipeline = Pipeline.load(folder, lora=[f"{one}:0.5", str(two)])
    pipe = by_hand(folder)
    own = plain(pipe)
    merge(pipe.unet, first, 0.5)
    merge(pipe.unet, second, 1.0)
    expected = plain(pipe)
    assert (own != expected).mean() > 0.5
    assert_same(drawn(pipeline), expected)
    record = pipeline.changes["lora"]
    assert [(r["name"], r["weight"]) for r in record] == [("one.safetensors", 0.5), ("two.safetensors", 1.0)]
    assert record[0]["sha256"] != record[1]["sha256"]
    calls = pipeline.denoiser_calls
    pipeline.redenoise(pipeline.encode(PROMPTS), X)
    assert pipeline.denoiser_calls == calls + 6


def test_a_lora_of_a_few_blocks_is_one_and_one_of_none_is_not(folder: Path, tmp_path: Path) -> None:
    """As tools make it that keep the style alone: all other blocks are zeros."""
    from diffusers import StableDiffusionPipeline

    whole, kept = lora_file(tmp_path / "whole.safetensors", 1), tmp_path / "kept.safetensors"
    some = next(name for name in whole if "lora_B" in name)
    few = {name: x if name.split(".lora_")[0] == some.split(".lora_")[0] else 0 * x for name, x in whole.items()}
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=few, weight_name=kept.name)
    pipe = by_hand(folder)
    merge(pipe.unet, few, 1.0)
    assert_same(drawn(Pipeline.load(folder, lora=[str(kept)])), plain(pipe))
    fresh = {name: 0 * x if "lora_B" in name else x for name, x in whole.items()}
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=fresh, weight_name=kept.name)
    with pytest.raises(ModelLoadError, match="changes nothing"):
        Pipeline.load(folder, lora=[str(kept)])


def test_what_is_no_lora_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelLoadError, match=r"a.safetensors is a text"):
        Pipeline.load(folder, lora=[str(tmp_path / "a.safetensors")])
    with pytest.raises(ModelLoadError, match=r"there is no file .*b.safetensors"):
        Pipeline.load(folder, lora=[str(tmp_path / "b.safetensors:0.5")])
    (tmp_path / "c.bin").write_bytes(b"nothing")
    with pytest.raises(InputError, match="may execute code"):
        Pipeline.load(folder, lora=[str(tmp_path / "c.bin")])
    monkeypatch.setattr(adapters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"noiseprompt\[lora\]"):
        Pipeline.load(folder, lora=[str(tmp_path / "a.safetensors")])


# --------------------------------------------------------------------------------------------------------- ControlNet


def test_a_controlnet_follows_its_picture(folder: Path, tmp_path: Path) -> None:
    pipe = tiny_controlnet.stable_diffusion_controlnet()
    pipe.controlnet.save_pretrained(tmp_path / "control")
    picture = Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3))
    picture.save(tmp_path / "edges.png")
    options = {"controlnet": str(tmp_path / "control"), "control_image": str(tmp_path / "edges.png")}
    pipeline = Pipeline.load(folder, **options)
    assert_same(drawn(pipeline), plain(pipe, image=picture))
    assert (drawn(pipeline) != drawn(Pipeline.load(folder))).mean() > 0.5
    assert pipeline.changes["controlnet"] == "control" and len(pipeline.changes["control_image"]) == 12
    with pytest.raises(InputError, match="without a control_image"):
        Pipeline.load(folder, controlnet=options["controlnet"])
    with pytest.raises(ModelLoadError, match=r"no file .*none.png"):
        Pipeline.load(folder, controlnet=options["controlnet"], control_image=str(tmp_path / "none.png"))


# ------------------------------------------------------------------------------------------------------ all of them


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scheduler": "dimm"}, UnknownNameError, "ddim"),
        ({"schedule": "karras"}, InputError, "one of ays"),
        ({"long_prompts": "cut"}, InputError, "truncate, average"),
        ({"offload": "disk"}, InputError, "model, sequential"),
        ({"offload": "model", "device": "cpu"}, InputError, "accelerator"),
        ({"device": "cuda:99"}, InputError, "cuda:99"),
        ({"dtype": "float8"}, InputError, "float32, float16, bfloat16"),
    ],
)
def test_wrong_values_are_named(
    folder: Path, options: dict[str, Any], error: type[NoisepromptError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Pipeline.load(folder, **options)


def test_records_hold_what_changes_results_and_nothing_else() -> None:
    assert ModelOptions(device="cuda", dtype="float16", offload="model").record() == {}
    record = ModelOptions(scheduler="euler", schedule="ays", variant="fp16", long_prompts="average").record()
    assert record == {
        "scheduler": {"class": "EulerDiscreteScheduler"},
        "schedule": "ays",
        "variant": "fp16",
        "long_prompts": "average",
    }


@pytest.mark.parametrize("lora", ["a/b:0.5, c/d", ("a/b:0.5", "c/d"), ["a/b:0.5", " c/d"]])
def test_loras_are_one_text_or_several(lora: Any) -> None:
    options = ModelOptions(lora=lora)
    assert options.lora == options.loras == ("a/b:0.5", "c/d")
    assert to_dict(options)["lora"] == ["a/b:0.5", "c/d"]


def test_no_lora_stays_null_in_what_names_the_folders_of_recipes() -> None:
    for empty in (None, ()):
        assert to_dict(ModelOptions(lora=empty))["lora"] is None and ModelOptions(lora=empty).loras == ()
    with pytest.raises(InputError, match="Leave it out for none"):
        ModelOptions(lora="")


def test_options_are_given_whole_and_changed_by_name(folder: Path) -> None:
    options = ModelOptions(device="cpu", scheduler="euler", long_prompts="average")
    one, other = Pipeline.load(folder, options), Pipeline.load(folder, options, scheduler="dpm++", dtype="bfloat16")
    assert type(one.pipe.scheduler).__name__ == "EulerDiscreteScheduler" and one.dtype == torch.float32
    assert type(other.pipe.scheduler).__name__ == "DPMSolverMultistepScheduler" and other.dtype == torch.bfloat16
    assert one.long_prompts == other.long_prompts == "average"
    assert Pipeline.load(folder).device.type == "cpu"  # wherever this runs
    with pytest.raises(InputError, match=r"option shedule of a model.*schedule"):
        Pipeline.load(folder, shedule="ays")


def test_a_lora_on_the_command_line_is_text(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"generate redcube --model {folder} --out {tmp_path / 'out'} --lora {tmp_path / 'one.safetensors'}:0.5,a/b"
    assert main(words.split()) == 2
    assert f"there is no file {tmp_path / 'one.safetensors'}" in capsys.readouterr().err


def test_one_command_with_all_of_them(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """generate on the command line: the record says what was changed, and the noise is watched."""
    other_unet(tmp_path / "dpo")
    words = f"generate redcube --model {folder} --out {tmp_path / 'out'} --methods standard,redenoise --seeds 1"
    words += f" --scheduler euler-ancestral --unet {tmp_path / 'dpo'} --num_inference_steps 2 --device cpu -v"
    assert main([*words.split(), "--strength", "2", "--renormalize"]) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["changes"] == {"scheduler": {"class": "EulerAncestralDiscreteScheduler"}, "unet": "dpo"}
    assert record["scheduler"] == "EulerAncestralDiscreteScheduler"
    assert record["methods"] == ["standard", "redenoise:strength=2,renormalize"]
    figures = record["noise"]["redenoise:strength=2,renormalize"]
    assert figures["images"] == 1 and figures["perturbation"] > 0 and len(figures["std"]) == 4
    said = capfd.readouterr()
    assert "noise of standard: mean" in said.out
    assert "Loading" not in said.err and "Warning" not in said.err and "deprecated" not in said.err
    assert main([*words.replace("/out", "/again").split(), "--strength", "2", "--renormalize"]) == 0
    for name in (i["file"] for i in record["images"]):  # ancestral noise follows from the seed
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_dtype_and_a_device_may_be_those_of_torch() -> None:
    options = ModelOptions(dtype=torch.float16, device=torch.device("cuda:1"))  # type: ignore[arg-type]
    assert options == ModelOptions(dtype="float16", device="cuda:1")
    with pytest.raises(InputError, match=r"dtype 'int8'\. Expected one of float32"):
        ModelOptions(dtype=torch.int8)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="device a Tensor"):
        ModelOptions(device=torch.zeros(1))  # type: ignore[arg-type]
