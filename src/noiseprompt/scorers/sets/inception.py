"""InceptionV3's 2,048 features, which FID is usually computed on, through the optional package torch-fidelity."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from noiseprompt.core.devices import resolve_device
from noiseprompt.core.errors import MissingDependencyError, ModelLoadError
from noiseprompt.scorers.sets.extractors import check_pictures

PACKAGE = "torch_fidelity"


class Inception:
    """TensorFlow's InceptionV3 of 2015 as torch-fidelity holds it, resizing included; its pool features.

    Args:
        path: weights-inception-2015-12-05-6726825d.pth of torch-fidelity's release 0.2.0; fetched from there by
            torch-fidelity unless given.
        device: "auto", "cpu", "cuda" ...
        batch_size: images looked at together.

    Raises:
        MissingDependencyError: torch-fidelity is not installed.
        ModelLoadError: the weights are neither there nor fetched, or of another network.
    """

    name = "inception"
    width = 2048

    def __init__(self, path: str | None = None, device: str = "auto", batch_size: int = 64) -> None:
        self.batch_size, self.device = batch_size, resolve_device(device)
        extractor = extractor_class()
        try:
            network = extractor("inception-v3-compat", ["2048"], feature_extractor_weights_path=path)
        except Exception as error:  # files, archives, the network: all end here
            raise ModelLoadError(
                f"cannot load InceptionV3: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                "weights-inception-2015-12-05-6726825d.pth of torch-fidelity, or access to GitHub",
                'fetch it elsewhere and name it: "inception:path=FILE"',
            ) from error
        self.network = network.to(self.device)

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) of any size -> float32 (N, 2048).

        Raises:
            ShapeError: images of another shape.
            InputError: images that are not uint8.
        """
        check_pictures(images)
        found = np.empty((len(images), self.width), np.float32)
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            pixels = torch.from_numpy(np.ascontiguousarray(images[part])).permute(0, 3, 1, 2).to(self.device)
            found[part] = self.network(pixels)[0].float().cpu().numpy()
        return found


def extractor_class() -> Any:
    """torch-fidelity's `FeatureExtractorInceptionV3`, imported without torchvision.

    Raises:
        MissingDependencyError: torch-fidelity is not installed.
    """
    if PACKAGE in sys.modules:
        return importlib.import_module(f"{PACKAGE}.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "the feature extractor 'inception' needs torch-fidelity",
            "torch-fidelity installed",
            "run `pip install 'noiseprompt[inception]'`",
        )
    with _bare_package(list(spec.submodule_search_locations)):
        return importlib.import_module(f"{PACKAGE}.feature_extractor_inceptionv3").FeatureExtractorInceptionV3


@contextmanager
def _bare_package(locations: list[str]) -> Iterator[None]:
    """For a moment a package that is only its folder.

    The real one imports torchvision on its first line, for networks that are not needed here; the one file that is
    does not. Whoever imports torch-fidelity later gets all of it.
    """
    package = types.ModuleType(PACKAGE)
    package.__path__ = locations
    sys.modules[PACKAGE] = package
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n == PACKAGE or n.startswith(f"{PACKAGE}.")]:
            del sys.modules[name]
