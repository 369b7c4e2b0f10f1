"""Folders, hub ids, devices: what loads, and what cannot be loaded says why and what to do."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptError
from noiseprompt.pipelines import Pipeline, loading
from tests import tiny
from tests.pipelines.tiny_pair import PROMPTS, noise


def test_loading_a_folder(folder):
    mine, theirs = Pipeline.load(folder), DiffusionPipeline.from_pretrained(folder)
    assert (mine.name, mine.dtype, mine.device.type) == (str(folder), torch.float32, "cpu")
    x = noise(mine)
    weight = mine.pipe.unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    images = mine.sample(mine.encode(PROMPTS), x, guidance_scale=3.0, num_inference_steps=3)
    plain = theirs(PROMPTS, latents=x, guidance_scale=3.0, num_inference_steps=3).images
    assert np.abs(images.astype(int) - np.stack([np.asarray(image) for image in plain])).max() <= 1
    assert Pipeline.load(str(folder), dtype="bfloat16").dtype == torch.bfloat16


def test_loading_by_the_name_of_the_world(folder, monkeypatch):
    monkeypatch.setattr("noiseprompt.shapes.world.weights_folder", lambda: folder)
    assert Pipeline.load("shapes").name == "shapes"


def test_what_cannot_be_loaded_says_how_to_point_at_a_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model_index.json").write_text((folder / "model_index.json").read_text())
    for model in (
        tmp_path / "missing",
        str(tmp_path / "missing"),
        "missing",
        tmp_path / "empty",
        tmp_path / "broken",
    ):
        with pytest.raises(ModelLoadError, match="Pass a local folder") as caught:
            Pipeline.load(model)
        assert str(model) in str(caught.value)
    with pytest.raises(ModelLoadError, match=r"no/thing is not in the hub's cache, and offline mode is on\."):
        Pipeline.load("no/thing")


def test_unsupported_pipelines_are_named(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "AudioLDMPipeline"}))
    with pytest.raises(ModelLoadError, match=r"AudioLDMPipeline.*StableDiffusionPipeline, StableDiffusionXLPipeline"):
        Pipeline.load(tmp_path)

    class OtherPipeline:
        config = {}

    with pytest.raises(ModelLoadError, match="OtherPipeline"):
        Pipeline(OtherPipeline())


def test_unusable_devices_and_dtypes_are_named(folder):
    with pytest.raises(InputError, match=r"'float8'.*float32"):
        Pipeline.load(folder, dtype="float8")
    with pytest.raises(InputError, match="'abacus'"):
        Pipeline.load(folder, device="abacus")


def test_offloading_needs_an_accelerator(tmp_path, xl):
    folder = tiny.save(xl, tmp_path / "model")
    for offload in ("model", "sequential"):
        with pytest.raises(InputError, match=f"offload '{offload}' on device 'cpu'.*accelerator"):
            Pipeline.load(folder, offload=offload)
    with pytest.raises(InputError, match=r"'disk'.*model, sequential"):
        Pipeline.load(folder, offload="disk")


def test_offload_is_diffusers_own(monkeypatch):
    calls = []
    pipe = SimpleNamespace(
        enable_model_cpu_offload=lambda device: calls.append(("model", device)),
        enable_sequential_cpu_offload=lambda device: calls.append(("sequential", device)),
        to=lambda device: calls.append(("to", device)),
    )
    loading.place(pipe, "cuda", "model")
    loading.place(pipe, "cuda:1", "sequential")
    loading.place(pipe, "cpu")
    assert calls == [("model", "cuda"), ("sequential", "cuda:1"), ("to", "cpu")]


def test_without_network_the_message_says_how_to_get_a_folder(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NoisepromptError, match="hf download OWNER/NAME --local-dir FOLDER"):
        Pipeline.load("stabilityai/stable-diffusion-xl-base-1.0")


def test_weights_that_are_offloaded_are_the_same_weights():
    from accelerate import cpu_offload

    pipeline = Pipeline(tiny.stable_diffusion())
    before, embeds = weights_digest(pipeline.denoiser), pipeline.encode(PROMPTS)
    x = noise(pipeline)
    expected = pipeline.redenoise(embeds, x)
    cpu_offload(pipeline.pipe.unet, torch.device("cpu"))  # what sequential offloading does, with the CPU as accelerator
    assert next(pipeline.denoiser.parameters()).is_meta
    assert weights_digest(pipeline.denoiser) == before and pipeline.dtype == torch.float32
    assert torch.equal(pipeline.redenoise(embeds, x), expected)
