"""InitNO: subjects, recorded attention, losses and divergence against other computations; the search's bounds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import Sampling
from noiseprompt.methods.attention import attention_losses, recorded_attention
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.initno import divergence
from noiseprompt.methods.subjects import find_subjects
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.unet_calls import record_call
from tests import tiny
from tests.methods.stubs import NOISE, TEXTS, pipeline, state

# ------------------------------------------------------------------------------------------------------------ subjects


def _words(text: str, tokens: tuple[str, ...] = ()) -> list[str]:
    tokenizer = tiny.clip_tokenizer()
    ids = tokenizer(text, padding="max_length", max_length=16, truncation=True)["input_ids"]
    return [
        "".join(tokenizer.convert_ids_to_tokens([ids[p] for p in subject])).replace("</w>", " ").strip()
        for subject in find_subjects(tokenizer, text, tokens, 16)
    ]


def test_subjects_are_runs_of_words_that_are_no_stop_words() -> None:
    assert _words("a red cat and a dog") == ["red cat", "dog"]
    assert _words("two Cats, fan") == ["cats", "fan"]
    assert _words("a red of an") == ["red"]
    assert _words("of an a 3") == []
    assert _words("Red fan of fan", ("FAN",)) == ["fan", "fan"]
    assert _words("red cat", ("cat", "red")) == ["red", "cat"]


def test_subjects_beyond_what_the_encoder_reads_are_left_out() -> None:
    assert _words("red abcdefghijklmnopq dog")[0].replace(" ", "") == "redabcdefghijklm"  # 16 tokens, two of them ends


def test_a_subject_that_the_prompt_lacks() -> None:
    with pytest.raises(InputError, match="'bird' in 'a red cat'"):
        _words("a red cat", ("cat", "bird"))


# ----------------------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("build", [tiny.stable_diffusion, tiny.stable_diffusion_xl])
def test_recorded_attention_explains_what_the_layer_gives(build) -> None:
    made = Pipeline(build())
    embeds, unet = made.encode(TEXTS), made.denoiser
    call = record_call(made, embeds, NOISE)
    assert made.denoiser_calls == 0
    layers = {n: m for n, m in unet.named_modules() if n.endswith((".attn1", ".attn2"))}
    outputs: dict[str, tuple] = {}
    hooks = [
        layer.register_forward_hook(
            lambda m, args, named, out, n=n: outputs.update({n: (m, args, named, out)}), with_kwargs=True
        )
        for n, layer in layers.items()
    ]
    before = state(made)
    with torch.no_grad():
        plain = call(NOISE, 901)
        with recorded_attention(unet, (8, 8)) as attention:
            watched = call(NOISE, 901)
    assert torch.equal(plain, watched)
    assert state(made) == before
    for hook in hooks:
        hook.remove()
    assert attention.size == (4, 4)  # the cross-attention of these U-Nets sits at half the latents' size
    kinds = {"attn1": list(attention.own), "attn2": list(attention.cross)}
    assert len(kinds["attn1"]) == len(kinds["attn2"]) == len(layers) // 2
    for name, (layer, args, named, out) in outputs.items():
        shares = kinds[name.rsplit(".", 1)[1]].pop(0)
        context = named.get("encoder_hidden_states")
        values = layer.head_to_batch_dim(layer.to_v(args[0] if context is None else context))
        mixed = torch.bmm(shares.flatten(0, 1), values)
        assert torch.allclose(layer.to_out[0](layer.batch_to_head_dim(mixed)), out, atol=1e-5)
        assert torch.allclose(shares.sum(-1), torch.ones(()), atol=1e-5)


def test_attention_is_put_back_on_error() -> None:
    made = pipeline()
    before = state(made)
    with pytest.raises(ZeroDivisionError), recorded_attention(made.denoiser, (8, 8)):
        raise ZeroDivisionError
    assert state(made) == before


def test_the_resolution_nearest_to_sixteen_by_sixteen_is_taken() -> None:
    unet = tiny.unet(
        block_out_channels=(16, 16, 16),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )
    for size, expected in {(16, 16): (16, 16), (32, 24): (16, 12), (64, 64): (16, 16), (8, 8): (8, 8)}.items():
        with recorded_attention(unet, size) as attention:
            unet(torch.zeros(1, 4, *size), 1, torch.zeros(1, 5, 32))
        cross, own = attention.means()
        assert attention.size == expected
        assert cross.shape == (1, expected[0] * expected[1], 5)
        assert own.shape[1:] == (cross.shape[1], cross.shape[1])


def _losses_by_hand(cross: np.ndarray, own: np.ndarray, size: tuple[int, int], subjects) -> tuple[float, float]:
    """One image, with scipy's correlation and plain loops."""
    line = np.exp(-0.5 * (np.array([-1.0, 0.0, 1.0]) / 0.5) ** 2)
    kernel = np.outer(line, line) / np.outer(line, line).sum()
    text = np.exp(100 * cross[:, 1:-1])
    text /= text.sum(1, keepdims=True)
    peaks, seen = [], []
    for subject in subjects:
        image = correlate(sum(text[:, p - 1] for p in subject).reshape(size), kernel, mode="mirror")
        peaks.append(image.max())
        seen.append(correlate(own[image.argmax()].reshape(size), kernel, mode="mirror"))
    overlaps = [np.minimum(p, q).sum() / (p.sum() + q.sum()) for p, q in combinations(seen, 2)]
    return 1 - min(peaks), float(np.mean(overlaps)) if overlaps else 0.0


def test_losses_are_those_of_the_article() -> None:
    generator = torch.Generator().manual_seed(0)
    cross = torch.rand(2, 12, 7, generator=generator, dtype=torch.float64) / 20
    own = torch.softmax(4 * torch.rand(2, 12, 12, generator=generator, dtype=torch.float64), -1)
    subjects = [((1, 2), (4,), (5,)), ((3,),)]
    response, conflict = attention_losses(cross, own, (3, 4), subjects)
    for row in range(2):
        expected = _losses_by_hand(cross[row].numpy(), own[row].numpy(), (3, 4), subjects[row])
        assert (response[row].item(), conflict[row].item()) == pytest.approx(expected, abs=1e-12)
    assert 0 < conflict[0] < 0.5 and conflict[1] == 0


def test_divergence_is_that_of_torch() -> None:
    mean, log_var = (torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(s)).double() for s in (0, 1))
    normal = torch.distributions.Normal(mean, (log_var / 2).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean((1, 2, 3))
    assert torch.allclose(divergence(mean, log_var), expected, atol=1e-12)
    assert divergence(torch.zeros(1, 2), torch.zeros(1, 2)).item() == 0


# -------------------------------------------------------------------------------------------------------------- search


def _optimised(made: Pipeline, options: str, texts=TEXTS, noise=NOISE) -> torch.Tensor:
    method = MethodSpec.parse(f"initno:{options}").build()
    method.prepare(made, Sampling(num_inference_steps=10))
    return method.perturb(made, made.encode(texts), noise)


def _loss(made: Pipeline, noise: torch.Tensor) -> torch.Tensor:
    """Sum of both losses (B,) at the first timestep of ten."""
    embeds = made.encode(TEXTS)
    subjects = [find_subjects(made.pipe.tokenizer, text, (), 16) for text in TEXTS]
    with torch.no_grad(), recorded_attention(made.denoiser, (8, 8)) as attention:
        made.denoiser(noise, 901, encoder_hidden_states=embeds.prompt_embeds)
    response, conflict = attention_losses(*attention.means(), attention.size, subjects)
    return response + conflict


def test_the_loss_goes_down_and_the_noise_stays_near() -> None:
    made = pipeline()
    before = state(made)
    result = _optimised(made, "rounds=1,iterations=8,final_iterations=0,lr=0.02,response_limit=0")
    assert (_loss(made, result) < _loss(made, NOISE) - 1e-4).all()
    assert 0 < (result - NOISE).norm() < 0.15 * NOISE.norm()
    assert state(made) == before


def test_the_divergence_keeps_the_noise_near() -> None:
    made = pipeline()
    options = "rounds=1,iterations=12,final_iterations=0,lr=0.05,response_limit=0"
    free, kept = (_optimised(made, f"{options},kl_limit=0,kl_weight={w}") for w in (0, 5000))
    assert (kept - NOISE).norm() < 0.5 * (free - NOISE).norm()


def test_rounds_are_bounded_and_end_early() -> None:
    made = pipeline()
    _optimised(made, "rounds=3,iterations=2,final_iterations=4,response_limit=0")
    assert made.denoiser_calls == (3 * 2 + 4) * len(TEXTS)
    made.denoiser_calls = 0
    result = _optimised(made, "response_limit=1,conflict_limit=1")
    assert made.denoiser_calls == len(TEXTS)
    assert torch.allclose(result, NOISE, atol=1e-6)


def test_a_prompt_without_subject_keeps_its_source() -> None:
    made = pipeline()
    texts = ("of an", TEXTS[0])
    result = _optimised(made, "rounds=1,iterations=3,final_iterations=0,response_limit=0", texts)
    assert torch.equal(result[0], NOISE[0]) and not torch.equal(result[1], NOISE[1])
    assert made.denoiser_calls == 3


def test_only_unets_with_cross_attention() -> None:
    from tests import tiny_flow

    method = MethodSpec.parse("initno").build()
    with pytest.raises(InputError, match="UNet2DConditionModel"):
        method.prepare(Pipeline(tiny_flow.stable_diffusion_3()), Sampling())
    for options in ("rounds=0", "iterations=0", "final_iterations=-1", "lr=0", "kl_weight=-1", "kl_limit=-1"):
        with pytest.raises(InputError):
            MethodSpec.parse(f"initno:{options}").build()
