from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch

from noiseprompt.pipelines import Pipeline
from tests import tiny
from tests.families import tiny_text
from tests.families.checks import check_first_step, check_redenoise, check_sampling
from tests.families.stages import run_stages


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=24,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    )
    pipe = diffusers.AuraFlowPipeline(
        tokenizer=tiny_text.t5_tokenizer(),
        text_encoder=tiny_text.t5_encoder(24, kind="UMT5"),
        vae=tiny.vae(),
        transformer=transformer.eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73),
    )
    folder = tmp_path_factory.mktemp("aura") / "AuraFlow-tiny"
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(folder) -> Pipeline:
    return Pipeline.load(folder)


def test_facts(pipeline):
    assert pipeline.family.name == "aura-flow" and pipeline.is_flow and pipeline.has_guidance
    assert pipeline.latent_shape(64, 64) == (4, 8, 8) and pipeline.latent_shape(96, 64) == (4, 12, 8)
    assert pipeline.encode(["a red cube"]).prompt_embeds.shape == (1, 256, 24)


@pytest.mark.parametrize(("height", "width", "guidance"), [(64, 64, 3.5), (64, 64, 1.0), (96, 64, 3.5)])
def test_it_does_what_diffusers_does(pipeline, height, width, guidance):
    check_sampling(pipeline, height, width, guidance)
    check_first_step(pipeline, height, width, guidance)


def test_redenoise(pipeline):
    check_redenoise(pipeline, 64, 64)


def test_from_the_command_line(folder, tmp_path):
    run_stages(folder, tmp_path, "aura-flow", size=(64, 64))
