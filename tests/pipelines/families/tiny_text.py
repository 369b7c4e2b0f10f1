"""Tiny tokenizers and text encoders of the kinds that diffusion transformers use, built in code."""

from __future__ import annotations

import string
from typing import Any

WORDS = ["red", "blue", "cube", "ball", "two", "a", "of", "and"]
LETTERS = [*string.ascii_lowercase, *string.digits, *".,-:'\"/*"]


def t5_tokenizer(**options: Any) -> Any:
    """T5Tokenizer: unigrams over letters and a few words."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS] + [(letter, -5.0) for letter in LETTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, **options)


def bert_tokenizer() -> Any:
    """BertTokenizer: word pieces over letters and a few words."""
    from transformers import BertTokenizer

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    return BertTokenizer(vocab={token: i for i, token in enumerate(dict.fromkeys(tokens))}, model_max_length=77)


def gemma_tokenizer() -> Any:
    """GemmaTokenizer: most characters of Sana's long instruction are unknown and fuse, so that it stays short."""
    from tokenizers import processors
    from transformers import GemmaTokenizer

    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\n", *"rbcueo", *string.digits]
    tokenizer = GemmaTokenizer(vocab={token: i for i, token in enumerate(tokens)})
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)]
    )
    return tokenizer


def t5_encoder(width: int = 24, kind: str = "T5") -> Any:
    """T5EncoderModel or MT5EncoderModel."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=128,
        d_model=width,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        relative_attention_num_buckets=8,
        feed_forward_proj="gated-gelu",
    )
    return getattr(transformers, f"{kind}EncoderModel")(config).eval()


def bert_model(width: int = 32) -> Any:
    """BertModel."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=128,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        max_position_embeddings=77,
    )
    return BertModel(config).eval()


def gemma_model(width: int = 16) -> Any:
    """Gemma2Model."""
    from transformers import Gemma2Config, Gemma2Model

    config = Gemma2Config(
        vocab_size=128,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=2048,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return Gemma2Model(config).eval()
