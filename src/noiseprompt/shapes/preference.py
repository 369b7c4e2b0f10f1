"""The world's preference scorer: how much a picture looks like what a prompt asks for, learned from pairs.

It stands in for a human-preference model: it filters noise prompt data, while the exact checker only judges. Trained on
rendered scenes of the training split against near misses and broken pictures; it never sees a verdict of the checker.

Shapes:
    images  (B, 3, 64, 64) in [-1, 1]
    words   (B, 8) int64, 0 pads
    score   (B,) a logit: sigmoid(a - b) is the chance that a is preferred to b (Bradley-Terry)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from noiseprompt.core.files import claim, replace
from noiseprompt.core.json_files import read_json
from noiseprompt.core.schedules import warm_cosine
from noiseprompt.core.tables import table
from noiseprompt.shapes import scenes, spoiling
from noiseprompt.shapes.settings import PreferenceConfig
from noiseprompt.shapes.training import (
    CONFIG_FILE,
    KIND_SHARES,
    average_of,
    begun,
    curve,
    load_average,
    loop,
    optimize,
    read_config,
    save_network,
    to_tensor,
)

WORDS = 8
"""Words of the longest sentence."""

VALIDATION_PAIRS = 200
"""Pairs of each type of negative in the validation after a training."""


# ---------------------------------------------------------------------------------------------------------- network


def encode_words(texts: Sequence[str]) -> torch.Tensor:
    """Sentences of the world -> (B, 8) word numbers, from 1; an unknown word raises KeyError."""
    number = {word: i for i, word in enumerate(scenes.vocabulary(), 1)}
    words = torch.zeros(len(texts), WORDS, dtype=torch.long)
    for row, text in enumerate(texts):
        ids = [number[word] for word in text.lower().split()]
        words[row, : len(ids)] = torch.tensor(ids)
    return words


class Block(nn.Module):
    """Words look at each other, then at the picture, then think."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.self_in, self.self_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.key_value, self.cross_out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def _attend(self, *parts: torch.Tensor) -> torch.Tensor:
        query, key, value = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        weight = (query * query.shape[-1] ** -0.5 @ key.transpose(2, 3)).softmax(-1).to(value.dtype)
        return (weight @ value).transpose(1, 2).flatten(2)  # trains twice as fast on CPUs as fused attention

    def forward(self, tokens: torch.Tensor, picture: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """tokens (P, L, D), picture (B, 64, D); token row i looks at picture rows[i]."""
        tokens = tokens + self.self_out(self._attend(*self.self_in(self.norms[0](tokens)).chunk(3, -1)))
        key, value = self.key_value(picture)[rows].chunk(2, -1)
        tokens = tokens + self.cross_out(self._attend(self.query(self.norms[1](tokens)), key, value))
        return tokens + self.mlp(self.norms[2](tokens))


class PreferenceNet(nn.Module):
    """A convolutional picture tower (8 x 8 grid) and a small transformer that reads the text against it."""

    def __init__(self, width: int = 96, blocks: int = 3, watchers: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (a, b, stride) in enumerate([(3, 24, 2), (24, 48, 2), (48, 64, 1), (64, 96, 2), (96, width, 1)]):
            layers.append(nn.Conv2d(a, b, 3, stride, 1))
            layers += [nn.GroupNorm(8, b)] if i in (1, 3, 4) else []
            layers += [nn.SiLU()] if i < 4 else []
        self.picture = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.places = nn.Parameter(0.1 * torch.randn(64, width))
        self.words = nn.Embedding(1 + len(scenes.vocabulary()), width)
        self.neighbour = nn.Linear(width, width)
        self.order = nn.Parameter(0.1 * torch.randn(WORDS, width))
        self.watchers = nn.Parameter(0.5 * torch.randn(watchers, width))
        self.blocks = nn.ModuleList([Block(width) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))

    def look(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) in [-1, 1] -> picture tokens (B, 64, D)."""
        grid = self.picture(images.contiguous(memory_format=torch.channels_last))
        return grid.flatten(2).transpose(1, 2) + self.places

    def read(self, picture: torch.Tensor, words: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Scores (P,) of texts `words` (P, 8) against the pictures `rows` (P,) of `picture` (B, 64, D)."""
        read = self.words(words)
        before = F.pad(read, (0, 0, 1, 0))[:, :-1]  # a noun meets its adjective, or colours and shapes are not bound
        tokens = read + self.order + self.neighbour(before)
        tokens = torch.cat([tokens, self.watchers.expand(len(words), -1, -1)], 1)
        for block in self.blocks:
            tokens = block(tokens, picture, rows)
        tokens = self.norm(tokens)
        return self.head(torch.cat([tokens.mean(1), tokens[:, WORDS]], -1)).squeeze(-1)

    def forward(self, images: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """images (B, 3, 64, 64) in [-1, 1], words (B, 8) -> scores (B,)."""
        return self.read(self.look(images), words, torch.arange(len(words), device=words.device))


# --------------------------------------------------------------------------------------------------------- training

READINGS = ((0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (0, 1), (1, 1), (0, 2), (1, 2))
"""(picture, text) of an entry; pictures: true, near, spoiled once, spoiled twice, broken; texts: true, near, unrelated.
Reading 9 is another entry's true picture under the true text."""

PAIRS = (
    (0, 1, 1.0),
    (0, 2, 1.0),
    (2, 3, 0.5),
    (0, 4, 1.0),
    (0, 5, 1.0),
    (6, 1, 1.0),
    (6, 5, 1.0),
    (0, 7, 0.5),
    (6, 8, 0.5),
    (1, 9, 0.5),
    (2, 9, 0.5),
)
"""(better, worse, weight) among the readings."""


def _readings(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of pictures and of texts for all readings of a batch, stacked."""
    row = torch.arange(batch)
    pictures = [p * batch + row for p, _ in READINGS] + [row.roll(1)]
    texts = [t * batch + row for _, t in READINGS] + [row]
    return torch.cat(pictures), torch.cat(texts)


def make_batch(rng: np.random.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (5 size, 3, 64, 64) and words (3 size, 8), in the order of `READINGS`."""
    ladders = [
        spoiling.ladder(rng, scenes.random_request(rng, str(rng.choice(scenes.KINDS, p=KIND_SHARES))))
        for _ in range(size)
    ]
    pictures = [ladder.pictures[i] for i in range(4) for ladder in ladders]
    broken = [spoiling.damage(rng, pictures[i], pictures[(i + 1) % size]) for i in range(size)]
    texts = [ladder.texts[i] for i in range(3) for ladder in ladders]
    return augment(rng, to_tensor(pictures + broken)), encode_words(texts)


def augment(rng: np.random.Generator, images: torch.Tensor) -> torch.Tensor:
    """Mild blur, colour cast, grain and uneven light, as autoencoders leave them; images (B, 3, 64, 64) in [-1, 1]."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))

    def uniform(high: float, *shape: int) -> torch.Tensor:
        return high * torch.rand(len(images), *shape, generator=generator)

    kernel = torch.tensor([0.06, 0.24, 0.4, 0.24, 0.06])
    weight = (kernel[:, None] * kernel).expand(3, 1, 5, 5).contiguous()
    blurred = F.conv2d(F.pad(images, (2, 2, 2, 2), mode="replicate"), weight, groups=3)
    images = torch.lerp(images, blurred, uniform(1.0, 1, 1, 1))
    images = images * (1 + uniform(0.2, 3, 1, 1) - 0.1) + uniform(0.12, 3, 1, 1) - 0.06
    uneven = torch.randn(len(images), 3, 8, 8, generator=generator) * uniform(0.1, 1, 1, 1)
    images = images + F.interpolate(uneven, size=64, mode="bilinear", align_corners=False)
    return (images + torch.randn(images.shape, generator=generator) * uniform(0.08, 1, 1, 1)).clamp(-1, 1)


def train_preference(folder: Path, config: PreferenceConfig) -> Iterator[dict]:
    """Train in `folder`, resumable; yields {stage, step, loss, seconds} every 50 steps, at last the validation.

    Raises:
        ConfigError: the folder was made with other settings.
        StoreLockedError: another process trains there.
        DivergedError: a loss is not finite.
    """
    with claim(folder / CONFIG_FILE, config, begun("preference")):
        yield from _train(folder, config)


def _train(folder: Path, config: PreferenceConfig) -> Iterator[dict]:
    torch.manual_seed(config.seed)
    network = PreferenceNet(config.width, config.blocks)
    ema = average_of(network, config.ema_decay)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=1e-2, betas=(0.9, 0.99))
    pictures, texts = _readings(config.batch_size)
    better, worse = (torch.tensor([pair[i] for pair in PAIRS]) for i in (0, 1))
    weight = torch.tensor([pair[2] for pair in PAIRS])[:, None]

    def step_fn(step: int) -> float:
        images, words = make_batch(np.random.default_rng((config.seed, 4, step)), config.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            scores = network.read(network.look(images), words[texts], pictures).float()
        scores = scores.view(-1, config.batch_size)
        loss = (F.softplus(scores[worse] - scores[better]) * weight).mean() / weight.mean()
        optimize(optimizer, ema, loss, config.lr * warm_cosine(step, config.steps, 100), step)
        return loss.item()

    state = {"model": network, "ema": ema, "optimizer": optimizer}
    yield from loop(folder, "preference", config.steps, state, step_fn, config.checkpoint_seconds)
    ema.apply()
    result = validate(network, VALIDATION_PAIRS)
    replace(folder / "validation.json", json.dumps(result, indent=2))
    yield {"stage": "validation", **result}


@torch.no_grad()
def validate(network: PreferenceNet, count: int, seed: int = 0) -> dict[str, float]:
    """Share of pairs ordered rightly, by type of negative, on `count` requests of the validation split each."""
    result = {}
    for name in spoiling.TYPES:
        rng = np.random.default_rng((seed, 5, spoiling.TYPES.index(name)))
        pairs = [spoiling.pair(rng, name) for _ in range(count)]
        images = augment(rng, to_tensor([p.good for p in pairs] + [p.bad for p in pairs]))
        words = encode_words([p.good_text for p in pairs] + [p.bad_text for p in pairs])
        good, bad = network(images, words).chunk(2)
        result[name] = round(float((good > bad).float().mean()), 4)
    return result


def export(folder: Path, out: Path) -> None:
    """Write the averaged weights of the newest checkpoint in `folder` to `out`: fp16 safetensors, config and card.

    Raises:
        ConfigError: the folder holds no checkpoint.
    """
    config = read_config(folder, PreferenceConfig)
    network = PreferenceNet(config.width, config.blocks)
    load_average(folder, "preference", network, config.ema_decay)
    save_network(network, config, _card(folder, config, sum(p.numel() for p in network.parameters())), out)


def _card(folder: Path, config: PreferenceConfig, parameters: int) -> str:
    path = folder / "validation.json"
    checked = read_json(path) if path.exists() else {}
    types = table(("negative", "%"), [(name, f"{100 * share:.1f}") for name, share in checked.items()])
    return (
        "# Preference scorer of the shapes world\n\n"
        f"Scores how well a 64 x 64 picture shows a sentence of the world; {parameters:,} parameters, stored as fp16.\n"
        "Trained with `noiseprompt shapes preference` on rendered scenes of the training split\n"
        f"against near misses, unrelated texts and broken pictures; seed {config.seed}, {config.steps} steps of "
        f"{config.batch_size},\nAdamW {config.lr}, on CPU in bfloat16. "
        "It stands in for a human-preference model: it filters, the exact checker judges.\n\n"
        f"{curve(folder)}\n\n"
        "Pairs of the validation split ordered rightly, by type of negative:\n\n"
        f"{types}\n"
    )
