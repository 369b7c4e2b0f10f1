"""Parts of a model that hold more than their own, whole numbers, zeros, or that do not belong together: named."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptError, NoisepromptWarning
from noiseprompt.core.pictures import write_picture
from noiseprompt.core.tensors import check_tensors
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.adapters import parse_lora
from noiseprompt.pipelines.complete import RELICS
from noiseprompt.pipelines.together import check_together
from tests import tiny

State = dict[str, torch.Tensor]


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def weights(model: Path, part: str) -> Path:
    return next((model / part).glob("*.safetensors"))


def changed(model: Path, part: str, change: Callable[[State], State]) -> None:
    save_file(change(load_file(weights(model, part))), weights(model, part), metadata={"format": "pt"})


def first_whole(state: State) -> State:
    name = min(state)
    return {**state, name: state[name].to(torch.int64)}


CHANGES: dict[str, tuple[Callable[[State], State], str]] = {
    "whole numbers": (first_whole, "1 weights that are whole or complex numbers"),
    "8 bits": (
        lambda state: {name: x.to(torch.int8) for name, x in state.items()},
        "weights that are whole or complex numbers",
    ),
    "zeros": (lambda state: {name: 0 * x for name, x in state.items()}, "lie in matrices of one value alone"),
    "ones": (lambda state: {name: 0 * x + 1 for name, x in state.items()}, "lie in matrices of one value alone"),
    "a flipped bit": (lambda state: {**state, max(state): state[max(state)] + 2.0**100}, "a weight of the size 1.26"),
    "a prefix": (lambda state: {f"module.{name}": x for name, x in state.items()}, r"holds \d+ others \(module\."),
    "exchanged": (
        lambda state: dict(zip(sorted(state), (state[n] for n in sorted(state)[::-1]), strict=True)),
        "shape",
    ),
}


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_not_its_weights_is_named(kind: str, part: str, model: Path) -> None:
    change, says = CHANGES[kind]
    changed(model, part, change)
    with pytest.raises(ModelLoadError, match=says) as told:
        Pipeline.load(model)
    assert part in str(told.value) and "\n" not in str(told.value)


def test_tensors_too_many_are_told(model: Path) -> None:
    changed(model, "vae", lambda state: {**state, "lora.up": torch.ones(2)})
    with pytest.warns(NoisepromptWarning, match=r"vae of .* holds 1 tensors that it has no place for \(lora"):
        Pipeline.load(model)


def test_relics_of_older_releases_are_no_tensors_too_many(model: Path) -> None:
    changed(model, "text_encoder", lambda state: {**state, f"embeddings.{RELICS[0]}": torch.arange(16)[None]})
    Pipeline.load(model)


def test_a_replaced_unet_is_looked_at_too(model: Path, sound: Path) -> None:
    changed(model, "unet", first_whole)
    with pytest.raises(ModelLoadError, match="whole or complex numbers"):
        Pipeline.load(sound, unet=str(model))
    config = model / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "layers_per_block": 10**8}))
    with pytest.raises(ModelLoadError, match="asks for layers_per_block"):
        Pipeline.load(sound, unet=str(model))


def test_whole_numbers_in_a_torch_file_are_seen(model: Path) -> None:
    state = first_whole(load_file(weights(model, "text_encoder")))
    weights(model, "text_encoder").unlink()
    torch.save(state, model / "text_encoder" / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match=r"pytorch_model.bin holds 1 weights that are whole or complex numbers"):
        Pipeline.load(model)


def test_a_damaged_file_is_named_with_the_reason(model: Path) -> None:
    path = weights(model, "unet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelLoadError, match="not fully covered") as told:
        Pipeline.load(model)
    assert str(path) in str(told.value)


def test_a_part_that_is_not_there_is_named(model: Path) -> None:
    shutil.rmtree(model / "vae")
    with pytest.raises(ModelLoadError, match="has no folder vae"):
        Pipeline.load(model)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "scheduler"])
def test_a_part_whose_config_does_not_fit_is_named(part: str, model: Path) -> None:
    path = next((model / part).glob("*config.json"))
    wrong = {"in_channels": "four", "hidden_size": 64, "beta_schedule": "x"}
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(
        ModelLoadError,
        match=rf"^{part} of .* does not load \(.*its config among them|/unet/config.json has in_channels 'four'",
    ):
        Pipeline.load(model)


def test_parts_that_do_not_belong_together_are_told_in_a_line(model: Path) -> None:
    pipeline = Pipeline.load(model)
    pipeline.pipe.register_modules(unet=tiny.unet(cross_attention_dim=48))
    noise, embeds = batch_noise([1], pipeline.latent_shape()), pipeline.encode(["a cat"])
    with pytest.raises(NoisepromptError, match=r"StableDiffusionPipeline fails while it draws \(RuntimeError"):
        pipeline.sample(embeds, noise, num_inference_steps=1)


def test_a_unet_for_text_of_another_width_is_told_when_it_is_loaded(model: Path) -> None:
    shutil.rmtree(model / "unet")
    tiny.unet(cross_attention_dim=48).save_pretrained(model / "unet")
    with pytest.raises(ModelLoadError, match=r"unet of .* reads text of width 48\. Expected 32"):
        Pipeline.load(model)


def test_a_tokenizer_of_other_words_is_told() -> None:
    pipe = tiny.stable_diffusion()
    words = len(pipe.tokenizer)
    pipe.text_encoder.config.vocab_size = words - 1
    with pytest.raises(ModelLoadError, match=f"tokenizer of m has {words} words, text_encoder {words - 1}"):
        check_together("m", pipe)
    pipe.text_encoder.config.vocab_size = 2 * words
    with pytest.warns(NoisepromptWarning, match="it may be another model's"):
        check_together("m", pipe)
    pipe.text_encoder.config.vocab_size = words + 1
    check_together("m", pipe)


@pytest.mark.parametrize("most", ["x", -1, 0, 10**30])
def test_a_tokenizer_that_reads_no_tokens_is_refused(most: object, model: Path) -> None:
    path = model / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": most}))
    with pytest.raises(NoisepromptError, match=r"model_max_length|tokenizer"):
        assert Pipeline.load(model).text_limits


@pytest.mark.parametrize("weight", ["nan", "inf", "1e30", "-101"])
def test_a_lora_has_a_weight_that_a_lora_can_have(weight: str) -> None:
    with pytest.raises(InputError, match=r"LoRA '?some/lora"):
        parse_lora(f"some/lora:{weight}")


def test_a_controlnet_of_a_billion_layers_is_not_built(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"layers_per_block": 10**9}))
    write_picture(tmp_path / "a.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ModelLoadError, match="asks for layers_per_block"):
        Pipeline.load(sound, controlnet=str(tmp_path), control_image=str(tmp_path / "a.png"))


def test_a_lora_that_changes_nothing_is_told_the_share_that_is_wanted() -> None:
    with pytest.raises(ModelLoadError, match=r"6 of 6 weights of x lie .* Expected 99\.9% at most"):
        check_tensors([("a", torch.zeros(2, 3))], "x", 0.999)


OTHER_KINDS = {
    "scheduler": (["diffusers", "AutoencoderKL"], "a network"),
    "tokenizer": (["transformers", "CLIPTextModel"], "a network"),
    "unet": (["transformers", "CLIPTokenizer"], "a tokenizer"),
    "vae": (["diffusers", "DDIMScheduler"], "a scheduler"),
    "text_encoder": (["diffusers", "StableDiffusionPipeline"], "which is no network"),
}


@pytest.mark.parametrize("part", OTHER_KINDS)
def test_an_index_that_names_another_kind_of_part_is_told(part: str, model: Path) -> None:
    named, kind = OTHER_KINDS[part]
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps({**index, part: named}))
    with pytest.raises(ModelLoadError, match=f"model_index.json of .* gives {part} as a {named[1]}, {kind}"):
        Pipeline.load(model)


def test_a_text_encoder_of_another_type_is_told(model: Path) -> None:
    path = model / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "model_type": "t5"}))
    with pytest.warns(NoisepromptWarning, match=r"describes a model of the type 't5' and no 'clip_text_model'"):
        Pipeline.load(model)
    path.write_text(json.dumps({**config, "model_type": "clip"}))  # of the whole that it is a part of
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoisepromptWarning)
        Pipeline.load(model)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_network_of_diffusers_of_another_class_is_told(model: Path, part: str) -> None:
    path = model / part / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "_class_name": "MotionAdapter"}))
    with pytest.warns(NoisepromptWarning, match=rf"'MotionAdapter' and no '{config['_class_name']}'"):
        Pipeline.load(model)
    path.write_text(json.dumps({**config, "_class_name": f"Flax{config['_class_name']}"}))
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoisepromptWarning)
        Pipeline.load(model)


def test_what_a_check_of_settings_wraps_is_told_alone(model: Path) -> None:
    path = model / "text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_attention_heads": 5}))
    with pytest.raises(ModelLoadError, match=r"\(ValueError: The hidden size \(\d+\) is not a multiple") as caught:
        Pipeline.load(model)
    assert "Strict" not in str(caught.value) and "validat" not in str(caught.value)


def test_a_unet_that_gives_other_channels_than_it_takes_is_told(model: Path) -> None:
    shutil.rmtree(model / "unet")
    tiny.unet(cross_attention_dim=32, out_channels=8).save_pretrained(model / "unet")
    with pytest.raises(ModelLoadError, match=r"unet of .* gives 8 channels\. Expected 4, of its vae"):
        Pipeline.load(model)
