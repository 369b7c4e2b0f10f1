"""What a scorer is, and how the names of scorers become objects."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import distributions, entry_points
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from noiseprompt.core.arguments import called, held
from noiseprompt.core.arrays import plain_numbers
from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import (
    InputError,
    ModelLoadError,
    NoisepromptError,
    NoisepromptWarning,
    ScorerError,
    ShapeError,
)
from noiseprompt.core.places import current_folder
from noiseprompt.core.ranges import SUMMABLE, Limits, check_value, kind_of
from noiseprompt.core.specs import make, split_spec
from noiseprompt.core.types import Prompt
from noiseprompt.scorers.table import SCORERS

if TYPE_CHECKING:
    from noiseprompt.shapes.scenes import Request


@runtime_checkable
class Scorer(Protocol):
    """Judges images against their prompts; higher is better."""

    name: str

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        """Images uint8 (N, H, W, 3) in [0, 255], one prompt each -> float64 (N,)."""
        ...


LONGEST = 100
"""Letters of a scorer's name."""

ENTRY_POINTS = "noiseprompt.scorers"
"""Entry-point group by which an installed package offers scorers: name = "module:class"."""


@called
def load_scorers(names: Sequence[str]) -> list[Scorer]:
    """One scorer for each "name" or "name:key=value,..." in the order given; one that occurs twice is loaded once.

    Options are those of the scorer's constructor, such as "pickscore:path=FOLDER,device=cuda,dtype=bfloat16".

    Raises:
        UnknownNameError: a name that no scorer has.
        InputError: no names, an option that the scorer does not have, or two scorers under one name.
        ModelLoadError: a scorer whose weights are not there.
        ScorerError: one of another package that cannot be imported or built.
    """
    check_value("scorers", list[str], names, Limits(some=True))
    return [_load(spec) for spec in check_scorers(names)]


def _load(spec: str) -> Scorer:
    name = spec.partition(":")[0]
    with _blamed(name):
        scorer = make(SCORERS, spec)
        sound = isinstance(scorer, Scorer) and isinstance(scorer.name, str)  # a name may be computed, and fail
    if not sound:
        came = f"the scorer {name!r}{_of(_OFFERED.get(name, ''))} is {kind_of(scorer)}"
        raise InputError(came, "an object with `name`, a text, and `score`")
    check_name(scorer.name)
    if SCORERS.is_own(scorer.name) and not SCORERS.is_own(name):
        came = f"the scorer {name!r}{_of(_OFFERED.get(name, ''))} calls itself {scorer.name!r}, as one of ours"
        raise InputError(came, "a `name` of its own")
    return scorer


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """While it lasts, what fails is told with the package that offers the scorer of that name; ours is no other's."""
    try:
        yield
    except ModelLoadError as error:
        if repr(name) in error.came:
            raise
        raise ModelLoadError(f"the scorer {name!r}: {error.came}", error.expected, error.fix) from error
    except (NoisepromptError, MemoryError):
        raise
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a plug-in may raise anything
        if SCORERS.is_own(name):
            raise
        package = _OFFERED.get(name) or SCORERS.package(name)
        raise _failed(name, package, error) from error


@held
def judge(scorer: Scorer, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
    """What a scorer says of images, float64 (N,), maybe not finite; a scorer that fails is named with its package.

    Args:
        images: uint8 (N, H, W, 3).
        prompts: one an image.

    Raises:
        ScorerError: it raises, or gives something else than N numbers, or one beyond 1e30.
        NoisepromptError: as it raises itself.
    """
    package = type(scorer).__module__.partition(".")[0]
    try:
        if package == "noiseprompt":
            given = scorer.score(images, prompts)
        else:
            with _our_folder():  # what a plug-in writes into its images would be saved as what was drawn
                given = scorer.score(np.copy(images), prompts)
        scores = plain_numbers(given) if given is not None else np.empty(0)
    except ShapeError as error:  # of several scorers the one that does not take the images
        fix = error.fix or "ask for images of that size, or name other scorers"
        raise ShapeError(f"{scorer.name}: {error.came}", error.expected, fix) from error
    except NoisepromptError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may raise anything; one that ends the process would do so without a word
        if package == "noiseprompt" or is_out_of_memory(error):  # ours; the caller says to lower batch_size
            raise
        raise _failed(scorer.name, package, error) from error
    if scores.shape != (len(images),):
        came = "None" if given is None else f"{scores.size} scores" if scores.ndim == 1 else f"scores {scores.shape}"
        came = f"the scorer {scorer.name!r}{_of(package)} gave {came} for {len(images)} images"
        raise ScorerError(came, "one number an image")
    if (beyond := np.isfinite(scores) & (np.abs(scores) > SUMMABLE)).any():
        came = f"the scorer {scorer.name!r}{_of(package)} gave {scores[beyond][0]:g}"
        raise ScorerError(came, f"numbers from {-SUMMABLE:g} to {SUMMABLE:g}")
    return scores


@contextmanager
def _our_folder() -> Iterator[None]:
    """The current folder is the same afterwards: what a run writes to has paths that begin there."""
    before = current_folder()
    try:
        yield
    finally:
        if before is not None and current_folder() != before:
            os.chdir(before)


_OFFERED: dict[str, str] = {}
"""Scorer that an installed package offers -> that package."""

_DISPUTED: dict[str, str] = {}
"""Scorer that a second installed package offers -> that one."""


def _of(package: str) -> str:
    return f" of the package {package!r}" if package else ""


def _failed(name: str, package: str, error: BaseException) -> ScorerError:
    try:
        reason = " ".join(str(error).split())[:300]
    except Exception:  # of its own kind, whose text fails too
        reason = "it cannot be told"
    came = f"the scorer {name!r}{_of(package)} fails ({type(error).__name__}{': ' if reason else ''}{reason})"
    return ScorerError(came, "scores", "leave it out, or ask those who made it")


def described(scorer: Scorer) -> dict[str, Any]:
    """What a scorer tells of itself by a method `describe()`, for records; {} without one.

    Raises:
        ScorerError: it fails, or gives something else than plain data.
    """
    describe = getattr(scorer, "describe", None)
    if not callable(describe):
        return {}
    try:
        told = describe()
        if not isinstance(told, dict):
            raise TypeError(f"describe() gives {kind_of(told)} in place of a dict")
        return json.loads(json.dumps(told, allow_nan=False))
    except Exception as error:
        raise _failed(scorer.name, type(scorer).__module__.partition(".")[0], error) from error


def check_scorers(names: Sequence[str]) -> list[str]:
    """The names, each once; nothing is loaded.

    Raises:
        UnknownNameError: a name that no scorer has.
        InputError: two scorers under one name.
    """
    specs = list(dict.fromkeys(name.strip() for name in names))
    words = [split_spec(spec)[0] for spec in specs]
    _tell_of_doubles({word for word in words if SCORERS.is_own(word)} - _TOLD)
    for word in words:
        if words.count(word) > 1:
            raise InputError(f"the scorer {word!r} with two sets of options", "each scorer once", "score in two runs")
        if word not in SCORERS:
            _discover()
            with _blamed(word):
                SCORERS.get(word)  # an unknown name is refused before weights are loaded
        if word in _DISPUTED:
            came = f"the scorer {word!r} of two packages, {_OFFERED[word]!r} and {_DISPUTED[word]!r}"
            raise InputError(came, "one package a scorer", "remove one of them")
    return specs


_TOLD: set[str] = set()
"""Scorers of ours of which a user knows what packages offer under their names."""


def _tell_of_doubles(names: set[str]) -> None:
    """Warn, once a process, that an installed package offers a scorer under the name of one of ours."""
    if not names:
        return
    with suppress(Exception):  # what cannot be read is told when a scorer of a package is asked for
        for point in entry_points(group=ENTRY_POINTS):
            if point.name in names:
                told = (
                    f"the scorer {point.name!r} of the package {_offers(point)!r} is not used: noiseprompt has its own"
                )
                warnings.warn(f"{told}. Ask its makers for another name", NoisepromptWarning, stacklevel=3)
    _TOLD.update(names)


def _offers(point: Any) -> str:
    """The package of an entry point."""
    return point.dist.name if point.dist else point.value.partition(":")[0]


@called
def register_scorer(name: str, factory: Callable[..., Scorer] | str) -> None:
    """Make a scorer of your own known under a name; everything that takes scorers then takes it.

    Args:
        name: that users type; the scorer's own `name` should be the same.
        factory: a class or function that gives a `Scorer`, or "module:attribute"; its arguments become options.

    Raises:
        InputError: a name that is none (`check_name`) or taken, or a text of another form.
    """
    check_value("the name of a scorer", str, name)
    if not callable(factory) and not isinstance(factory, str):
        raise InputError(f"the scorer {name!r} is {factory!r:.60}", 'a class, a function, or "module:attribute"')
    if isinstance(factory, str) and not re.fullmatch(r"[\w.]+:\w+", factory):
        raise InputError(f"the scorer {name!r} is {factory!r:.60}", '"module:attribute", or the class itself')
    check_name(name)
    SCORERS.register(name, factory)


def check_name(name: str) -> None:
    """Refuse what no scorer can be called: results and the options of commands are read by such names.

    Raises:
        InputError: it is empty, longer than `LONGEST`, or has other signs in it than letters, digits, ".", "-", "_".
    """
    if not 0 < len(name) <= LONGEST or not all(sign.isalnum() or sign in ".-_+" for sign in name):
        raise InputError(f"the name {name!r:.80} for a scorer", f'at most {LONGEST} letters, digits, ".", "-"')


def _discover() -> None:
    """Register what installed packages offer; one of ours is never replaced."""
    try:
        found: Any = entry_points(group=ENTRY_POINTS)
    except Exception as error:  # what a package's installer left
        of = _of(", ".join(_damaged()))
        came = f"what the installed packages offer cannot be read: the file entry_points.txt{of} is damaged"
        expected = "lines such as mine = my_package:Mine, in UTF-8"
        raise ScorerError(came, expected, "install that package again, or remove it") from error
    for point in found:
        package = _offers(point)
        if point.name not in SCORERS:
            SCORERS.register(point.name, point.value.partition("[")[0].strip())  # extras are the installer's affair
            _OFFERED[point.name] = package
        elif _OFFERED.get(point.name, package) != package:
            _DISPUTED[point.name] = package


def _damaged() -> list[str]:
    """The installed packages whose entry points cannot be read."""
    found = []
    for package in distributions():
        try:
            list(package.entry_points)
        except Exception:  # any, as above
            found.append(str(package.name))
    return found


def check_images(images: np.ndarray, prompts: Sequence[Prompt], size: int | None = None) -> None:
    """Refuse what is not uint8 (N, H, W, 3) with one prompt an image.

    Raises:
        ShapeError: the shape, the number of prompts, or the edge (where `size` pixels are needed) is wrong.
        InputError: the values are not uint8.
    """
    if not isinstance(images, np.ndarray):
        raise InputError(f"images: {kind_of(images)}", "a numpy array uint8 (N, H, W, 3)")
    check_value("prompts", list[Prompt], prompts)
    edge = ("H", "W") if size is None else (size, size)
    if images.ndim != 4 or images.shape[-1] != 3 or (size is not None and images.shape[1:3] != (size, size)):
        raise ShapeError(f"images of shape {tuple(images.shape)}", f"(N, {edge[0]}, {edge[1]}, 3)")
    if images.dtype != np.uint8:
        raise InputError(
            f"images of type {images.dtype}", "uint8 in [0, 255]", "multiply images in [0, 1] by 255 and round"
        )
    if len(images) != len(prompts):
        raise ShapeError(f"{len(images)} images with {len(prompts)} prompts", "one prompt an image")


def world_requests(prompts: Sequence[Prompt], scorer: str) -> list[Request]:
    """What each prompt asks for in the embedded world.

    Raises:
        InputError: a prompt is not a sentence of the world.
    """
    from noiseprompt.shapes.scenes import parse

    requests = []
    for prompt in prompts:
        try:
            requests.append(parse(prompt.text))
        except ValueError as error:
            raise InputError(
                f"the scorer {scorer} cannot read the prompt {prompt.text!r}",
                'a sentence of the shapes world, such as "a red circle above a blue square"',
                "choose another scorer or other prompts",
            ) from error
    return requests
