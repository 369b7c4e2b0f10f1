"""The noise prompt network (algorithm 2 of the paper): one forward pass, no denoiser call."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from noiseprompt.core.devices import DTYPES, resolve_dtype
from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import Limits, check_value
from noiseprompt.core.types import Sampling, StartLevel
from noiseprompt.methods.base import NoiseMethod
from noiseprompt.shapes import world

if TYPE_CHECKING:
    import torch

    from noiseprompt.npnet.base import NPNet
    from noiseprompt.pipelines import Pipeline, TextEmbeds


class NpnetMethod(NoiseMethod):
    """A trained NPNet. One that predicts a picture has the noise carry it at the level where this run's sampler begins.

    Args:
        path: a folder or hub id; of the embedded world's networks "shapes:pictures", which is meant where None and the
            pipeline is the world, and "shapes:redenoise", the paper's.
        no_text: leave its text term out, so that one trained for another family serves too (the paper, table 6).
        swin_dtype: of the weights of its Swin transformer, as saved where None; bfloat16 is quicker.
    """

    name = "npnet"
    teaches = False

    def __init__(
        self,
        path: str | None = None,
        no_text: bool = False,
        swin_dtype: Literal["float32", "float16", "bfloat16"] | None = None,
    ) -> None:
        check_value("npnet:path", str | Path | None, path)
        check_value("npnet:no_text", bool, no_text)
        check_value("npnet:swin_dtype", str | None, swin_dtype, Limits(words=DTYPES))
        self.path, self.no_text = None if path is None else str(path), no_text
        self.swin_dtype = swin_dtype
        self.net: NPNet | None = None
        self.sampling = Sampling()

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Load the network onto the pipeline's device, once, and see that it fits.

        Raises:
            ShapeError, ModelMismatchError: it was made for another pipeline, size or text encoder.
            InputError: no path, and the pipeline has no shipped network; no text term to leave out, or no Swin
                transformer; or a network that predicts a picture where sampling begins at pure noise.
            ModelLoadError: nothing to load there.
        """
        if self.net is None:
            from noiseprompt.npnet.base import NPNet
            from noiseprompt.npnet.transfer import without_text

            swin = None if self.swin_dtype is None else resolve_dtype(self.swin_dtype)
            net = NPNet.from_pretrained(source_of(self.path, pipeline), swin_dtype=swin).to(pipeline.device).eval()
            self.net = without_text(net) if self.no_text else net
        text = tuple(pipeline.encode([""]).prompt_embeds.shape[1:])
        shape = pipeline.latent_shape(sampling.height, sampling.width)
        self.net.check(shape, embeds_shape=text, family=pipeline.family.name)
        self.sampling = sampling
        level_for(self.net, pipeline, sampling)

    def describe(self) -> dict[str, Any]:
        """The first 12 digits of a hash of the weights: a network trained again under the same path is another one.

        And that it predicts a picture, and its scale, where it does.
        """
        if self.net is None:
            return {}
        digest = hashlib.sha256()
        for name, tensor in sorted(self.net.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        config = self.net.config
        scaled = {"predicts": "picture", "picture_scale": config.picture_scale}
        return {"weights": digest.hexdigest()[:12], **(scaled if config.predicts == "picture" else {})}

    def signal(self, pipeline: Pipeline) -> float:
        """Of the level where this run's sampler begins, of a network that predicts a picture."""
        level = level_for(self.net, pipeline, self.sampling) if self.net else None
        return level.signal if level else 0.0

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """The predicted target noise; noise and text go to the network and the result comes back.

        Raises:
            InputError: `prepare` was not called.
            ShapeError, ModelMismatchError: the network was made for another pipeline.
        """
        import torch

        net = self.net
        if net is None:
            raise InputError("an NPNet that is not loaded", "a network", "call prepare(pipeline, sampling) first")
        prompt_embeds = embeds.prompt_embeds
        shape, text = tuple(noise.shape[1:]), tuple(prompt_embeds.shape[1:])
        net.check(shape, embeds_shape=text, family=pipeline.family.name)
        device, level = next(net.parameters()).device, level_for(net, pipeline, self.sampling)
        with torch.inference_mode():
            return net(noise.to(device, torch.float32), prompt_embeds.to(device, net.dtype), level).to(noise)


def level_for(net: NPNet, pipeline: Pipeline, sampling: Sampling) -> StartLevel | None:
    """Where the sampling that follows begins, for a network that predicts a picture; None for one that needs no level.

    Raises:
        InputError: as `Pipeline.start_level`.
    """
    if net.config.predicts != "picture":
        return None
    return pipeline.start_level(sampling.num_inference_steps, sampling.height, sampling.width)


def source_of(path: str | None, pipeline: Pipeline) -> str | Path:
    """The folder or hub id that an option names; of the world's own for "shapes:NAME", and where it names none.

    Raises:
        InputError: no name, and the pipeline has no network of its own.
    """
    if path is not None and path.startswith(f"{world.NAME}:"):
        return world.npnet_folder(path.removeprefix(f"{world.NAME}:"))
    if path is None and not world.is_world(pipeline.name):
        raise InputError(f"no NPNet for {pipeline.name!r}", "a folder or hub id", 'write "npnet:path=FOLDER"')
    return world.npnet_folder() if path is None else path
