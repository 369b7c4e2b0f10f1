"""Feature extractors for the set metrics: the protocol, loading by name, and the embedded world's own network."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch

from noiseprompt.core.arguments import held
from noiseprompt.core.devices import resolve_device
from noiseprompt.core.errors import InputError, ModelLoadError, ShapeError
from noiseprompt.core.network_files import load_network
from noiseprompt.core.places import expanded, no_file
from noiseprompt.core.ranges import COUNT, check_value
from noiseprompt.core.specs import make
from noiseprompt.core.tensors import check_values
from noiseprompt.scorers.table import FEATURES
from noiseprompt.shapes.features import WIDTH, FeatureNet
from noiseprompt.shapes.scenes import SIZE
from noiseprompt.shapes.world import features_folder


@runtime_checkable
class FeatureExtractor(Protocol):
    """Images -> points in a space where distances mean something."""

    name: str
    width: int

    def features(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) -> float32 (N, width)."""
        ...


@held
def load_features(spec: str) -> FeatureExtractor:
    """The extractor of "name" or "name:key=value,...".

    Raises:
        UnknownNameError: a name that no extractor has.
        InputError: an option it does not have.
        ModelLoadError: its weights are not there.
    """
    return make(FEATURES, spec)


class ShapesFeatures:
    """64 features of the world's own network.

    Args:
        folder: of the weights; those shipped unless given.
        device: "auto", "cpu", "cuda" ...; the network is so small that a CPU serves it.
        batch_size: images looked at together.

    Raises:
        ModelLoadError: no weights there, or not of this network.
    """

    name = "shapes-features"
    width = WIDTH

    def __init__(self, folder: str | None = None, device: str = "cpu", batch_size: int = 256) -> None:
        check_value("batch_size", int, batch_size, COUNT)
        self.batch_size, self.device = batch_size, resolve_device(device)
        path = (features_folder() if folder is None else expanded(folder)) / "model.safetensors"
        if not path.is_file():
            raise ModelLoadError(no_file(path), "weights that `noiseprompt shapes features` wrote")
        self.network = load_network(path, FeatureNet).float().eval().requires_grad_(False).to(self.device)
        check_values(self.network, f"the network in {path.parent}")

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, 64, 64, 3) -> float32 (N, 64).

        Raises:
            ShapeError: images of another shape.
            InputError: images that are not uint8.
        """
        check_pictures(images, SIZE)
        found = np.empty((len(images), WIDTH), np.float32)
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            pixels = torch.from_numpy(images[part]).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            found[part] = self.network.features(pixels).cpu().numpy()
        return found


def check_pictures(images: np.ndarray, size: int | None = None) -> None:
    """Refuse what is not uint8 (N, H, W, 3), of edge `size` where it is given.

    Raises:
        ShapeError: the shape is wrong.
        InputError: the values are not uint8.
    """
    edge = ("H", "W") if size is None else (size, size)
    if images.ndim != 4 or images.shape[-1] != 3 or (size is not None and images.shape[1:3] != (size, size)):
        raise ShapeError(f"images of shape {tuple(images.shape)}", f"(N, {edge[0]}, {edge[1]}, 3)")
    if images.dtype != np.uint8:
        raise InputError(f"images of type {images.dtype}", "uint8 in [0, 255]", "multiply [0, 1] by 255 and round")
