"""What an encoder hands over: the arguments of a pipeline call, and the token embeddings an NPNet sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from noiseprompt.core.arguments import told
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.ranges import Limits, check_value, kind_of, plain


@told
@dataclass(frozen=True)
class TextEmbeds:
    """Encoded prompts.

    Fields:
        call_kwargs: keyword arguments of the pipeline call, each a tensor (B, ...) or a list of B, None or empty
            where there is none; negative (empty) prompts included, so that any guidance scale can follow.
        prompt_embeds: (B, L, D), what an NPNet sees.
        texts: the prompts, in the same order; () if made from given embeddings.

    Raises:
        ConfigError: fields of another kind, or rows of another number than B.
    """

    call_kwargs: dict[str, Any]
    prompt_embeds: torch.Tensor
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_value("prompt_embeds", torch.Tensor, self.prompt_embeds)
        check_value("call_kwargs", dict[str, Any], self.call_kwargs)
        for name, value in self.call_kwargs.items():
            if value is None or (isinstance(value, list) and not value):  # what a pipeline leaves out without guidance
                continue
            if not isinstance(value, torch.Tensor | list) or len(value) != len(self):
                rows = f" of {len(value)}" if isinstance(value, torch.Tensor | list) else ""
                raise ConfigError(f"call_kwargs {name}: {kind_of(value)}{rows}", f"a tensor or list of {len(self)}")

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    def select(self, indices: Sequence[int]) -> TextEmbeds:
        """Rows `indices`, in that order; repeats are allowed.

        Raises:
            ConfigError: what numbers no row.
        """
        rows = plain(indices)
        check_value("indices", Sequence[int], rows, Limits(least=-len(self), most=len(self) - 1))
        chosen = torch.as_tensor(rows, dtype=torch.long, device=self.prompt_embeds.device)

        def pick(value: Any) -> Any:
            return value[chosen.to(value.device)] if isinstance(value, torch.Tensor) else [value[i] for i in rows]

        texts = tuple(self.texts[i] for i in rows) if self.texts else ()
        return TextEmbeds({k: pick(v) for k, v in self.call_kwargs.items()}, self.prompt_embeds[chosen], texts)


def fixed_length(embeds: torch.Tensor, length: int) -> torch.Tensor:
    """(B, L, D) -> (B, length, D): cut or padded with zeros, so that an NPNet sees the same length in any batch."""
    embeds = embeds[:, :length]
    return torch.nn.functional.pad(embeds, (0, 0, 0, length - embeds.shape[1]))
