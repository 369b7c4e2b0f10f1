"""What recipes/sdxl-pictures.yaml costs on paper: floating point operations counted on networks without weights.

    python benchmarks/picture_price.py

Networks are built on torch's meta device with the sizes of stabilityai/stable-diffusion-xl-base-1.0 and the recipe's;
nothing is computed. Time is operations over half the dense peak of an H100: 989 TFLOP/s in bf16, 494 in TF32 for the
autoencoder, which overflows in float16.
"""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from noiseprompt.npnet import build, tokens_config
from noiseprompt.stages.train.settings import TrainConfig

RECIPE = Path(__file__).parents[1] / "recipes" / "sdxl-pictures.yaml"
PICTURES = 200_000
"""A guess at the captioned pictures there are; the price grows in proportion."""

BF16, TF32, SHARE = 989e12, 494e12, 0.5
LATENTS, TEXT = (4, 128, 128), (77, 2048)


def encoder_flops(side: int) -> float:
    """Of SDXL's autoencoder on one picture of `side` pixels."""
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=1024,
        )
        picture = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        vae.encode(picture)
    return float(counted.get_total_flops())


def network_flops(sizes: dict) -> tuple[float, int]:
    """(of a forward pass on one noise, parameters) of the recipe's network."""
    with torch.device("meta"):
        config = tokens_config(LATENTS, *TEXT, predicts="picture")
        net = build(type(config)(**{**vars(config), **sizes}))
        noise, text = torch.empty(1, *LATENTS), torch.empty(1, *TEXT)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        net.predict(noise, text)
    return float(counted.get_total_flops()), sum(p.numel() for p in net.parameters())


def main() -> None:
    """Print the price."""
    recipe = yaml.safe_load(RECIPE.read_text())
    training = recipe["train"]
    epochs = training.get("epochs", TrainConfig.epochs)
    encoder = encoder_flops(1024)
    forward, parameters = network_flops(training.get("sizes", {}))
    encoding = PICTURES * encoder / (TF32 * SHARE) / 3600
    learning = PICTURES * epochs * 3 * forward / (BF16 * SHARE) / 3600
    stored = PICTURES * 2 * torch.Size(LATENTS).numel() / 1e9
    print(f"encoding: {encoder / 1e12:.2f} TFLOP a picture, {encoding:.1f} H100 hours for {PICTURES:,}")
    print(f"data set: {stored:.0f} GB of latents; texts {2 * torch.Size(TEXT).numel() / 1e6:.2f} MB a caption")
    print(f"network: {parameters / 1e6:.1f} M parameters, {forward / 1e9:.1f} GFLOP a noise")
    print(f"training: {epochs} epochs, {learning:.2f} H100 hours of arithmetic")


if __name__ == "__main__":
    main()
