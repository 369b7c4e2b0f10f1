"""Which defaults a checkpoint gets, by its class and by the names of what was put into it."""

from __future__ import annotations

import pytest

from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.families import FAMILIES
from tests import tiny, tiny_flow


def test_every_family_tells_its_defaults_and_where_they_stand():
    names = [family.name for family in FAMILIES]
    classes = [name for family in FAMILIES for name in family.pipeline_classes]
    assert len(classes) == len(set(classes)) and {"stable-diffusion-xl", "flux", "z-image"} <= set(names)
    for family in FAMILIES:
        assert family.source and family.guidance_scale >= 1 and family.num_inference_steps > 0
        assert family.denoise_guidance_scale > family.invert_guidance_scale == 1
        assert all(variant.source and (variant.pattern or variant.applies) for variant in family.variants)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stabilityai/stable-diffusion-xl-base-1.0", ("", 5.5, 50, 5.5, 10, "ddim")),
        ("RunDiffusion/Juggernaut-XL-v9", ("", 5.5, 50, 5.5, 10, "ddim")),
        ("Lykon/dreamshaper-xl-v2-turbo", ("DreamShaper-xl-v2-turbo", 3.5, 4, 3.5, 4, "dpm-solver")),
        ("/models/DreamShaper_XL_v2_Turbo", ("DreamShaper-xl-v2-turbo", 3.5, 4, 3.5, 4, "dpm-solver")),
        ("stabilityai/sdxl-turbo", ("SDXL-Turbo", 1.0, 1, 1.0, 10, "ddim")),
        ("ByteDance/SDXL-Lightning", ("SDXL-Lightning", 1.0, 4, 1.0, 10, "ddim")),
        ("/turbo/lightning/plain", ("", 5.5, 50, 5.5, 10, "ddim")),
    ],
)
def test_checkpoints_of_one_class_have_their_own_defaults(xl, name, expected):
    family = Pipeline(xl, name).family
    settings = (family.guidance_scale, family.num_inference_steps, family.denoise_guidance_scale)
    assert (family.variant, *settings, family.collection_steps, family.grid) == expected
    assert family.name == "stable-diffusion-xl", "an NPNet for SDXL fits all of them"


@pytest.mark.parametrize(
    ("companion", "expected"),
    [
        ("latent-consistency/lcm-lora-sdxl", ("LCM", 1.0, 4)),
        ("loras/pcm_sdxl_smallcfg_2step_converted.safetensors", ("PCM", 1.0, 2)),
        ("loras/pcm_sdxl_normalcfg_8step_converted.safetensors", ("PCM with normal guidance", 3.0, 8)),
        ("loras/sdxl_lightning_8step_lora.safetensors", ("SDXL-Lightning", 1.0, 8)),
        ("mhdang/dpo-sdxl-text2image-v1", ("", 5.5, 50)),
        ("loras/style_1000steps.safetensors", ("", 5.5, 50)),
    ],
)
def test_what_is_put_into_a_model_decides_too(xl, companion, expected):
    family = Pipeline(xl, "stabilityai/stable-diffusion-xl-base-1.0", [companion]).family
    assert (family.variant, family.guidance_scale, family.num_inference_steps) == expected


def test_other_classes_with_variants():
    sd3 = tiny_flow.stable_diffusion_3()
    for name, guidance, steps in (
        ("stabilityai/stable-diffusion-3-medium-diffusers", 7.0, 28),
        ("stabilityai/stable-diffusion-3.5-large", 3.5, 28),
        ("stabilityai/stable-diffusion-3.5-large-turbo", 1.0, 4),
        ("stabilityai/stable-diffusion-3.5-medium", 4.5, 40),
    ):
        family = Pipeline(sd3, name).family
        assert (family.guidance_scale, family.num_inference_steps) == (guidance, steps)
    assert Pipeline(tiny.stable_diffusion(), "stabilityai/sd-turbo").family.num_inference_steps == 1
    assert Pipeline(tiny_flow.z_image(), "Tongyi-MAI/Z-Image-Turbo").family.guidance_scale == 1
    assert Pipeline(tiny_flow.flux(schnell=True), "anything").family.num_inference_steps == 4


def test_applied_defaults_are_printed_once_at_loading(xl, tmp_path, capsys):
    folder = tiny.save(xl, tmp_path / "sdxl-turbo")
    capsys.readouterr()
    assert Pipeline.load(folder).family.variant == "SDXL-Turbo"
    said = capsys.readouterr().err
    assert "taken for SDXL-Turbo by its name: guidance 1, 1 steps" in said and "stabilityai/sdxl-turbo" in said
    (tmp_path / "sdxl-turbo").rename(tmp_path / "plain")
    Pipeline.load(tmp_path / "plain")
    assert "taken for" not in capsys.readouterr().err
