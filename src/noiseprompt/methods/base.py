"""What a noise method is, and how a user names one: "npnet:strength=1.5"."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from noiseprompt.core.arguments import told
from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import NAMED, Limits, check, check_value, setting
from noiseprompt.core.specs import check_needed, option_types, spec_options, split_spec
from noiseprompt.core.types import Sampling
from noiseprompt.methods.table import METHODS
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.noise.seeds import check_noise

if TYPE_CHECKING:
    import torch

    from noiseprompt.pipelines import Pipeline, TextEmbeds


class NoiseMethod(ABC):
    """Source noise -> target noise for a prompt: the same noise in, the same noise out, whatever else is in the batch.

    A method is a class whose constructor arguments are its options: keyword, with a default and an annotation
    (float, int, str, bool, a Literal, or one of them | None). A dataclass does. To add one: a file here and a line in
    `table.py`.
    """

    name: ClassVar[str]
    teaches: ClassVar[bool] = True
    """Whether its target noise is the source with a change worth learning: what noise prompt data sets are made of."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Former name of an option -> its name; data sets keep recording the former."""

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:  # noqa: B027 - most methods need nothing
        """Load what the method needs, once, before anything is timed.

        Args:
            sampling: how the run draws its images, for methods that draw some themselves.

        Raises:
            NoisepromptError: the method cannot work with this pipeline.
        """

    def describe(self) -> dict[str, Any]:
        """What the label does not tell but the result depends on, after `prepare`: plain JSON data."""
        return {}

    def signal(self, pipeline: Pipeline) -> float:
        """Factor of a picture that the noise carries on purpose at full strength; 0 where it stays unit Gaussian."""
        return 0.0

    @abstractmethod
    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """The target noise at full strength.

        Args:
            embeds: B encoded prompts.
            noise: (B, C, H, W) unit Gaussian, on any device: what the method computes elsewhere it moves there itself.

        Returns:
            (B, C, H, W) of the device and dtype of `noise`.
        """

    def perturb_and_lower(
        self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor, sampling: Sampling
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`perturb`, and x_{T-k}: `noise` after the first step of the sampler, where the work holds it already.

        An offer: whoever draws the image of `noise` as well saves that step. Most methods have nothing to offer.

        Args:
            sampling: how that image is drawn.

        Returns:
            the target noise, and what `Pipeline.sample(after_first_step=True)` goes on from, or None.
        """
        return self.perturb(pipeline, embeds, noise), None


_GENERIC = {"strength": float, "renormalize": bool, "swap": bool, "shuffle": bool}
"""Options of every method."""


STRENGTH = Limits(least=-1_000_000, most=1_000_000)


def check_options(method: NoiseMethod) -> None:
    """Hold the fields of a method that is a dataclass to their annotations and limits.

    Raises:
        ConfigError: those that do not fit, all of them at once.
    """
    check(method, f"{method.name}:{{}}={{}}")


@told
@dataclass(frozen=True)
class MethodSpec:
    """A method with its options, as typed by a user.

    Fields:
        label: the canonical text, e.g. "npnet:strength=1.5": options by name, then strength, renormalize, swap and
            shuffle where given.
        name: in `table.py`.
        options: of the method's constructor, converted.
        strength: s of source + s (target - source); from -1,000,000 to 1,000,000, 0 is exactly the source.
        swap: whether the noise is made for a wrong prompt (the control: a text-blind gain would survive it).
        shuffle: whether the perturbation is that of another source noise (the control: a gain that does not depend on
            the noise it was made for would survive it).
        renormalize: whether each image's noise is scaled back to the norm of its source.
        named: the options that the user wrote, those of no effect too ("strength=1" is not in the label).

    Raises:
        ConfigError: a strength out of its range, or an empty label.
    """

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    strength: float = setting(1.0, STRENGTH)
    swap: bool = False
    shuffle: bool = False
    renormalize: bool = False
    named: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        check(self)
        check_value("label", str, self.label, NAMED)

    @classmethod
    def parse(cls, text: str) -> MethodSpec:
        """Read "name", "name:flag" or "name:key=value,flag".

        Raises:
            UnknownNameError: no such method.
            InputError: an option the method does not have (the message lists those it has), a value that does not
                convert or is out of its range, or an option of "standard", which changes nothing.
        """
        check_value("a method", str, text)
        name, parts = split_spec(text)
        method = METHODS.get(name)
        for part, key, _ in parts:
            if key in method.renamed:
                now = part.replace(key, method.renamed[key], 1)
                raise InputError(f"option {part!r} of method {name!r}", f"{now!r}: it has a new name")
        known = {**(option_types(method) or {}), **_GENERIC}
        given = spec_options("method", text, known)
        spec = cls(name, name, named=frozenset(given))._with(given)
        if name == "standard" and spec.label != name:
            came = f"the method {text.strip()!r}, which is the source noise whatever its options"
            raise InputError(came, "standard alone", "give the option to another method")
        return spec

    def with_defaults(self, **defaults: Any) -> MethodSpec:
        """This spec with `defaults` for the options it does not name itself; what its method does not take is left out.

        Raises:
            InputError: a value out of its range.
        """
        return self._with({key: value for key, value in defaults.items() if self.takes(key)})

    def takes(self, option: str) -> bool:
        """Whether it has an option and does not name it itself."""
        check_value("option", str, option)
        return option in {*(option_types(METHODS.get(self.name)) or ()), *_GENERIC} - self.named

    def _with(self, given: Mapping[str, Any]) -> MethodSpec:
        own = {key: value for key, value in given.items() if key not in _GENERIC}
        options = dict(sorted({**self.options, **own}.items()))
        spec = replace(self, options=options, **{key: given[key] for key in _GENERIC if key in given})
        spec.build()  # refuses options out of range before anything is loaded
        return replace(spec, label=spec._written(options))

    def _written(self, options: Mapping[str, Any]) -> str:
        words = [key if value is True else f"{key}={_show(value)}" for key, value in options.items()]
        words += [f"strength={_show(self.strength)}"] * (self.strength != 1) + ["renormalize"] * self.renormalize
        words += ["swap"] * self.swap + ["shuffle"] * self.shuffle
        return self.name + (":" + ",".join(words) if words else "")

    @property
    def recorded(self) -> str:
        """The label as data sets record it: with the former names of options that have been renamed."""
        former = {now: before for before, now in METHODS.get(self.name).renamed.items()}
        options = {former.get(key, key): value for key, value in self.options.items()}
        return self._written(dict(sorted(options.items())))

    def build(self) -> NoiseMethod:
        """The method, nothing loaded yet.

        Raises:
            InputError: an option out of its range.
            MethodError: one of another package that cannot be made.
        """
        from noiseprompt.methods.foreign import built

        method = METHODS.get(self.name)
        kinds = option_types(method)
        kinds = dict.fromkeys(self.options, Any) if kinds is None else kinds
        if unknown := sorted(set(self.options) - set(kinds)):
            expected = f"some of {', '.join(kinds)}" if kinds else "no options"
            raise InputError(f"option {', '.join(unknown)} of method {self.name!r}", expected)
        for name, value in self.options.items():  # also of a method that does not hold its own
            check_value(f"{self.name}:{name}", kinds.get(name, Any), value)
        check_needed("method", self.name, method, self.options)
        return built(self.name, method, dict(self.options), NoiseMethod)


def check_different(specs: Sequence[MethodSpec]) -> None:
    """Refuse one method under two labels: with an option at the value that it has anyway, and without.

    Raises:
        InputError: with both labels.
    """
    found: dict[str, str] = {}
    for spec in specs:
        method = METHODS.get(spec.name)
        known = {} if option_types(method) is None else inspect.signature(method).parameters
        own = {key: value for key, value in spec.options.items() if key not in known or value != known[key].default}
        first = found.setdefault(spec._written(own), spec.label)
        if first != spec.label:
            raise InputError(f"{first} and {spec.label}, which are the same method", "different methods")


def make_noise(
    spec: MethodSpec,
    method: NoiseMethod,
    pipeline: Pipeline,
    embeds: TextEmbeds,
    swapped_embeds: TextEmbeds | None,
    noise: torch.Tensor,
) -> torch.Tensor:
    """The noise an image starts from: noise + strength (perturb(noise) - noise), in float32, cast last.

    Strength 0 is `noise` itself and strength 1 exactly what the method gave; neither is rounded. With
    `spec.renormalize` each row is scaled to the norm of its row of `noise` at the end. With `spec.shuffle` the
    perturbation is perturb(other) - other, where `other` is fresh noise that follows from `noise`, row by row.

    Args:
        embeds: B encoded prompts, those to draw.
        swapped_embeds: B other prompts, for `spec.swap`; may be None without it.
        noise: (B, C, H, W) unit Gaussian.

    Raises:
        InputError: a swap without other prompts.
        NoiseError: the method gave values that are not finite.
    """
    if spec.strength == 0:
        return noise
    if spec.swap and swapped_embeds is None:
        raise InputError(f"method {spec.label!r} without other prompts", "at least two different prompts")
    chosen = swapped_embeds if spec.swap and swapped_embeds is not None else embeds
    source = fresh_noise(noise, "shuffle") if spec.shuffle else noise
    target = method.perturb(pipeline, chosen, source)
    if spec.shuffle:
        target = noise.float() + (target.to(noise.device).float() - source.float())
    made = at_strength(spec, target, noise)
    check_noise(made, f"the noise of {spec.label!r}")
    return made


def at_strength(spec: MethodSpec, target: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """noise + strength (target - noise), row by row of the norm of `noise` with `spec.renormalize`; finite or not.

    Args:
        target: (B, C, H, W), at full strength.
        noise: (B, C, H, W) unit Gaussian; the result has its device and dtype.
    """
    target = target.to(noise.device)
    if spec.strength != 1:
        target = noise.float() + spec.strength * (target.float() - noise.float())
    return (renormalized(target, noise) if spec.renormalize else target).to(noise.dtype)


def renormalized(latents: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) float32: each row of `latents` scaled to the norm of its row of `source`; a row of zeros stays."""
    wanted, found = (x.float().flatten(1).norm(dim=1) for x in (source, latents))
    return latents.float() * (wanted / found.clamp_min(1e-12))[:, None, None, None]


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    whole = isinstance(value, float) and abs(value) < 1e15 and value == int(value)
    return repr(int(value)) if whole else str(value)
