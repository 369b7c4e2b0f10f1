from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch

from noiseprompt.pipelines import Pipeline
from tests import tiny_flow
from tests.pipelines.families import tiny_text
from tests.pipelines.families.checks import check_first_step, check_redenoise, check_sampling
from tests.pipelines.families.stages import run_stages


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    transformer = diffusers.ChromaTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    pipe = diffusers.ChromaPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=tiny_flow.flow_vae(16),
        text_encoder=tiny_text.t5_encoder(24),
        tokenizer=tiny_text.t5_tokenizer(),
        transformer=transformer.eval(),
    )
    folder = tmp_path_factory.mktemp("chroma") / "Chroma-tiny"
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(folder) -> Pipeline:
    return Pipeline.load(folder)


def test_facts(pipeline):
    assert pipeline.family.name == "chroma" and pipeline.is_flow
    assert not pipeline.family.why_no_guidance(pipeline.pipe)
    assert pipeline.latent_shape(64, 64) == (16, 8, 8) and pipeline.latent_shape(96, 64) == (16, 12, 8)
    assert pipeline.encode(["a red cube"]).prompt_embeds.shape == (1, 512, 24)


@pytest.mark.parametrize(("height", "width", "guidance"), [(64, 64, 5.0), (64, 64, 1.0), (96, 64, 5.0)])
def test_it_does_what_diffusers_does(pipeline, height, width, guidance):
    check_sampling(pipeline, height, width, guidance)
    check_first_step(pipeline, height, width, guidance)


def test_redenoise(pipeline):
    check_redenoise(pipeline, 64, 64)


def test_from_the_command_line(folder, tmp_path):
    run_stages(folder, tmp_path, "chroma", size=(64, 64))
