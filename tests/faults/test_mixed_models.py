"""Parts of two models in one folder, schedules that are none, LoRAs of which a part fits, the hub offline."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from noiseprompt import NPNet, winning_noise
from noiseprompt.cli.doctor import _component
from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptWarning
from noiseprompt.core.hub_errors import of_the_hub
from noiseprompt.core.types import Prompt
from noiseprompt.npnet import build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.adapters import _check_pairs, _tell_unused
from noiseprompt.pipelines.families.generic import unusable
from noiseprompt.scorers.base import load_scorers
from noiseprompt.scorers.model import check_tensor
from tests import tiny
from tests.scorers import checkpoints

PICTURE = str(Path(__file__).parents[2] / "docs" / "web.png")


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


SCHEDULES = [
    ({"num_train_timesteps": "1000"}, "num_train_timesteps '1000'. Expected a whole number from 1"),
    ({"num_train_timesteps": 0}, "num_train_timesteps 0"),
    ({"num_train_timesteps": 10**11}, "num_train_timesteps 10{11}"),
    ({"beta_start": None}, "beta_start null. Expected a number from 0 to 1"),
    ({"beta_end": 2.0}, "beta_end 2.0"),
    ({"trained_betas": [0.1, 0.2]}, "2 trained_betas with num_train_timesteps 1,000"),
    ({"steps_offset": -1}, "steps_offset -1"),
    ({"shift": 0}, "shift 0. Expected a number above 0"),
    ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "describes a FlowMatchEuler.*Expected a DDIMScheduler"),
]


@pytest.mark.parametrize(("values", "words"), SCHEDULES)
def test_a_schedule_that_is_none_is_told_before_it_is_used(model: Path, values: dict, words: str) -> None:
    change(model / "scheduler/scheduler_config.json", **values)
    with pytest.raises(ModelLoadError, match=words) as caught:
        Pipeline.load(model)
    assert "scheduler_config.json" in str(caught.value) and "\n" not in str(caught.value)


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def no_tokens(folder: Path) -> None:
    own = json.loads((folder / "tokenizer.json").read_text())
    own["model"] |= {"vocab": {}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(own))


@pytest.mark.parametrize("damage", [nothing, no_tokens])
def test_a_tokenizer_without_words_is_told(model: Path, damage: Callable[[Path], None]) -> None:
    damage(model / "tokenizer")
    with pytest.raises(ModelLoadError, match=r"tokenizer of .* has no (file of )?words"):
        Pipeline.load(model)


def test_an_empty_file_is_told_as_one(model: Path) -> None:
    (model / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"")
    assert "is empty" in _component(model / "vae", "AutoencoderKL")


def test_classes_that_draw_something_else_are_told() -> None:
    import diffusers

    assert "hole" in unusable(diffusers.StableDiffusionInpaintPipeline)
    assert "films" in unusable(diffusers.WanPipeline)
    assert not unusable(diffusers.StableDiffusionPipeline)


# --------------------------------------------------------------------------------------------------------------- LoRA


def layer(name: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {
        f"unet.{name}.lora_A.weight": torch.arange(8).reshape(2, 4).to(dtype),
        f"unet.{name}.lora_B.weight": torch.randn(4, 2),
    }


def test_whole_numbers_in_a_lora_are_told_and_layers_are_counted() -> None:
    two = layer("a") | layer("b") | {"unet.a.alpha": torch.tensor(4)}
    assert _check_pairs(Path("x.safetensors"), two) == 2
    with pytest.raises(ModelLoadError, match=r"1 weights that are whole or complex numbers .unet\.b\.lora_A"):
        _check_pairs(Path("x.safetensors"), layer("a") | layer("b", torch.int32))
    with pytest.raises(ModelLoadError, match=r"holds no LoRA but 1 other tensors .conv_in\.weight"):
        _check_pairs(Path("x.safetensors"), {"conv_in.weight": torch.zeros(2, 2)})


def test_a_lora_of_which_a_part_fits_is_told(sound: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = StableDiffusionPipeline.from_pretrained(sound)
    pipe.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_k", "to_q"]))
    StableDiffusionPipeline.save_lora_weights(tmp_path / "whole", get_peft_model_state_dict(pipe.unet))
    state = load_file(tmp_path / "whole" / "pytorch_lora_weights.safetensors")
    other = {name.replace("down_blocks", "down_blonks"): value for name, value in state.items()}
    save_file(other, tmp_path / "part.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoisepromptWarning)
        Pipeline.load(sound, lora=str(tmp_path / "whole"))
    lost = sum("down_blonks" in name for name in other) // 2
    with pytest.warns(NoisepromptWarning, match=rf"{lost} of the {len(state) // 2} layers of the LoRA"):
        Pipeline.load(sound, lora=str(tmp_path / "part.safetensors"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _tell_unused("x", 4, 12)  # a fused layer becomes several


# ---------------------------------------------------------------------------------------------------------------- hub


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("options", [{"unet": "a/b"}, {"lora": "a/b"}, {"controlnet": "a/b", "control_image": PICTURE}])
def test_parts_of_the_hub_are_told_to_be_offline(offline: None, sound: Path, options: dict[str, str]) -> None:
    with pytest.raises(ModelLoadError, match="a/b is not in the hub's cache, and offline mode is on"):
        Pipeline.load(sound, **options)


def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    came, _, fix = of_the_hub(OSError("Can't load config"), "a/b") or ("", "", "")
    assert "file is no folder that may be written" in came and "HF_HOME" in fix


# ------------------------------------------------------------------------------------------------- networks and scorers


def test_a_revision_of_a_folder_is_refused(tmp_path: Path) -> None:
    build(tokens_config((4, 8, 8), 16, 32)).save_pretrained(tmp_path / "net")
    with pytest.raises(InputError, match="revision 'v2' of"):
        NPNet.from_pretrained(tmp_path / "net", revision="v2")


def test_a_network_of_whole_numbers_is_told() -> None:
    net = build(tokens_config((4, 8, 8), 16, 32)).requires_grad_(False)
    for parameter in net.parameters():
        parameter.data = parameter.data.int()
    with pytest.raises(InputError, match=r"weights of torch\.int32"):
        winning_noise(tiny.stable_diffusion(), net, "a red cat")


SCORERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "layers": (
        lambda m: change(m / "config.json", text_config={"num_hidden_layers": 10**9}),
        "num_hidden_layers 10{9}",
    ),
    "no config": (lambda m: (m / "config.json").unlink(), "there is no .*config.json"),
    "another width": (lambda m: change(m / "config.json", projection_dim=7), "other shapes than its config.json"),
    "no tokenizer": (lambda m: [path.unlink() for path in m.glob("tokenizer*")], "finds no tokenizer in"),
}


@pytest.mark.parametrize("case", SCORERS)
def test_a_scorer_s_folder_that_is_not_whole_is_told(case: str, tmp_path: Path, offline: None) -> None:
    damage, words = SCORERS[case]
    checkpoints.clip_folder(tmp_path / "clip")
    damage(tmp_path / "clip")
    with pytest.raises(ModelLoadError, match=words):
        load_scorers([f"pickscore:path={tmp_path / 'clip'},device=cpu"])


def test_images_in_another_scale_are_told() -> None:
    with pytest.raises(InputError, match="values from 0 to 255"):
        check_tensor(torch.linspace(0, 255, 3 * 16).reshape(1, 3, 4, 4), [Prompt("a")])
    check_tensor(torch.full((1, 3, 4, 4), 1.004), [Prompt("a")])  # rounded
