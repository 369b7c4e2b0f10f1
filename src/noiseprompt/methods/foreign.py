"""A method of another package, held to what a method must do: what fails is told with its name and its package."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import MethodError, NoisepromptError
from noiseprompt.core.ranges import kind_of
from noiseprompt.core.types import Sampling
from noiseprompt.methods.table import METHODS

if TYPE_CHECKING:
    import torch

    from noiseprompt.pipelines import Pipeline, TextEmbeds


def built(name: str, method: Any, options: dict[str, Any], kind: type) -> Any:
    """An object of a class that is registered as a method.

    Args:
        kind: `NoiseMethod`, which it must be one of.

    Raises:
        MethodError: it cannot be made, or is none.
    """
    if METHODS.is_own(name):
        return method(**options)
    package = METHODS.package(name) or str(getattr(method, "__module__", "")).partition(".")[0]
    with blamed(name, package):
        made = method(**options)
        if not isinstance(made, kind):
            raise TypeError(f"it is {kind_of(made)} and no {kind.__name__}")
    return Foreign(name, package, made)


@contextmanager
def blamed(name: str, package: str) -> Iterator[None]:
    """While it lasts, what fails is told with the package that the method of that name is from.

    Raises:
        MethodError: it fails.
    """
    try:
        yield
    except (NoisepromptError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a plug-in may raise anything; one that ends the process would do so without a word
        if is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
        came = f"the method {name!r} of the package {package!r} fails ({reason})"
        raise MethodError(came, "noise", "leave it out, or ask those who made it") from error


class Foreign:
    """What a `NoiseMethod` is, of the method it holds; what is not here it asks of it.

    Args:
        name: of the method, in its table.
        package: it is from.
        method: itself.
    """

    def __init__(self, name: str, package: str, method: Any) -> None:
        self._name, self._package, self._method = name, package, method

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """As of the method."""
        with blamed(self._name, self._package):
            self._method.prepare(pipeline, sampling)

    def describe(self) -> dict[str, Any]:
        """As of the method.

        Raises:
            MethodError: it fails, or gives something else than plain data.
        """
        with blamed(self._name, self._package):
            told = self._method.describe()
            if not isinstance(told, dict):
                raise TypeError(f"describe() gives {kind_of(told)} in place of a dict")
            return json.loads(json.dumps(told, allow_nan=False))

    def signal(self, pipeline: Pipeline) -> float:
        """As of the method."""
        with blamed(self._name, self._package):
            factor = float(self._method.signal(pipeline))
            if not 0 <= factor < math.inf:
                raise ValueError(f"signal() gives {factor}")
            return factor

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """As of the method; its source and text stay as they are, whatever the method does to them.

        Raises:
            MethodError: it fails, or gives something else than a tensor of the shape of `noise`.
        """
        with blamed(self._name, self._package):
            return _checked(self._method.perturb(pipeline, _copy(embeds), noise.clone()), noise)

    def perturb_and_lower(
        self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor, sampling: Sampling
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As of the method.

        Raises:
            MethodError: as `perturb`.
        """
        with blamed(self._name, self._package):
            made, lower = self._method.perturb_and_lower(pipeline, _copy(embeds), noise.clone(), sampling)
            return _checked(made, noise), None if lower is None else _checked(lower, noise)


def _copy(embeds: TextEmbeds) -> TextEmbeds:
    """What the picture is drawn with afterwards is another."""
    return embeds.select(range(len(embeds)))


def _checked(made: Any, noise: torch.Tensor) -> torch.Tensor:
    import torch

    if not isinstance(made, torch.Tensor) or not made.is_floating_point():
        raise TypeError(f"it gives {made.dtype if isinstance(made, torch.Tensor) else kind_of(made)}, not latents")
    if made.layout is not torch.strided or made.is_meta:
        raise TypeError(f"it gives {made.layout if made.layout is not torch.strided else 'latents without values'}")
    if made.shape != noise.shape:
        raise ValueError(f"it gives latents {tuple(made.shape)} for {tuple(noise.shape)}")
    return made
