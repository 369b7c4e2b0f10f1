"""Names that users type -> objects, imported only when asked for. To add a scorer or a method: one line below."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Container, Iterator
from typing import Any

from noiseprompt.errors import InputError, UnknownNameError


class Registry:
    """A table of lazily imported objects.

    Args:
        noun: what an entry is, for messages ("scorer").
        entries: name -> "module:attribute".
    """

    def __init__(self, noun: str, entries: dict[str, str]) -> None:
        self.noun = noun
        self._entries: dict[str, Any] = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def register(self, name: str, target: Any) -> None:
        """Add an entry: "module:attribute" or the object itself.

        Raises:
            InputError: the name is taken.
        """
        if name in self._entries:
            raise InputError(f"the {self.noun} {name!r} is registered already", "a new name")
        self._entries[name] = target

    def get(self, name: str) -> Any:
        """The object behind a name.

        Raises:
            UnknownNameError: with the closest names and the whole list.
        """
        if name not in self._entries:
            close = difflib.get_close_matches(name, self._entries, n=3)
            hint = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise UnknownNameError(f"unknown {self.noun} {name!r}", f"one of {', '.join(self)}", hint)
        target = self._entries[name]
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            target = getattr(importlib.import_module(module), attribute)
        return target


def split_spec(text: str) -> tuple[str, list[tuple[str, str, str | None]]]:
    """Read "name:key=value,flag": the name, and of each option what was written, its key and its value (None: a flag).

    A value holds no comma.
    """
    name, _, rest = text.strip().partition(":")
    options = []
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, equals, value = (p.strip() for p in part.partition("="))
        options.append((part, key, value if equals else None))
    return name, options


def split_specs(text: str, known: Container[str] = ()) -> list[str]:
    """Split "a,b:x=1,swap,c" into specs: a part "key=value" belongs to the spec before it.

    Args:
        known: names, where specs have flags: after options, a part without "=" that is none of them is a flag.

    Raises:
        InputError: nothing named.
    """
    specs: list[str] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        option = "=" in part and ":" not in part.partition("=")[0]
        flag = bool(known) and bool(specs) and ":" in specs[-1] and part.partition(":")[0] not in known
        if specs and (option or flag):
            specs[-1] += ("," if ":" in specs[-1] else ":") + part
        else:
            specs.append(part)
    if not specs:
        raise InputError(f"no names in {text!r}", 'a list of names such as "a,b:x=1"')
    return specs


SCORERS = Registry(
    "scorer",
    {
        "shapes-checker": "noiseprompt.scorers.shapes_checker:ShapesChecker",
        "shapes-preference": "noiseprompt.scorers.shapes_preference:ShapesPreference",
        "pickscore": "noiseprompt.scorers.pickscore:PickScore",
        "clipscore": "noiseprompt.scorers.clipscore:CLIPScore",
        "hpsv2": "noiseprompt.scorers.hpsv2:HPSv2",
        "hpsv2.1": "noiseprompt.scorers.hpsv2:HPSv21",
        "aes": "noiseprompt.scorers.aes:AES",
        "imagereward": "noiseprompt.scorers.imagereward:ImageReward",
        "mps": "noiseprompt.scorers.mps:MPS",
    },
)

FEATURES = Registry(
    "feature extractor",
    {
        "shapes-features": "noiseprompt.scorers.features:ShapesFeatures",
        "inception": "noiseprompt.scorers.inception:Inception",
    },
)

METHODS = Registry(
    "method",
    {
        "standard": "noiseprompt.methods.standard:Standard",
        "redenoise": "noiseprompt.methods.redenoise:Redenoise",
        "npnet": "noiseprompt.methods.npnet:NpnetMethod",
        "closed_form": "noiseprompt.methods.closed_form:ClosedForm",
        "repaint": "noiseprompt.methods.repaint:Repaint",
        "nlg": "noiseprompt.methods.nlg:Nlg",
        "best_of_n": "noiseprompt.methods.best_of_n:BestOfN",
        "initno": "noiseprompt.methods.initno:InitNO",
        "reward_gradient": "noiseprompt.methods.reward_gradient:RewardGradient",
    },
)
