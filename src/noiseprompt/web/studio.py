"""The models of the page, one of them in memory, with its judges and methods: draws and judges for one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.core.ranges import shown
from noiseprompt.core.specs import split_specs
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec, NoiseMethod, check_different, make_noise
from noiseprompt.methods.table import METHODS
from noiseprompt.noise.guard import carried, inspect_noise
from noiseprompt.noise.seeds import batch_noise, sampler_generators
from noiseprompt.pipelines import Pipeline
from noiseprompt.results.names import control_of, display_names
from noiseprompt.results.summary import BASELINE
from noiseprompt.scorers.base import check_scorers, load_scorers
from noiseprompt.shapes import world
from noiseprompt.stages.evaluate.plan import SMALL, all_methods
from noiseprompt.web.album import Png
from noiseprompt.web.verdicts import Verdict, judged

if TYPE_CHECKING:
    import numpy as np

    from noiseprompt.pipelines.options import ModelOptions
    from noiseprompt.scorers.base import Scorer
    from noiseprompt.web.ask import Ask

USUAL = ("standard", "npnet", "redenoise", "closed_form", "nlg", "best_of_n")
"""Methods that are offered where none are named: those that take about as long as a few pictures."""

TOGETHER = 8
"""Small pictures that are drawn at once; larger ones are drawn one by one, so that a stop is soon obeyed."""


@dataclass(frozen=True)
class Drawn:
    """One picture.

    Fields:
        method: label.
        seed: of the source noise.
        image: uint8 (H, W, 3).
        verdicts: of the judges, in their order.
        perturbation: norm of the change of the noise over the norm of the source.
        problems: what of the noise lies outside the band of unit Gaussian noise.
        denoiser_calls, seconds: spent on the noise and the picture, an image.
    """

    method: str
    seed: int
    image: np.ndarray
    verdicts: tuple[Verdict, ...]
    perturbation: float
    problems: tuple[str, ...]
    denoiser_calls: float
    seconds: float

    @cached_property
    def png(self) -> Png:
        """Of the image, made once."""
        return Png.of(self.image)


@dataclass(frozen=True)
class Noises:
    """What the methods make of one seed's noise: label -> (C, H, W) float32, the baseline's first; label -> signal."""

    made: dict[str, torch.Tensor]
    signals: dict[str, float]


@dataclass(frozen=True)
class Loaded:
    """One model in memory.

    Fields:
        specs: the methods that are offered.
        names: label -> short name, without folders of the machine.
        refused: label -> why it is not offered.
        steered: label -> the scorer that its noise is chosen by, which is no judge of it.
    """

    pipeline: Pipeline
    judges: tuple[Scorer, ...]
    specs: tuple[MethodSpec, ...]
    names: dict[str, str]
    refused: dict[str, str]
    steered: dict[str, str]


class Studio:
    """What the page draws with. Every piece of work holds a lock: a pipeline is for one thread at a time.

    Args:
        models: folders, hub ids or "shapes"; the first is loaded by `open`, others when they are asked for, in the
            place of the one before.
        methods: what is offered, such as "standard,npnet:path=FOLDER"; every method where "all", `USUAL` where None,
            both less those that refuse the model.
        scorers: judges of every model; of the embedded world its own where None, of other models none.
        options: how models are loaded.

    Raises:
        InputError: no model, no methods, a method twice, or a control.
        UnknownNameError: no such method or scorer.
    """

    def __init__(
        self, models: Sequence[str], methods: str | None, scorers: Sequence[str] | None, options: ModelOptions
    ) -> None:
        if not models or len(set(models)) < len(models):
            raise InputError(f"models {', '.join(models) or '(none)'}", "at least one, and each once")
        self.models, self.optional = tuple(models), methods is None or methods.strip() == "all"
        self.specs = _offered(methods)
        self.scorers = None if scorers is None else check_scorers(scorers)
        self.options, self._lock = options, threading.Lock()
        self._loaded: tuple[str, Loaded] | None = None
        self._methods: dict[tuple[Any, ...], tuple[NoiseMethod, Sampling]] = {}

    def called(self, model: str) -> str:
        """What visitors read of a model.

        Raises:
            InputError: one that the page was not started with.
        """
        names = public_names(self.models)
        if not isinstance(model, str) or model not in names:
            raise InputError(f"model {shown(model)}", f"one of {', '.join(names.values())}")
        return names[model]

    def open(self, model: str) -> Loaded:
        """The model, from memory or loaded now.

        Raises:
            InputError: one that the page was not started with, or a method of a list that does not work with it.
            ModelLoadError: it cannot be loaded.
        """
        self.called(model)
        with self._lock:
            if self._loaded is None or self._loaded[0] != model:
                self._loaded, self._methods = None, {}  # the memory of the one before is free before the next comes
                self._loaded = model, self._load(model)
            return self._loaded[1]

    def _load(self, model: str) -> Loaded:
        pipeline = Pipeline.load(model, self.options)
        own = list(world.SCORERS) if world.is_world(model) else []
        names = own if self.scorers is None else self.scorers
        judges = tuple(load_scorers(names)) if names else ()
        refused, steered = {}, {}
        for spec in self.specs:
            try:
                method = self._method(pipeline, spec, Sampling())
                steered[spec.label] = str(method.describe().get("scorer", ""))
            except NoisepromptError as error:
                if not self.optional:
                    raise
                refused[spec.label] = str(error)
        specs = tuple(spec for spec in self.specs if spec.label not in refused)
        return Loaded(pipeline, judges, specs, display_names([s.label for s in specs]), refused, steered)

    def _method(self, pipeline: Pipeline, spec: MethodSpec, sampling: Sampling) -> NoiseMethod:
        """Ready for that sampling; what it loaded it keeps, whatever the strength. One a method that is offered."""
        key = (spec.name, *sorted(spec.options.items()))
        method, prepared = self._methods.get(key, (None, None))
        if method is None or prepared != sampling:
            method = method or spec.build()
            method.prepare(pipeline, sampling)
            self._methods[key] = method, sampling
        return method

    def draw(self, model: str, ask: Ask, stopped: Callable[[], bool] = lambda: False) -> Iterator[list[Drawn]]:
        """Every seed with every method, a batch of one method at a time; all methods of a batch before the next.

        Args:
            stopped: asked before every batch.

        Raises:
            NoisepromptError: as methods, judges and the pipeline raise.
        """
        loaded = self.open(model)
        size = TOGETHER if max(loaded.pipeline.default_size) <= SMALL else 1
        for start in range(0, len(ask.seeds), size):
            for spec in ask.specs:
                if stopped():
                    return
                with self._lock:
                    drawn = self._batch(loaded, ask, spec, ask.seeds[start : start + size])
                yield drawn

    @torch.no_grad()
    def _batch(self, loaded: Loaded, ask: Ask, spec: MethodSpec, seeds: Sequence[int]) -> list[Drawn]:
        pipeline, n = loaded.pipeline, len(seeds)
        method = self._method(pipeline, spec, ask.sampling)
        calls, start = pipeline.denoiser_calls, time.perf_counter()
        embeds = pipeline.encode([ask.prompt.text] * n)
        source = batch_noise(seeds, pipeline.latent_shape())
        noise = make_noise(spec, method, pipeline, embeds, None, source)
        images = pipeline.sample(embeds, noise, **vars(ask.sampling), generator=sampler_generators(seeds))
        seconds = (time.perf_counter() - start) / n
        signal = carried(spec.strength, method.signal(pipeline))
        reports = [inspect_noise(noise[i : i + 1], source[i : i + 1], signal) for i in range(n)]
        told = judged(loaded.judges, images, ask.prompt)
        spent = ((pipeline.denoiser_calls - calls) / n, seconds)
        return [
            Drawn(spec.label, seed, images[i], told[i], reports[i].perturbation or 0.0, reports[i].problems, *spent)
            for i, seed in enumerate(seeds)
        ]

    @torch.no_grad()
    def noises(self, model: str, ask: Ask) -> Noises:
        """What each method makes of the first seed's noise; nothing is drawn that the method itself does not draw.

        Raises:
            NoisepromptError: as methods raise.
        """
        loaded, made, signals = self.open(model), {}, {}
        with self._lock:
            pipeline = loaded.pipeline
            embeds = pipeline.encode([ask.prompt.text])
            source = batch_noise(ask.seeds[:1], pipeline.latent_shape())
            for spec in ask.specs:
                method = self._method(pipeline, spec, ask.sampling)
                noise = make_noise(spec, method, pipeline, embeds, None, source)
                made[spec.label] = noise[0].detach().float().cpu()
                signals[spec.label] = carried(spec.strength, method.signal(pipeline))
        return Noises(made, signals)


def _offered(methods: str | None) -> list[MethodSpec]:
    """The methods of a list, the baseline first; no controls of "all"."""
    if methods is not None and methods.strip() == "all":
        specs = [spec for spec in all_methods() if not control_of(spec.label)]
    else:
        specs = [MethodSpec.parse(text) for text in (split_specs(methods, METHODS) if methods is not None else USUAL)]
    if BASELINE not in [spec.label for spec in specs]:
        specs = [MethodSpec.parse(BASELINE), *specs]
    labels = [spec.label for spec in specs]
    if len(set(labels)) < len(labels) or len(labels) < 2:
        raise InputError(f"methods {methods}", "at least one beside standard, and each once")
    check_different(specs)
    if swapped := [spec.label for spec in specs if spec.swap]:
        raise InputError(f"the control {swapped[0]} on a page", "methods that need one prompt", "evaluate has controls")
    return sorted(specs, key=lambda spec: spec.label != BASELINE)


def public_names(models: Sequence[str]) -> dict[str, str]:
    """Model -> what visitors read: a hub id as it is, of a folder its last parts."""
    names = display_names([f"model:path={model}" for model in models], depth=1)
    return {
        model: name.removeprefix("model (").removesuffix(")").removeprefix("model:path=")
        for model, name in zip(models, names.values(), strict=True)
    }
