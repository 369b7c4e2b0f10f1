"""A small NPNet for latents of 4 x 16 x 16."""

from __future__ import annotations

import torch

from noiseprompt.npnet import NPNet, build, tokens_config

SHAPE, LENGTH, WIDTH = (4, 16, 16), 12, 32


def network(predicts: str = "noise") -> NPNet:
    torch.manual_seed(1)
    net = build(tokens_config(SHAPE, LENGTH, WIDTH, predicts=predicts))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()
