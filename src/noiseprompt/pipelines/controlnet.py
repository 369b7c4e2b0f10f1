"""A ControlNet put into a pipeline, and its image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noiseprompt.core.errors import InputError, ModelLoadError, ModelMismatchError
from noiseprompt.core.hub_errors import refuse_of_the_hub
from noiseprompt.core.pictures import open_picture
from noiseprompt.core.places import expanded
from noiseprompt.core.texts import reason_of
from noiseprompt.pipelines.complete import complete
from noiseprompt.pipelines.families.controlnet import CLASSES
from noiseprompt.pipelines.loading import check_there, weights_in
from noiseprompt.pipelines.soundness import check_finite


def with_controlnet(pipe: Any, controlnet: str | Path | None, control_image: str | Path | Any, dtype: Any) -> Any:
    """The pipeline with a ControlNet and its control image, made of the same components.

    Args:
        pipe: a loaded pipeline whose class is in `families.controlnet.CLASSES`, or one that has a ControlNet already.
        controlnet: folder or hub id of a ControlNet; None for the one the pipeline has.
        control_image: a picture file, or a PIL image.
        dtype: torch dtype of the ControlNet's weights.

    Raises:
        ModelLoadError: no ControlNet or no picture there.
        ModelMismatchError: a pipeline that takes no ControlNet, or a ControlNet for another model.
    """
    import diffusers

    name = type(pipe).__name__
    if controlnet is not None:
        if name not in CLASSES:
            raise ModelMismatchError(f"a ControlNet with a {name}", f"one of {', '.join(CLASSES)}")
        if expanded(controlnet).is_file():
            raise ModelLoadError(f"{controlnet} is a file", "the folder of a ControlNet, or its hub id")
        check_there(str(controlnet), "ControlNet")
        try:
            with complete(controlnet):
                net = diffusers.ControlNetModel.from_pretrained(controlnet, **weights_in(dtype))
            check_finite(controlnet, {"the ControlNet": net})
        except ModelLoadError:
            raise
        except Exception as error:  # diffusers and the hub's client raise many kinds
            refuse_of_the_hub(error, str(controlnet))
            reason = reason_of(error)[:300]
            came = f"the ControlNet {controlnet} does not load ({type(error).__name__}: {reason})"
            raise ModelLoadError(came, "a folder or hub id with config.json and weights of a ControlNet") from error
        check_controlnet(pipe, net)
        pipe = getattr(diffusers, CLASSES[name]).from_pipe(pipe, controlnet=net, **weights_in(dtype))
    elif name not in CLASSES.values():
        fix = "pass --controlnet too"
        raise ModelMismatchError(f"a control image with a {name}", "a pipeline with a ControlNet", fix)
    set_control_image(pipe, control_image)
    return pipe


def check_controlnet(pipe: Any, net: Any) -> None:
    """Refuse a ControlNet that was made for another U-Net.

    Raises:
        ModelMismatchError: another text width, or other channels.
    """
    for field in ("cross_attention_dim", "in_channels", "block_out_channels", "addition_embed_type"):
        came, expected = net.config.get(field), pipe.unet.config.get(field)
        if came != expected:
            raise ModelMismatchError(
                f"a ControlNet with {field} {came}", f"{expected}, as this model has", "take one made for this model"
            )


def set_control_image(pipe: Any, image: str | Path | Any) -> None:
    """The picture a pipeline with a ControlNet follows from now on, in each of our calls.

    Args:
        image: a picture file, or a PIL image.

    Raises:
        ModelLoadError: no readable picture there.
    """
    if isinstance(image, str | Path):
        try:
            image = open_picture(expanded(image))
        except InputError as error:
            raise ModelLoadError(error.came, error.expected, error.fix) from error
    pipe.control_image = image
