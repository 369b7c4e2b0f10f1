"""The learned preference scorer of the embedded world, the stand-in for a human-preference model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from noiseprompt.core.arguments import told
from noiseprompt.core.config import check_whole, from_dict
from noiseprompt.core.devices import resolve_device
from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.network_files import load_network as filled
from noiseprompt.core.ranges import COUNT, check_value
from noiseprompt.core.tensors import check_values
from noiseprompt.core.types import Prompt
from noiseprompt.scorers.base import check_images, world_requests
from noiseprompt.scorers.model import check_tensor
from noiseprompt.shapes.preference import PreferenceNet, encode_words
from noiseprompt.shapes.scenes import SIZE
from noiseprompt.shapes.settings import PreferenceConfig
from noiseprompt.shapes.world import preference_folder


@told
class ShapesPreference:
    """A logit per image: sigmoid(a - b) estimates how often a is preferred to b for one prompt.

    Args:
        folder: of the weights; those shipped unless given.
        batch_size: images looked at together.
        device: "cpu", "cuda" ..., "auto"; the network is so small that a CPU serves it.

    Raises:
        ModelLoadError: no weights there, or not of this network.
    """

    name = "shapes-preference"

    def __init__(self, folder: str | Path | None = None, batch_size: int = 64, device: str = "cpu") -> None:
        check_value("batch_size", int, batch_size, COUNT)
        self.batch_size, self.device = batch_size, resolve_device(device)
        place = preference_folder() if folder is None else Path(folder)
        self.network = load_network(place).to(self.device)
        check_values(self.network, f"the network in {place}")

    @torch.inference_mode()
    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        """Images uint8 (N, 64, 64, 3), one prompt each -> float64 (N,), any real numbers.

        Raises:
            ShapeError: images of another shape, or not one prompt each.
            InputError: images that are not uint8, or a prompt that is not a sentence of the world.
        """
        check_images(images, prompts, SIZE)
        words = self._words(prompts)
        scores = np.empty(len(images), np.float64)
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            pixels = torch.from_numpy(images[part]).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            scores[part] = self.network(pixels, words[part]).cpu().double().numpy()  # MPS has no float64
        return scores

    def score_tensor(self, images: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Images float (N, 3, 64, 64) in [0, 1] -> scores (N,) on their device, with gradients to the images.

        Raises:
            ShapeError: images of another shape, or not one prompt each.
            InputError: a prompt that is not a sentence of the world.
        """
        check_tensor(images, prompts, SIZE)
        pixels = images.to(self.device, torch.float32) * 2 - 1
        return self.network(pixels, self._words(prompts)).to(images.device)

    def _words(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        return encode_words([request.text for request in world_requests(prompts, self.name)]).to(self.device)


def load_network(folder: Path) -> PreferenceNet:
    """The network of an exported folder, in float32 and evaluation mode.

    Raises:
        ModelLoadError: files missing, damaged, or of another network.
    """
    expected = "config.json and model.safetensors, as `noiseprompt shapes preference` writes them"
    settings = read_json(folder / "config.json", ModelLoadError, expected)
    try:
        config = from_dict(PreferenceConfig, settings)
        check_whole("width", config.width, 8, 4096)
        check_whole("blocks", config.blocks, 1, 64)
        network = filled(folder / "model.safetensors", lambda: PreferenceNet(config.width, config.blocks))
    except (OSError, ValueError, TypeError) as error:
        raise ModelLoadError(f"cannot load the preference scorer in {folder}: {error}", expected) from error
    return network.float().eval().requires_grad_(False)
