"""What recipes/sdxl-reward.yaml costs on paper: floating point operations and kept values, counted without weights.

    python benchmarks/reward_price.py

The U-Net and the decoder are built on torch's meta device with the sizes of stabilityai/stable-diffusion-xl-base-1.0;
nothing is computed. A training image costs every denoiser call three times: forward, forward again in the backward pass
(of a checkpoint), and the gradient at the latents, the weights being frozen. Time is operations over half the dense
peak of an H100 in bf16. Scorers, text encoders and the noise network are left out: under a hundredth of the U-Net.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from noiseprompt.stages.train.settings import TrainConfig

RECIPE = Path(__file__).parents[1] / "recipes" / "sdxl-reward.yaml"
BF16, SHARE = 989e12, 0.5


def unet() -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """SDXL's, with the arguments of a guided call for one image of 1024 pixels."""
    from diffusers import UNet2DConditionModel

    net = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    added = {"text_embeds": torch.empty(2, 1280), "time_ids": torch.empty(2, 6)}
    text = torch.empty(2, 77, 2048)
    return net, (torch.empty(2, 4, 128, 128), torch.empty(2), text), {"added_cond_kwargs": added}


def decoder() -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """SDXL's, with latents of one image."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        up_block_types=("UpDecoderBlock2D",) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
    return vae.decoder, (torch.empty(1, 4, 128, 128),), {}


def counted(network: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[float, float, int]:
    """(operations of a forward pass, bytes kept for the backward pass in bf16, parameters)."""
    network.requires_grad_(False)
    own = {id(parameter) for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if id(x) not in own and not isinstance(x, torch.nn.Parameter):
            kept[id(x)] = x.numel()
        tensors.append(x)  # so that no other takes its id
        return x

    tensors: list[torch.Tensor] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x)
    latents = given[0].requires_grad_()
    with FlopCounterMode(display=False) as flops, hooks:
        network(latents, *given[1:], **named)
    return float(flops.get_total_flops()), 2.0 * sum(kept.values()), sum(p.numel() for p in network.parameters())


def main() -> None:
    """Print the price."""
    training = yaml.safe_load(RECIPE.read_text())["train"]
    config = TrainConfig(**{key: value for key, value in training.items() if key in ("chain_steps", "epochs")})
    with torch.device("meta"):
        call, kept, parameters = counted(*unet())
        decoding, kept_decoding, _ = counted(*decoder())
    images = training["n"] * (1 - training["validation_share"]) * config.epochs
    steps = int(images // training["batch_size"])
    validations = steps // training["validate_every"] + 2
    drawn = validations * training["validation_images"]
    image = 3 * (config.chain_steps * call + decoding)
    whole = training["num_inference_steps"] * call + decoding
    hours = {"training": images * image, "validation": drawn * whole}
    print(f"U-Net of {parameters / 1e9:.2f} G parameters, a guided call {call / 1e12:.1f} TFLOP")
    print(f"a decoding {decoding / 1e12:.1f} TFLOP")
    print(f"kept for one backward pass: {kept / 1e9:.1f} GB of a call, {kept_decoding / 1e9:.1f} GB of a decoding")
    print(f"{steps} steps of {training['batch_size']}; {validations} validations, {drawn} images")
    for name, flops in hours.items():
        print(f"{name}: {flops / (BF16 * SHARE) / 3600:.1f} H100 hours")


if __name__ == "__main__":
    main()
