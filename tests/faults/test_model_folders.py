"""Model folders that are half saved, hostile or numerically dead are refused by name; nothing is drawn of them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from noiseprompt.core.errors import ModelLoadError, NoiseError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from tests import tiny


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.stable_diffusion_xl(), tmp_path_factory.mktemp("models") / "sound")


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def weights(model: Path, part: str) -> Path:
    return next((model / part).glob("*.safetensors"))


def changed(model: Path, part: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    state = load_file(weights(model, part))
    change(state)
    save_file(state, weights(model, part), metadata={"format": "pt"})


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2", "unet", "vae"])
def test_a_part_without_some_of_its_tensors_is_named(model: Path, part: str) -> None:
    lost: list[str] = []

    def halve(state: dict[str, torch.Tensor]) -> None:
        lost.extend(sorted(state)[len(state) // 2 :])
        for name in lost:
            del state[name]

    changed(model, part, halve)
    with pytest.raises(
        ModelLoadError, match=rf"^{part} of .* lacks {len(lost)} of its tensors \({lost[0][:4]}"
    ) as told:
        Pipeline.load(model)
    assert str(model) in str(told.value) and "cpu" not in str(told.value)


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_named(model: Path, part: str, value: float) -> None:
    def spoil(state: dict[str, torch.Tensor]) -> None:
        state[max(state)].view(-1)[-1] = value

    changed(model, part, spoil)
    with pytest.raises(ModelLoadError, match=rf"{part} of .* has weights that are not finite"):
        Pipeline.load(model)


def test_a_replaced_unet_is_looked_at_too(model: Path, sound: Path) -> None:
    changed(model, "unet", lambda state: state.pop(min(state)))
    with pytest.raises(ModelLoadError, match=r"unet of .* lacks 1 of its tensors"):
        Pipeline.load(sound, unet=str(model))


def test_loading_leaves_the_libraries_as_they_were(model: Path) -> None:
    before = [cls.__dict__["from_pretrained"] for cls in (diffusers.ModelMixin, transformers.PreTrainedModel)]
    assert Pipeline.load(model).encode(["a cat"]).prompt_embeds.isfinite().all()
    changed(model, "unet", lambda state: state.pop(min(state)))
    with pytest.raises(ModelLoadError):
        Pipeline.load(model)
    assert before == [cls.__dict__["from_pretrained"] for cls in (diffusers.ModelMixin, transformers.PreTrainedModel)]


@pytest.mark.parametrize("part", ["unet", "text_encoder", "scheduler"])
@pytest.mark.parametrize("library", ["my_part", "my_part.inner", "os", "../my_part"])
def test_parts_with_code_of_their_own_are_not_imported(
    model: Path, part: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "imported"
    code = f"open({str(written)!r}, 'w').close()\nclass MyPart: pass\n"
    for place in (tmp_path, model, model / part):
        (place / "my_part.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps({**index, part: [library, "MyPart"]}))
    with pytest.raises(ModelLoadError, match=f"takes {part} from '{library}'.*brings its own code") as told:
        Pipeline.load(model)
    assert "\n" not in str(told.value)
    assert not written.exists() and "my_part" not in sys.modules


class Trap:
    """What a pickle of it says is to write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("part", "file"), [("unet", "diffusion_pytorch_model.bin"), ("text_encoder", "pytorch_model.bin")]
)
def test_a_pickle_among_the_weights_is_told_in_words(model: Path, part: str, file: str, tmp_path: Path) -> None:
    weights(model, part).unlink()
    torch.save({"a": Trap(tmp_path / "ran")}, model / part / file)
    with pytest.raises(ModelLoadError) as told:
        Pipeline.load(model)
    assert file in str(told.value) and "holds more than tensors" in str(told.value)
    assert "weights_only" not in str(told.value) and "\n" not in str(told.value)
    assert not (tmp_path / "ran").exists()


def test_pictures_that_are_not_finite_are_not_drawn(sound: Path) -> None:
    pipeline = Pipeline.load(sound)
    noise, embeds = batch_noise([1, 2], pipeline.latent_shape()), pipeline.encode(["a cat", "a dog"])
    with torch.no_grad():
        pipeline.pipe.vae.decoder.conv_out.bias[0] = torch.nan  # as an overflow in half precision
    with pytest.raises(NoiseError, match="2 of 2 pictures are not finite"):
        pipeline.sample(embeds, noise, num_inference_steps=1)
