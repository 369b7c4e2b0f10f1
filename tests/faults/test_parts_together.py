"""Parts that load and do not belong together, and an index that names what there is not: refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.pictures import write_picture
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import build, tokens_config
from noiseprompt.pipelines import Pipeline
from tests import tiny, tiny_flow


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}
    kinds = {
        "sd": tiny.stable_diffusion,
        "sdxl": tiny.stable_diffusion_xl,
        "sd3": tiny_flow.stable_diffusion_3,
        "chroma": tiny_flow.chroma,
    }

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tiny.save(kinds[kind](), tmp_path_factory.mktemp("models") / kind)
        return made[kind]

    return folder


def settings(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "tokenizer_config.json":
            path.unlink()


INDEX = "model_index.json"
CHANGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a longer tokenizer": (
        "sdxl",
        lambda m: settings(m / "tokenizer_2" / "tokenizer_config.json", model_max_length=77),
        r"tokenizer_2 of .* reads 77 tokens .*at most 16, as text_encoder_2",
    ),
    "half a token": (
        "sd",
        lambda m: settings(m / "tokenizer" / "tokenizer_config.json", model_max_length=2.5),
        r"tokenizer of .* has model_max_length 2\.5. Expected a whole number",
    ),
    "noise that wanes": (
        "sd",
        lambda m: settings(m / "scheduler" / "scheduler_config.json", beta_start=0.9),
        "has beta_start 0.9 above beta_end 0.012",
    ),
    "a tokenizer without words": ("chroma", lambda m: emptied(m / "tokenizer"), "tokenizer of .* has no words: no"),
    "an empty tokenizer": ("sd", lambda m: emptied(m / "tokenizer"), "tokenizer of .* has no words: no file"),
    "axes that are no head": (
        "chroma",
        lambda m: settings(m / "transformer" / "config.json", axes_dims_rope=[16, 56, 56]),
        r"has axes_dims_rope \[16, 56, 56\]. Expected 16 in all, a head's",
    ),
    "an image of no tokens": (
        "chroma",
        lambda m: settings(m / "scheduler" / "scheduler_config.json", max_image_seq_len=1e30),
        "has max_image_seq_len 1e\\+30. Expected a whole number",
    ),
    "a quoted flag": (
        "sdxl",
        lambda m: settings(m / INDEX, force_zeros_for_empty_prompt="no"),
        "gives force_zeros_for_empty_prompt as 'no'. Expected true or false",
    ),
    "a class that there is not": (
        "sd",
        lambda m: settings(m / INDEX, scheduler=["diffusers", "SuperScheduler"]),
        "gives scheduler as a SuperScheduler, which diffusers has not",
    ),
    "another class": (
        "sd",
        lambda m: settings(m / INDEX, unet=["diffusers", "SD3Transformer2DModel"]),
        r"does not load as a SD3Transformer2DModel, and its config\.json describes a UNet2DConditionModel",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_belong_together_is_named(change: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    kind, act, says = CHANGES[change]
    folder = Path(shutil.copytree(folders(kind), tmp_path / "model"))
    act(folder)
    with pytest.raises(ModelLoadError, match=says):
        Pipeline.load(folder)


def test_another_autoencoder_is_refused(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("chroma"), tmp_path / "model"))
    shutil.rmtree(folder / "vae")
    shutil.copytree(folders("sd") / "vae", folder / "vae")
    with pytest.raises(ModelLoadError, match=r"transformer of .* takes latents of 16 channels. Expected 4, of its vae"):
        Pipeline.load(folder)


def test_a_model_in_the_place_of_a_controlnet_is_told(folders: Callable[[str], Path]) -> None:
    folder = folders("sd")
    picture = folder / "control.png"
    write_picture(picture, np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(ModelLoadError, match="is a whole model without the folder of a ControlNetModel"):
        Pipeline.load(folder, controlnet=str(folder), control_image=str(picture))


def test_an_npnet_in_the_place_of_a_network_of_diffusers_is_told(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    net, picture = tmp_path / "net", tmp_path / "control.png"
    build(tokens_config((4, 8, 8), 16, 32)).save_pretrained(net)
    write_picture(picture, np.zeros((16, 16, 3), np.uint8))
    places: list[dict[str, Any]] = [{"unet": str(net)}, {"controlnet": str(net), "control_image": str(picture)}]
    for place in places:
        with pytest.raises(ModelLoadError, match=r"holds a saved network, an NPNet.* as a method: npnet:path=FOLDER"):
            Pipeline.load(folders("sd"), **place)


def test_a_repository_without_an_index_is_there(hub: Any) -> None:
    hub.add("a/model", {"README.md": b"x"})
    with pytest.raises(ModelLoadError, match=r"a/model on the hub has no model_index\.json"):
        Pipeline.load("a/model")


def test_an_autoencoder_without_its_shift_is_told(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("sd3"), tmp_path / "model"))
    settings(folder / "vae" / "config.json", shift_factor=None)
    pipeline = Pipeline.load(folder)
    noise = batch_noise([0], pipeline.latent_shape())
    with pytest.raises(ModelLoadError, match=r"vae of the model has no shift_factor\. Expected a number"):
        pipeline.sample(pipeline.encode(["a red circle"]), noise, num_inference_steps=1)


def test_tokenizers_that_changed_places_are_told(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("sd3"), tmp_path / "model"))
    shutil.rmtree(folder / "tokenizer_3")
    shutil.copytree(folder / "tokenizer", folder / "tokenizer_3")
    with pytest.raises(ModelLoadError, match=r"has the words of a BPE tokenizer. Expected those of a Unigram one"):
        Pipeline.load(folder)


def test_a_feature_extractor_of_a_class_that_is_gone_is_left_out(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders("sd"), tmp_path / "model"))
    settings(folder / INDEX, feature_extractor=["transformers", "CLIPFeatureExtractor"])
    (folder / "feature_extractor").mkdir()
    assert Pipeline.load(folder).pipe.feature_extractor is None
