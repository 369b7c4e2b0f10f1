"""What an evaluation found about one network, for the card of that network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import InputError
from noiseprompt.core.tables import table
from noiseprompt.core.texts import in_markdown
from noiseprompt.results.folder import read_settings
from noiseprompt.results.names import control_of
from noiseprompt.results.summary import BASELINE, Row, read_summary
from noiseprompt.results.words import interval_text, number, p_text


@dataclass(frozen=True)
class Measured:
    """The figures of a network.

    Fields:
        text: Markdown: a table with n and intervals, how it was measured, and the command.
        results: the same for the hub, as entries of `model-index`.
    """

    text: str
    results: tuple[Mapping[str, Any], ...]


def measured(folder: Path, weights: str, repo: str, prompts: str = "") -> Measured:
    """What a finished evaluation says of the network with these weights.

    Args:
        weights: digest of the network, as the evaluation records it (`NpnetMethod.describe`).
        repo: of the network, for the command.
        prompts: what its prompts are called, such as "shapes:test"; the evaluation knows their digest alone.

    Raises:
        InputError: no finished evaluation there, or one of another network.
    """
    settings, summary = read_settings(folder), read_summary(folder)
    labels = [label for label, told in settings["methods"].items() if told.get("weights") == weights]
    rows = list(_rows({label: summary.methods[label].metrics for label in labels if label in summary.methods}))
    if not rows:
        there = ", ".join(settings["methods"])
        came = f"{folder} did not measure this network beside {BASELINE} noise (its methods: {there})"
        raise InputError(came, "an evaluation of these very weights", "evaluate this network and name that folder")
    titles = ("noise", "metric", "standard", "this network", "gain [95 %]", "p (Holm)", "n")
    cells = [
        (_name(label), in_markdown(metric), number(against.baseline_mean), number(row.mean),
         interval_text(against.gain, signed=True), p_text(against.p_holm), row.n)
        for label, metric, row, against in rows
    ]  # fmt: skip
    text = (
        f"{table(titles, cells)}\n\n{_how(settings, summary.images)}\n\n    {_command(settings, labels, repo, prompts)}"
    )
    name = prompts or f"prompts {settings['settings'].get('prompts', {}).get('fingerprint', '')}".strip()
    return Measured(text, (_result(name, rows),))


def _rows(methods: Mapping[str, Mapping[str, Row]]) -> Iterator[tuple[str, str, Row, Any]]:
    for label, metrics in methods.items():
        for metric, row in metrics.items():
            if row.against is not None:
                yield label, metric, row, row.against


def _name(label: str) -> str:
    """Of a method for readers of the card: its options without the path, and the control it is."""
    control = control_of(label)
    kept = [word for word in label.partition(":")[2].split(",") if word and not word.startswith("path=")]
    name = "NPNet" + (f" ({', '.join(kept)})" if kept else "")
    return f"{name}, a control: no gain is wanted" if control else name


def _how(settings: Mapping[str, Any], images: int) -> str:
    own = settings["settings"]
    pipeline, config = own.get("pipeline", {}), own.get("config", {})
    count = own.get("prompts", {}).get("count", "?")
    wanted = ("num_inference_steps", "guidance_scale", "height", "width")
    how = ", ".join(f"{name} {config[name]}" for name in wanted if config.get(name) is not None)
    version = settings["environment"].get("noiseprompt", "?")
    return (
        f"n counts prompts; gains are paired by prompt and seed, with a 95 % bootstrap interval over prompts. {count}"
        f" prompts, {images} images in all, model {pipeline.get('name', '?')}, {how}; fingerprint"
        f" `{settings['fingerprint']}`, noiseprompt {version}:"
    )


def _command(settings: Mapping[str, Any], labels: list[str], repo: str, prompts: str) -> str:
    own, methods = settings["settings"], [BASELINE]
    for label in labels:
        name, _, options = label.partition(":")
        kept = [word for word in options.split(",") if word and not word.startswith("path=")]
        methods.append(f"{name}:{','.join([f'path={repo}', *kept])}")
    config = own.get("config", {})
    given = {"prompts": prompts or "FILE", "n": own.get("prompts", {}).get("count")}
    given |= {key: config.get(key) for key in ("num_seeds", "seed", "guidance_scale", "num_inference_steps")}
    words = " ".join(f"--{key} {value}" for key, value in given.items() if value is not None)
    model, scorers = own.get("pipeline", {}).get("name", "MODEL"), ",".join(own.get("scorers", ()))
    return f'noiseprompt evaluate --model {model} --methods "{",".join(methods)}" --scorers {scorers} {words}'


def _result(name: str, rows: list[tuple[str, str, Row, Any]]) -> Mapping[str, Any]:
    metrics = [
        {"type": metric, "name": f"{metric}, gain over standard noise", "value": round(against.gain.mean, 6)}
        for label, metric, _, against in rows
        if not control_of(label)
    ]
    return {
        "task": {"type": "text-to-image", "name": "Text-to-image"},
        "dataset": {"type": "prompts", "name": name},
        "metrics": metrics,
    }
