"""Long prompts against the text encoder's own truncation and a mean written out here."""

from __future__ import annotations

import warnings

import pytest
import torch

from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.long_prompts import TextWarning, chunks, reach, warn_cut
from tests import tiny, tiny_flow
from tests.pipelines.families import tiny_hunyuan, tiny_pixart

LONG = "a red cube on a blue ball near an old green bird"  # 16 tokens are read, 2 of them special


@pytest.fixture(scope="module")
def pipe():
    return tiny.stable_diffusion()


@pytest.fixture(scope="module")
def limits(pipe):
    return Pipeline(pipe).text_limits


def count(pipe, text: str) -> int:
    return len(pipe.tokenizer(text).input_ids)


def test_what_is_read_is_all_that_matters_to_the_encoder(pipe, limits) -> None:
    """The encoder sees the same of the text up to `reach`, and not of one word less."""
    assert count(pipe, LONG) > tiny.TEXT_LENGTH
    kept = LONG[: reach(limits, LONG)]
    assert count(pipe, kept) <= tiny.TEXT_LENGTH < count(pipe, LONG[: LONG.find(" ", len(kept) + 1)])
    assert LONG[len(kept)] == " "
    assert reach(limits, "a red cube") == len("a red cube")


def test_limits_of_every_encoder(limits) -> None:
    assert [limit for _, limit in limits] == [16]
    assert [limit for _, limit in Pipeline(tiny.stable_diffusion_xl()).text_limits] == [16, 16]
    hunyuan = Pipeline(tiny_hunyuan.hunyuan_dit()).text_limits
    assert [(type(t).__name__, limit) for t, limit in hunyuan] == [("BertTokenizer", 77), ("T5Tokenizer", 256)]
    assert [limit for _, limit in Pipeline(tiny_flow.flux(schnell=True)).text_limits] == [256]
    assert [limit for _, limit in Pipeline(tiny_flow.flux()).text_limits] == [512]
    assert [limit for _, limit in Pipeline(tiny_pixart.pixart()).text_limits] == [120]  # of the alpha version


@pytest.mark.parametrize("long", ["a red cube " * 200, "\u7ea2\u8272" * 300])
def test_the_encoder_of_another_family_reads_what_is_said(long: str) -> None:
    """With spaces or without: BERT's own truncation keeps as many tokens as fit, and not one more."""
    pipe = tiny_hunyuan.hunyuan_dit()
    kept = long[: reach(Pipeline(pipe).text_limits, long)]
    ids = pipe.tokenizer(long, truncation=True, max_length=77).input_ids
    mine = pipe.tokenizer(kept).input_ids
    assert len(mine) <= 77 and mine[:-1] == ids[: len(mine) - 1]
    assert len(pipe.tokenizer(long[: len(kept) + 6]).input_ids) > 77


def test_chunks_hold_every_word_once_and_fit(pipe, limits) -> None:
    parts = chunks(limits, LONG)
    assert len(parts) > 1 and " ".join(parts) == LONG
    assert all(count(pipe, part) <= tiny.TEXT_LENGTH for part in parts)
    endless = "q" * 50
    parts = chunks(limits, endless)
    assert "".join(parts) == endless and all(count(pipe, part) <= tiny.TEXT_LENGTH for part in parts)
    assert chunks(limits, "a red cube") == ["a red cube"]


def test_the_warning_names_what_is_cut(limits) -> None:
    with pytest.warns(TextWarning, match=r"the prompt is longer.*16 tokens.*bird' is cut"):
        assert warn_cut(limits, [LONG]) == 1
    with pytest.warns(TextWarning, match="1 of 2 prompts"):
        assert warn_cut(limits, ["a red cube", LONG, LONG]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warn_cut(limits, ["a red cube"]) == 0


@pytest.mark.parametrize("kind", ["stable_diffusion", "stable_diffusion_xl"])
def test_average_is_the_mean_over_chunks_and_changes_nothing_else(kind: str) -> None:
    pipeline = Pipeline(getattr(tiny, kind)())
    texts = ["a red cube", LONG, "of an age"]
    cut = pipeline.encode(texts)
    pipeline.long_prompts = "average"
    mean = pipeline.encode(texts)
    expected = torch.stack(
        [pipeline.encode([part]).prompt_embeds[0] for part in chunks(pipeline.text_limits, LONG)]
    ).mean(0)
    torch.testing.assert_close(mean.prompt_embeds[1], expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(mean.prompt_embeds[[0, 2]], cut.prompt_embeds[[0, 2]])
    assert not torch.allclose(mean.prompt_embeds[1], cut.prompt_embeds[1], atol=1e-2)
    assert all(torch.equal(mean.call_kwargs[name], cut.call_kwargs[name]) for name in cut.call_kwargs)
