"""The published scorers on tiny checkpoints in the published formats, against their forward passes written out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noiseprompt.core.errors import InputError, ModelLoadError, ShapeError
from noiseprompt.core.types import Prompt
from noiseprompt.scorers import Scorer, load_scorers
from noiseprompt.scorers.mps import MPS, OVERALL
from tests import hub_server
from tests.scorers import checkpoints as tiny

PROMPTS = [Prompt(text) for text in tiny.TEXTS]
NAMES = ("pickscore", "clipscore", "hpsv2", "hpsv2.1", "aes", "imagereward", "mps")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every checkpoint, as its authors publish it."""
    root = tmp_path_factory.mktemp("scorers")
    tiny.clip_folder(root / "pickscore", hidden_act="gelu")
    tiny.clip_folder(root / "openai", hidden_act="quick_gelu")
    for name in ("hps", "mps"):
        (root / name).mkdir()
        tiny.clip_tokenizer().save_pretrained(root / name)
    tiny.save(tiny.open_clip_state(), root / "hps" / "HPS_v2_compressed.pt", wrap=True)
    tiny.save(tiny.open_clip_state(9), root / "hps" / "HPS_v2.1_compressed.pt", wrap=True)
    tiny.save(tiny.head_state(tiny.PROJECTION, "layers."), root / "sac+logos+ava1-l14-linearMSE.pth")
    (root / "imagereward").mkdir()
    positions = {"blip.text_encoder.embeddings.position_ids": torch.arange(40)[None]}
    tiny.save(tiny.imagereward_state() | positions, root / "imagereward" / "ImageReward.pt")
    tiny.bert_tokenizer().save_pretrained(root / "bert")
    clip = tiny.clip_folder(root / "mps-clip", hidden_act="gelu")
    tiny.save(tiny.mps_state(clip), root / "mps" / "model.safetensors")
    return root


def spec(folder: Path, name: str, **more: Any) -> str:
    options = {
        "pickscore": {"path": folder / "pickscore"},
        "clipscore": {"path": folder / "openai"},
        "hpsv2": {"path": folder / "hps"},
        "hpsv2.1": {"path": folder / "hps" / "HPS_v2.1_compressed.pt"},
        "aes": {"path": folder / "sac+logos+ava1-l14-linearMSE.pth", "clip": folder / "openai"},
        "imagereward": {"path": folder / "imagereward", "tokenizer": folder / "bert"},
        "mps": {"path": folder / "mps"},
    }[name]
    return f"{name}:" + ",".join(f"{k}={v}" for k, v in {**options, "device": "cpu", **more}.items())


def load(folder: Path, name: str, **more: Any) -> Any:
    (scorer,) = load_scorers([spec(folder, name, **more)])
    return scorer


def tokens(texts: Any = tiny.TEXTS) -> torch.Tensor:
    options = {"padding": "max_length", "truncation": True, "max_length": tiny.CONTEXT, "return_tensors": "pt"}
    return tiny.clip_tokenizer()(list(texts), **options).input_ids


def cropped(rounding: Any, size: int = tiny.SIZE) -> torch.Tensor:
    return torch.stack([tiny.crop_oracle(image, size, rounding) for image in tiny.pictures()])


@torch.no_grad()
def expected(folder: Path, name: str) -> np.ndarray:
    """The score by its formula, from the published files."""
    if name in ("hpsv2", "hpsv2.1"):
        state = tiny.open_clip_state(9 if name == "hpsv2.1" else 0)
        canvas = torch.zeros(4, 3, tiny.SIZE, tiny.SIZE, dtype=torch.float64)
        whole = torch.from_numpy(tiny.pictures()).permute(0, 3, 1, 2).double() / 255
        height = round(71 * tiny.SIZE / 90)
        above = (tiny.SIZE - height) // 2
        canvas[:, :, above : above + height] = F.interpolate(
            whole, (height, tiny.SIZE), mode="bicubic", antialias=True, align_corners=False
        )
        mean, std = (torch.from_numpy(v).view(3, 1, 1) for v in (tiny.MEAN, tiny.STD))
        image, text = tiny.open_clip_embeds(state, (canvas - mean) / std, tokens())
        return (image * text).sum(1).numpy()
    if name == "imagereward":
        words = tiny.bert_tokenizer()(list(tiny.TEXTS), padding="max_length", truncation=True, max_length=35)
        ids, mask = torch.tensor(words["input_ids"]), torch.tensor(words["attention_mask"])
        return tiny.imagereward_oracle(tiny.imagereward_state(), cropped(round, 48), ids, mask).numpy()
    from transformers import CLIPModel

    home = {"pickscore": "pickscore", "clipscore": "openai", "aes": "openai", "mps": "mps-clip"}[name]
    model = CLIPModel.from_pretrained(folder / home).double().eval()
    rounding = math.floor if name in ("pickscore", "mps") else round
    ids = tokens([*tiny.TEXTS, OVERALL]) if name == "mps" else tokens()
    output = model(input_ids=ids, pixel_values=cropped(rounding))
    if name == "pickscore":
        return output.logits_per_image.diagonal().numpy()
    if name == "clipscore":
        return 2.5 * (output.image_embeds * output.text_embeds).sum(1).clamp(min=0).numpy()
    if name == "aes":
        return tiny.read_head(tiny.head_state(tiny.PROJECTION, "layers."), output.image_embeds, "layers.").numpy()
    tokens_of = model.visual_projection(output.vision_model_output.last_hidden_state)
    words = model.text_projection(output.text_model_output.last_hidden_state)
    logits = []
    for i in range(4):  # one prompt at a time: the published code divides by the maximum over the batch
        relevance = (words[i : i + 1] @ words[-1].T).amax(-1)[:, None]
        mask = torch.where(relevance / relevance.max() > 0.01, 0.0, -torch.inf)
        seen = tiny.mps_cross(tiny.mps_state(model), tokens_of[i : i + 1], words[i : i + 1], mask)[:, 0]
        logits.append(model.logit_scale.exp() * (F.normalize(seen, dim=-1) @ output.text_embeds[i]))
    return torch.cat(logits).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_score_is_the_published_formula(folder: Path, name: str) -> None:
    scorer = load(folder, name)
    assert scorer.name == name and isinstance(scorer, Scorer)
    scores = scorer.score(tiny.pictures(), PROMPTS)
    assert scores.dtype == np.float64 and scores.shape == (4,) and len(set(scores.round(5))) > 2
    np.testing.assert_allclose(scores, expected(folder, name), atol=3e-5, rtol=3e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_score_does_not_depend_on_the_batch(folder: Path, name: str) -> None:
    together = load(folder, name).score(tiny.pictures(), PROMPTS)
    alone = load(folder, name, batch_size=1).score(tiny.pictures(), PROMPTS)
    np.testing.assert_allclose(together, alone, atol=2e-5 * max(1.0, np.ptp(together)))
    half = load(folder, name, dtype="bfloat16").score(tiny.pictures(), PROMPTS)
    np.testing.assert_allclose(half, together, atol=0.02 * max(1.0, np.abs(together).max()) + 0.2 * together.std())


@pytest.mark.parametrize("name", NAMES)
def test_score_tensor_is_the_score_with_gradients(folder: Path, name: str) -> None:
    scorer, images = load(folder, name), tiny.pictures()
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).requires_grad_()
    scores = scorer.score_tensor(floats, PROMPTS)
    plain = scorer.score(images, PROMPTS)
    np.testing.assert_allclose(scores.detach().numpy(), plain, atol=0.03 * np.ptp(plain))
    (gradient,) = torch.autograd.grad(scores.sum(), floats)
    assert torch.isfinite(gradient).all()
    moved = gradient.flatten(1).abs().amax(1) > 0
    assert moved[scores > 0].all() if name == "clipscore" else moved.all()
    step = floats.detach() + 1e-3 * gradient / gradient.abs().amax()  # uphill: the score rises
    assert scorer.score_tensor(step, PROMPTS).sum() > scores.sum()


def test_images_of_the_right_size_are_not_resized(folder: Path) -> None:
    images = tiny.pictures(2, tiny.SIZE, tiny.SIZE)
    plain = ((images / 255 - tiny.MEAN) / tiny.STD).transpose(0, 3, 1, 2)
    for name in ("pickscore", "clipscore", "hpsv2"):
        np.testing.assert_allclose(load(folder, name).pixels(images).numpy(), plain, atol=1e-6)


@pytest.mark.parametrize("shape", [(71, 90), (90, 71), (61, 57), (56, 56), (300, 200)])
def test_preparation_is_bit_exact(shape: tuple[int, int]) -> None:
    """CLIP's own in float32 (Pillow's integers, then /255, -mean, /std), and transformers' processor by itself."""
    from transformers import CLIPImageProcessorPil

    from noiseprompt.scorers.preprocess import clip_pixels, transformers_pixels

    images = tiny.pictures(2, *shape)
    exact = [(tiny.crop_oracle(i, 56, round).permute(1, 2, 0).numpy() * tiny.STD + tiny.MEAN) * 255 for i in images]
    pixels = torch.from_numpy(np.stack(exact)).round().permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v, dtype=torch.float32).view(1, 3, 1, 1) for v in (tiny.MEAN, tiny.STD))
    assert torch.equal(clip_pixels(images, 56), (pixels - mean) / std)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    assert torch.equal(transformers_pixels(images, 56), processor(list(images), return_tensors="pt")["pixel_values"])


def test_padding_keeps_the_whole_picture(folder: Path) -> None:
    """HPSv2 shows tall and wide pictures whole; black bars, then CLIP's mean and deviation."""
    scorer = load(folder, "hpsv2")
    tall = scorer.pixels(np.full((1, 100, 40, 3), 255, np.uint8))[0]
    white, black = (torch.from_numpy((v - tiny.MEAN) / tiny.STD).float() for v in (1.0, 0.0))
    columns = tall[:, 28]  # a row through the middle: 22 of 56 columns hold the picture, 17 bars left and right
    torch.testing.assert_close(columns[:, :17], black[:, None].expand(-1, 17))
    torch.testing.assert_close(columns[:, 17:39], white[:, None].expand(-1, 22))
    torch.testing.assert_close(columns[:, 39:], black[:, None].expand(-1, 17))


def test_mps_compares_two_images(folder: Path) -> None:
    scorer: MPS = load(folder, "mps")
    a, b = tiny.pictures(), tiny.pictures(seed=5)
    chance = scorer.compare(a, b, PROMPTS)
    assert chance.shape == (4, 2)
    np.testing.assert_allclose(chance.sum(1), 1, atol=1e-12)
    gap = scorer.score(a, PROMPTS) - scorer.score(b, PROMPTS)
    np.testing.assert_allclose(chance[:, 0], 1 / (1 + np.exp(-gap)), atol=1e-12)
    np.testing.assert_allclose(scorer.compare(b, a, PROMPTS), chance[:, ::-1], atol=1e-12)
    np.testing.assert_array_equal(scorer.compare(a, a, PROMPTS), 0.5)
    with pytest.raises(ShapeError, match="4 and 2 images"):
        scorer.compare(a, b[:2], PROMPTS)


def test_mps_reads_both_layouts_and_the_threshold_matters(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(folder / "mps" / "model.safetensors")
    file = tiny.save({f"mps.{k}": v for k, v in state.items()}, tmp_path / "hub.pt")
    tiny.clip_tokenizer().save_pretrained(tmp_path)
    other = load(folder, "mps", path=file)
    plain = load(folder, "mps").score(tiny.pictures(), PROMPTS)
    np.testing.assert_allclose(other.score(tiny.pictures(), PROMPTS), plain, atol=1e-6)
    assert np.abs(load(folder, "mps", threshold=0.9).score(tiny.pictures(), PROMPTS) - plain).max() > 1e-4


def test_aes_does_not_see_the_prompt(folder: Path) -> None:
    scorer = load(folder, "aes")
    scores = scorer.score(tiny.pictures(), PROMPTS)
    np.testing.assert_array_equal(scores, scorer.score(tiny.pictures(), PROMPTS[::-1]))


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("name", ["hpsv2", "imagereward", "mps", "aes"])
def test_weights_that_do_not_fit_are_refused_by_name(folder: Path, tmp_path: Path, name: str) -> None:
    states = {
        "hpsv2": (tiny.open_clip_state(), "visual.transformer.resblocks.1.mlp.c_fc.bias"),
        "imagereward": (tiny.imagereward_state(), "blip.text_encoder.encoder.layer.1.crossattention.self.value.bias"),
        "mps": (tiny.mps_state(tiny.clip_folder(tmp_path / "clip")), "cross_model.layers.1.1.fn.attn_out.weight"),
        "aes": (tiny.head_state(tiny.PROJECTION, "layers."), "layers.4.bias"),
    }
    state, key = states[name]
    last = key.split(".")[-2]
    last = {"c_fc": "fc1"}.get(last, last)
    part = f"{last}.{key.rpartition('.')[2]}"
    without = tiny.save({k: v for k, v in state.items() if k != key}, tmp_path / "without.safetensors")
    with pytest.raises(ModelLoadError, match=rf"1 missing \(.*{part}\)"):
        load(folder, name, path=without)
    surplus = tiny.save(state | {key + ".extra": state[key]}, tmp_path / "surplus.safetensors")
    with pytest.raises(ModelLoadError, match=r"1 unexpected \(.*extra\)"):
        load(folder, name, path=surplus)
    longer = tiny.save(state | {key: state[key].repeat(2, *[1] * (state[key].ndim - 1))}, tmp_path / "l.safetensors")
    with pytest.raises(ModelLoadError, match="of another shape"):
        load(folder, name, path=longer)


def test_gaps_in_a_transformers_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tiny.clip_folder(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop("text_projection.weight")
    tiny.save(state, tmp_path / "model.safetensors")
    with pytest.raises(ModelLoadError, match="text_projection"):
        load(folder, "pickscore", path=tmp_path)


def test_other_checkpoints_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tiny.save({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in ("hpsv2", "mps", "imagereward", "aes"):
        with pytest.raises(ModelLoadError):
            load(folder, name, path=other)
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"nothing")
    with pytest.raises(ModelLoadError, match=r"damaged\.pt"):
        load(folder, "hpsv2", path=damaged)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(ModelLoadError, match="would execute"):
        load(folder, "mps", path=tmp_path / "module.pth")
    with pytest.raises(ModelLoadError, match="there is no file"):
        load(folder, "hpsv2", path=tmp_path / "nowhere")
    with pytest.raises(ModelLoadError, match="path=FOLDER"):
        load(folder, "pickscore", path=tmp_path)
    with pytest.raises(ModelLoadError, match="tokenizer=FOLDER"):
        load(folder, "imagereward", tokenizer=tmp_path)


@pytest.mark.parametrize("name", ["hpsv2", "hpsv2.1", "aes", "imagereward", "mps"])
def test_without_a_network_the_message_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    hub_server.use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(ModelLoadError, match=rf'127.0.0.1:9 cannot be reached.*name it: "{name}:path=FILE"'):
        load_scorers([name])


def test_bad_input_is_refused(folder: Path) -> None:
    scorer, images = load(folder, "clipscore"), tiny.pictures()
    with pytest.raises(ShapeError, match="one prompt an image"):
        scorer.score(images, PROMPTS[:3])
    with pytest.raises(InputError, match="uint8"):
        scorer.score(images / 255, PROMPTS)
    with pytest.raises(ShapeError, match=r"\(N, 3, H, W\)"):
        scorer.score_tensor(torch.from_numpy(images) / 255, PROMPTS)
    with pytest.raises(InputError, match="floating point"):
        scorer.score_tensor(torch.from_numpy(images).permute(0, 3, 1, 2), PROMPTS)
    for option, words in (("device=tpu9", "tpu9"), ("dtype=int8", "int8"), ("batch_size=0", "batch_size 0")):
        key, value = option.split("=")
        with pytest.raises(InputError, match=words):
            load(folder, "clipscore", **{key: value})
