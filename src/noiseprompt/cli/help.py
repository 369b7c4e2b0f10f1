"""What `--help` says that an option takes: the words of the mistakes, not those of Python's annotations."""

from __future__ import annotations

import typing
from argparse import Action

from jsonargparse import DefaultHelpFormatter

from noiseprompt.cli.annotations import element
from noiseprompt.cli.options import wanted
from noiseprompt.core.ranges import ANY


class Help(DefaultHelpFormatter):
    """As jsonargparse's, "(type: a whole number, 1 or more, default: 200)"."""

    def _get_type_str(self, action: Action) -> str | None:
        annotation = getattr(action, "_typehint", None)
        if annotation is None:
            return super()._get_type_str(action)
        limits, kinds = getattr(action, "limits", ANY), {annotation, *typing.get_args(annotation)}
        if any(limits.words):
            return "one of " + ", ".join(filter(None, limits.words))
        told = wanted(annotation)
        return limits.told(told) if kinds & {int, float} and element(annotation) is None else told
