"""Hunyuan-DiT on a tiny pipeline of its real classes, against a loop written out here."""

from __future__ import annotations

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.embeddings import get_2d_rotary_pos_embed
from diffusers.pipelines.hunyuandit.pipeline_hunyuandit import get_resize_crop_region_for_grid

from noiseprompt.cli import main
from noiseprompt.core.errors import ModelLoadError, ShapeError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import NPNet, build
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.families.hunyuan_dit import FAMILY
from noiseprompt.pipelines.loading import known_as
from tests.pipelines.families.stages import run_stages
from tests.pipelines.families.tiny_hunyuan import SCHEDULE, hunyuan_dit

PROMPTS = ["a red cube", "two blue ball"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hunyuan") / "HunyuanDiT-tiny"
    hunyuan_dit().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(folder) -> Pipeline:
    return Pipeline.load(folder)


def generators(count=2):
    return [torch.Generator().manual_seed(7 + i) for i in range(count)]


def test_facts(pipeline):
    family = pipeline.family
    assert (family.name, family.guidance_scale, family.num_inference_steps) == ("hunyuan-dit", 5.0, 50)
    assert (family.denoise_guidance_scale, family.invert_guidance_scale, family.collection_steps) == (5.0, 1.0, 10)
    assert pipeline.default_size == (64, 64) and pipeline.latent_shape() == (4, 8, 8)
    assert pipeline.latent_shape(96, 64) == (4, 12, 8)
    assert not pipeline.is_flow
    assert not pipeline.family.why_no_guidance(pipeline.pipe)
    with pytest.raises(ShapeError, match="multiples of 16"):
        pipeline.latent_shape(72, 64)
    embeds = pipeline.encode(PROMPTS)
    assert embeds.prompt_embeds.shape == (2, 77, 32) and embeds.texts == tuple(PROMPTS)
    assert embeds.call_kwargs["prompt_embeds_2"].shape == (2, 256, 24)


def test_npnet_sees_what_bert_says(pipeline):
    tokens = pipeline.pipe.tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        expected = pipeline.pipe.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
    assert torch.equal(pipeline.encode(PROMPTS).prompt_embeds, expected)
    assert not torch.equal(expected[0], expected[1])


@pytest.mark.parametrize(("size", "guidance"), [((64, 64), 5.0), ((64, 64), 1.0), ((96, 64), 5.0)])
def test_sampling_is_the_plain_diffusers_call(pipeline, size, guidance):
    x = batch_noise([1, 2], pipeline.latent_shape(*size))
    settings = {"guidance_scale": guidance, "num_inference_steps": 3}
    mine = pipeline.sample(pipeline.encode(PROMPTS), x, **settings, generator=generators())
    theirs = pipeline.pipe(
        PROMPTS,
        latents=x,
        height=size[0],
        width=size[1],
        use_resolution_binning=False,
        generator=generators(),
        **settings,
    ).images
    assert mine.shape == (2, *size, 3) and mine.std() > 1
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))


def by_hand(pipe, x, down, up, steps, invert_at):
    """Equations 1 and 2 in float64, the transformer called directly; v is made eps at the level it was predicted."""
    betas = torch.linspace(SCHEDULE["beta_start"] ** 0.5, SCHEDULE["beta_end"] ** 0.5, 1000, dtype=torch.float64) ** 2
    bar = torch.cumprod(1 - betas, 0)
    k = 1000 // steps
    t_from, t_to = k * (steps - 1) + 1, k * (steps - 2) + 1
    height, width = x.shape[2] * 8, x.shape[3] * 8
    grid = (height // 16, width // 16)
    rotary = get_2d_rotary_pos_embed(8, get_resize_crop_region_for_grid(grid, 32), grid, output_type="pt")

    def texts(prompts):
        found = []
        for tokenizer, encoder, length in (
            (pipe.tokenizer, pipe.text_encoder, 77),
            (pipe.tokenizer_2, pipe.text_encoder_2, 256),
        ):
            tokens = tokenizer(prompts, padding="max_length", max_length=length, return_tensors="pt")
            found += [encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0], tokens.attention_mask]
        return found

    def v(x, t, prompts):
        text, mask, text_2, mask_2 = texts(prompts)
        out = pipe.transformer(
            x.float(),
            torch.tensor([float(t)] * len(x)),
            encoder_hidden_states=text,
            text_embedding_mask=mask,
            encoder_hidden_states_t5=text_2,
            text_embedding_mask_t5=mask_2,
            image_meta_size=torch.tensor([[1024.0, 1024, height, width, 0, 0]] * len(x)),
            style=torch.zeros(len(x), dtype=torch.long),
            image_rotary_emb=rotary,
        ).sample
        return out[:, :4].double()

    def eps(x, t, guidance):
        empty = v(x, t, [""] * len(x))
        guided = empty + guidance * (v(x, t, PROMPTS) - empty)
        return bar[t].sqrt() * guided + (1 - bar[t]).sqrt() * x

    def ddim(x, e, t, to):
        x_0 = (x - (1 - bar[t]).sqrt() * e) / bar[t].sqrt()
        return bar[to].sqrt() * x_0 + (1 - bar[to]).sqrt() * e

    with torch.no_grad():
        lower = ddim(x.double(), eps(x.double(), t_from, down), t_from, t_to)
        return lower, ddim(lower, eps(lower, t_to if invert_at == "paper" else t_from, up), t_to, t_from)


@pytest.mark.parametrize("invert_at", ["paper", "published"])
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_redenoise_is_the_loop_written_by_hand(pipeline, invert_at, size):
    x = batch_noise([3, 4], pipeline.latent_shape(*size))
    embeds = pipeline.encode(PROMPTS)
    lower, upper = by_hand(pipeline.pipe, x, 5.0, 1.0, 10, invert_at)
    mine = pipeline.redenoise(embeds, x, invert_at=invert_at)
    assert (upper - x).abs().max() > 1e-3, "the oracle must move the noise"
    assert (mine - upper).abs().max() < 1e-3 * (upper - x).abs().max()
    down = pipeline.denoise_step(embeds, x, guidance_scale=5.0, num_inference_steps=10)
    assert torch.allclose(down.double(), lower, atol=1e-5)


def test_one_step_is_that_of_diffusers_ddim(pipeline):
    x = batch_noise([5, 6], pipeline.latent_shape())
    embeds = pipeline.encode(PROMPTS)
    eps = pipeline.predictions(embeds, x, guidance_scale=5.0, num_inference_steps=10)
    ddim = DDIMScheduler.from_config({**SCHEDULE, "set_alpha_to_one": False}, prediction_type="epsilon")
    ddim.set_timesteps(10)
    expected = ddim.step(eps, ddim.timesteps[0], x).prev_sample
    mine = pipeline.denoise_step(embeds, x, guidance_scale=5.0, num_inference_steps=10)
    assert torch.allclose(mine, expected, atol=1e-5) and (mine - x).abs().max() > 1e-3


def test_more_guidance_perturbs_more(pipeline):
    x, embeds = batch_noise([3, 4], pipeline.latent_shape()), pipeline.encode(PROMPTS)
    moved = [
        (
            pipeline.redenoise(embeds, x, denoise_guidance_scale=g)
            - pipeline.redenoise(embeds, x, denoise_guidance_scale=2)
        )
        .abs()
        .max()
        for g in (3.0, 9.0)
    ]
    assert 0 < 2 * moved[0] < moved[1]


def knows_mt5() -> bool:
    """Of the module that is there now: importing some diffusers pipelines replaces it."""
    return hasattr(importlib.import_module("transformers"), "MT5Tokenizer")


def rewrite_index(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    index = target / "model_index.json"
    content = json.loads(index.read_text())
    content["tokenizer_2"] = ["transformers", "MT5Tokenizer"]
    index.write_text(json.dumps(content))
    return target


def test_an_index_that_names_mt5_tokenizer_loads(folder, pipeline, tmp_path):
    renamed = rewrite_index(folder, tmp_path / "hunyuan")
    before = knows_mt5()
    loaded = Pipeline.load(renamed)
    ours, theirs = loaded.encode(PROMPTS).call_kwargs, pipeline.encode(PROMPTS).call_kwargs
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert knows_mt5() == before
    (renamed / "transformer" / "config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"transformer of .* has no config\.json"):
        Pipeline.load(renamed)
    assert knows_mt5() == before


def test_a_tokenizer_that_is_a_sentencepiece_model_loads(folder, tmp_path):
    """As on the hub: spiece.model, no tokenizer.json. It needs sentencepiece and protobuf."""
    import sentencepiece

    renamed = rewrite_index(folder, tmp_path / "hunyuan")
    place = renamed / "tokenizer_2"
    (place / "tokenizer.json").unlink()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*PROMPTS, "nine green birds of an age"]),
        model_prefix=str(place / "spiece"),
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(place / "spiece.model"))
    loaded = Pipeline.load(renamed)
    assert loaded.pipe.tokenizer_2(PROMPTS).input_ids == [[*theirs.encode(prompt), 1] for prompt in PROMPTS]
    assert loaded.encode(PROMPTS).call_kwargs["prompt_attention_mask_2"].sum(1).tolist() == [
        len(theirs.encode(prompt)) + 1 for prompt in PROMPTS
    ]


def test_the_name_is_there_only_while_it_is_needed():
    if knows_mt5():
        pytest.skip("this transformers has the class itself")
    with pytest.raises(RuntimeError), known_as(FAMILY.renamed_classes):
        transformers = importlib.import_module("transformers")
        assert transformers.MT5Tokenizer is transformers.T5Tokenizer
        raise RuntimeError
    assert not knows_mt5()


def test_the_distilled_checkpoint_takes_half_the_steps():
    pipe = hunyuan_dit()
    assert Pipeline(pipe, "Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers-Distilled").family.num_inference_steps == 25
    assert Pipeline(pipe, "Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers").family.num_inference_steps == 50


def test_from_the_command_line_and_from_an_sdxl_network(folder, tmp_path, capsys):
    net = run_stages(folder, tmp_path, "hunyuan-dit")
    assert (net.config.text_length, net.config.text_width) == (77, 32)

    torch.manual_seed(0)
    sdxl = build(replace(net.config, text_width=64, family="stable-diffusion-xl", denoiser="xl", swin_depths=(2, 1)))
    for parameter in sdxl.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    sdxl.save_pretrained(tmp_path / "sdxl")
    words = [f"--model={folder}", "--device=cpu", f"--npd={tmp_path / 'npd'}", f"--out={tmp_path / 'tuned'}"]
    frozen = ["--epochs=1", "--batch_size=4", "--validation_share=0.3", "--lr=1e-30", f"--init={tmp_path / 'sdxl'}"]
    assert main(["train", *words, *frozen]) == 0
    said = capsys.readouterr().out
    assert "taken over from" in said and "residual, singular" in said and "starts fresh: text.project" in said
    tuned = NPNet.from_pretrained(tmp_path / "tuned" / "best")
    assert tuned.config == replace(sdxl.config, text_width=32, family="hunyuan-dit", denoiser=folder.name)
    x = batch_noise([1], (4, 8, 8))
    assert torch.equal(tuned.singular(x), sdxl.eval().singular(x))
    assert torch.equal(tuned.residual(x), sdxl.residual(x))
