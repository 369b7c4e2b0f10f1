"""Quality against all denoiser calls of an image, those for its noise and for every drawing that was thrown away."""

from __future__ import annotations

from noiseprompt.results.names import control_of
from noiseprompt.results.summary import ACCURACY, Summary
from noiseprompt.shapes.world import CHECKER


def by_price(summary: Summary) -> list[str]:
    """Labels of the methods, those with the fewest calls first; at equal calls the better first."""
    main, methods = summary.main_metric, summary.methods
    return sorted(methods, key=lambda label: (methods[label].denoiser_calls, -methods[label].metrics[main].mean))


def better_for_less(summary: Summary) -> dict[str, str]:
    """Label -> the best method by the main metric of those with no more calls, "" where none is better.

    Controls, and methods that the scorer of that metric steered, are compared but are nobody's better.
    """
    main = summary.main_metric
    scorer = CHECKER if main == ACCURACY else main
    mean = {label: method.metrics[main].mean for label, method in summary.methods.items()}
    calls = {label: method.denoiser_calls for label, method in summary.methods.items()}
    honest = [label for label in by_price(summary) if not control_of(label) and summary.methods[label].scorer != scorer]
    found = {}
    for label in by_price(summary):
        above = [other for other in honest if calls[other] <= calls[label] and mean[other] > mean[label]]
        found[label] = max(above, key=lambda other: mean[other], default="")
    return found


def front(summary: Summary) -> list[str]:
    """Labels of the methods that nothing beats for as few calls, the cheapest first; no controls."""
    main = summary.main_metric
    scorer, better = CHECKER if main == ACCURACY else main, better_for_less(summary)
    methods = summary.methods
    return [
        label
        for label in by_price(summary)
        if not (better[label] or control_of(label)) and methods[label].scorer != scorer
    ]
