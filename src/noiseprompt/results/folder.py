"""An evaluation's folder: its settings, and who may change them.

What people publish holds no path of the machine; .judging.json, hidden, keeps those that judging again needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from noiseprompt.core.config import fingerprint
from noiseprompt.core.environment import environment
from noiseprompt.core.errors import ConfigError, InputError, StoreError
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.files import differences, public_name, refuse_changes
from noiseprompt.core.json_files import read_json
from noiseprompt.core.json_lines import damaged, of_all
from noiseprompt.core.kinds import EVALUATION, refuse_other
from noiseprompt.core.parts import as_recorded
from noiseprompt.core.places import absent, nearby
from noiseprompt.core.ranges import check_value, shown
from noiseprompt.core.store import Store
from noiseprompt.core.stores import Folder, store_of
from noiseprompt.core.types import EvalResult, Prompt
from noiseprompt.noise.figures import FILE as DIAGNOSTICS
from noiseprompt.results.lines import FILE, NEW, check_mark, iter_numbered
from noiseprompt.results.names import public_spec, slug
from noiseprompt.shapes.world import CHECKER

SETTINGS = "settings.json"

PATHS = ".judging.json"
"""The judging as it was given; settings.json tells it without paths."""

_AT_THE_END = ("results.json", "results.md", "report.html", "report.md")
"""What is written over at the end of a run."""

LONGEST = 1000
"""Letters of a picture's name; systems take fewer."""

_SETTINGS = "settings"
"""The unit of the lease on both files."""


def settle(
    out: Folder,
    settings: dict[str, Any],
    methods: dict[str, dict[str, Any]],
    judging: Mapping[str, Any] | None = None,
    refused: Mapping[str, str] | None = None,
) -> None:
    """Refuse a folder of other settings; else write settings.json, with the methods it had before.

    A method that an earlier run left out stays left out until it is asked for again. Of several processes one at a time
    settles.

    Args:
        settings: everything the results depend on but the methods.
        methods: label -> what the label does not tell (`NoiseMethod.describe`).
        judging: what is done with the images once they are there; may differ from the last time.
        refused: label -> why a method of this run is left out from the start.

    Raises:
        InputError: the folder holds another kind of work.
        ConfigError: both fingerprints and what differs.
    """

    def told() -> str:
        text = _settled(store, settings, methods, judging or {}, refused or {})
        store.put(PATHS, f"{json.dumps(dict(judging or {}), indent=1)}\n".encode())
        return text

    store = store_of(out)
    refuse_other(store, EVALUATION)
    with store.leases().wait(_SETTINGS):
        for name in (SETTINGS, PATHS):
            store.clear_left(f"{name}.")
        store.edit(SETTINGS, told)


def _settled(
    store: Store,
    settings: dict[str, Any],
    methods: dict[str, dict[str, Any]],
    judging: Mapping[str, Any],
    refused: Mapping[str, str],
) -> str:
    """The text of settings.json, where it may be written."""
    left_out: dict[str, str] = {}
    if store.file(SETTINGS).is_file() or SETTINGS in store.names():
        old = read_settings(store)
        left_out = {label: reason for label, reason in old["refused"].items() if label not in methods}
        old_settings, old_methods = old["settings"], old["methods"]
        settings, methods = as_recorded(settings, old_settings), as_recorded(methods, old_methods)
        changes = differences(_compared(old_settings), _compared(settings), settings)
        both = [label for label in methods if label in old_methods]
        changes += [f"method {change}" for change in differences(old_methods, methods, both)]
        refuse_changes(store, changes, old_settings, settings)
        _refuse_edited(store)
        named = {**old_settings["pipeline"], "name": settings["pipeline"]["name"]}
        settings = {**old_settings, "pipeline": named}  # as they were, so that every line's mark stays true
        methods = {**old_methods, **methods}
    else:
        _refuse_other(store)
    data = {
        "fingerprint": fingerprint(settings),
        "settings": settings,
        "methods": methods,
        "judging": _public(judging),
        "refused": {**left_out, **refused},
        "environment": environment(),
    }
    return json.dumps(data, indent=1) + "\n"


def _refuse_other(store: Store) -> None:
    """Refuse a folder without settings.json that holds files of the names that an evaluation writes.

    Raises:
        ConfigError: with one of them.
    """
    names = store.names()
    strange = [name for name in _AT_THE_END if name in names]
    strange += of_all(names, FILE) or of_all(names, DIAGNOSTICS)
    if strange:
        came = f"{store} holds {strange[0]} without settings.json"
        raise ConfigError(came, "a new folder, or one made by an evaluation", "choose a new folder")


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are compared: of the model's name the last part alone, for older folders hold its path.

    The weights are told by their digest: the same model may lie in another folder.
    """
    pipeline = settings.get("pipeline", {})
    return {**settings, "pipeline": {**pipeline, "name": Path(pipeline.get("name", "")).name}}


def mark(settings: Mapping[str, Any], method: Mapping[str, Any]) -> str:
    """12 hexadecimal digits of all that the images of a method depend on, as settings.json tells it: each line holds
    them, so that files of two evaluations are told apart.

    Args:
        settings: those of the evaluation, with their parts.
        method: what is told of it beside its label.
    """
    pipeline = {key: value for key, value in settings["pipeline"].items() if key != "name"}  # it may be given anew
    text = json.dumps([{**settings, "pipeline": pipeline}, method], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_marks(folder: Folder) -> dict[str, str]:
    """Label -> `mark` of each method that settings.json tells.

    Raises:
        InputError, ConfigError: as `read_settings`.
    """
    data = read_settings(folder)
    return {label: mark(data["settings"], told) for label, told in data["methods"].items()}


def _public(judging: Mapping[str, Any]) -> dict[str, Any]:
    """The judging without paths."""
    told = dict(judging)
    for name, public in (("features", public_spec), ("reference", public_name)):
        if told.get(name):
            told[name] = public(told[name])
    return told


def note_refused(out: Folder, refused: Mapping[str, str]) -> None:
    """Add to settings.json which methods are left out, and why: label -> reason."""

    def told() -> str:
        data = read_settings(store)
        data["refused"].update(refused)
        return json.dumps(data, indent=1) + "\n"

    store = store_of(out)
    with store.leases().wait(_SETTINGS):
        store.edit(SETTINGS, told)


def read_settings(out: Folder) -> dict[str, Any]:
    """What `settle` wrote: fingerprint, settings, methods, judging, refused and environment.

    The paths that earlier releases wrote are left out.

    Raises:
        InputError: no evaluation there.
        ConfigError: a damaged file.
    """
    data = _read_settings(out)
    pipeline = data["settings"].get("pipeline", {})
    named = {**pipeline, "name": public_name(pipeline["name"])} if "name" in pipeline else pipeline
    return {**data, "settings": {**data["settings"], "pipeline": named}, "judging": _public(data["judging"])}


def read_judging(out: Folder) -> dict[str, Any]:
    """How the images are judged, with the paths of the machine where they were given.

    Raises:
        InputError, ConfigError: as `read_settings`.
    """
    path = store_of(out).file(PATHS)
    if PATHS not in store_of(out).names():
        return _read_settings(out)["judging"]  # of an earlier release, or copied without hidden files
    again = "run the evaluation again"
    found, told = read_json(path, fix=again), read_settings(out)["judging"]
    for name, kind in _JUDGING.items():
        if name in found:
            check_value(f"{name} in {path}", kind, found[name])
    public = _public(found)
    for name in sorted(public.keys() | told.keys()):
        if public.get(name) != told.get(name):
            came = f"{path} tells of {name} {shown(public.get(name))}, and {SETTINGS} of {shown(told.get(name))}"
            raise ConfigError(came, "the same in both", again)
    return found


_JUDGING = {"filter_scorers": list[str], "features": str, "reference": str, "world": bool}
_TOLD = {"pipeline": dict, "prompts": dict, "scorers": list, "config": dict}
_CONFIG = {
    "seeds": list[int],
    "seed": int,
    "guidance_scale": float | None,
    **dict.fromkeys(("num_inference_steps", "height", "width", "num_seeds", "batch_size"), int | None),
}


def _read_settings(out: Folder) -> dict[str, Any]:
    path = store_of(out).file(SETTINGS)
    if not path.is_file() and SETTINGS not in store_of(out).names():
        hint = nearby(store_of(out).folder, FILE) or "run the evaluation first"
        raise InputError(f"no evaluation in {out}{absent(store_of(out).folder)}", "a folder with settings.json", hint)
    data = {"judging": {}, "refused": {}, **read_json(path, fix=NEW)}
    missing = {"fingerprint", "settings", "methods", "environment"} - set(data)
    if missing:
        raise ConfigError(f"{path} lacks {', '.join(sorted(missing))}", "a file written by an evaluation")
    for name in ("settings", "methods", "judging", "refused", "environment"):
        _hold(path, name, dict, data[name])
    settings = data["settings"]
    for name in [*(name for name in _TOLD if name in settings), "pipeline", "config"]:
        _hold(path, name, _TOLD[name], settings.get(name))
    _hold(path, "the name of the pipeline", str, settings["pipeline"].get("name"))
    for name, kind in _CONFIG.items():
        if name in settings["config"]:
            check_value(f"{name} in {path}", kind, settings["config"][name])
    for name, kind in _JUDGING.items():
        if name in data["judging"]:
            check_value(f"{name} in {path}", kind, data["judging"][name])
    for label, told in data["methods"].items():
        _hold(path, f"method {label!r:.60}", dict, told)
    for label, reason in data["refused"].items():
        _hold(path, f"why {label!r:.60} was left out", str, reason)
    return data


def _refuse_edited(folder: Folder) -> dict[str, Any]:
    """What settings.json tells, where its settings are those that it was written with.

    Raises:
        StoreError: they are not.
    """
    data = _read_settings(folder)
    if fingerprint(data["settings"]) != data["fingerprint"]:
        came = f"the settings in {store_of(folder).where(SETTINGS)} were changed after writing"
        raise StoreError(came, "those of its run", f"restore the file, or {NEW}")
    return data


def _hold(path: AnyFile, name: str, kind: type, value: Any) -> None:
    if not isinstance(value, kind):
        came = f"{path} is damaged: {name} is {shown(value)}"
        raise ConfigError(came, {dict: "an object", list: "a list"}.get(kind, "a text"), NEW)


def iter_counted(folder: Folder) -> Iterator[EvalResult]:
    """The images that count: those of `iter_told` but of methods that were left out.

    Raises:
        InputError: no evaluation there.
        StoreError: as `iter_told`.
    """
    refused = read_settings(folder)["refused"]
    return (result for result in iter_told(folder) if result.method not in refused)


def iter_told(folder: Folder) -> Iterator[EvalResult]:
    """Every image of an evaluation, each of a method and with the scores that its settings tell.

    Raises:
        InputError: no evaluation there.
        StoreError: as `iter_results`, or an image that cannot be of this evaluation.
    """
    data, marks = _refuse_edited(folder), read_marks(folder)
    methods, scorers = {*data["methods"], *data["refused"]}, data["settings"].get("scorers")
    for path, number, result in iter_numbered(folder):
        known = set(result.scores if scorers is None else map(str, scorers))
        surplus, lacking = sorted(set(result.scores) - known), sorted(known - set(result.scores))
        wrong = f"the method {result.method!r:.80}" if result.method not in methods else ""
        wrong = wrong or (f"scores of {', '.join(surplus)}" if surplus else "")
        if wrong:
            settings = store_of(folder).where(SETTINGS)
            came = f"line {number} of {path} tells of {wrong}, of which {settings} knows nothing"
            raise StoreError(came, "the lines of this evaluation alone", NEW)
        if lacking:
            came = f"line {number} of {path} tells no score of {', '.join(lacking)}"
            raise StoreError(came, "the scores that settings.json names", NEW)
        check_mark(f"line {number} of {path}", result, marks)
        _check_told(path, number, result, methods)
        yield result


def _check_told(path: AnyFile, number: int, result: EvalResult, methods: Collection[str]) -> None:
    """Refuse an image that is told with another text or picture than its own, or a score that its scorer never gives.

    Raises:
        StoreError: as above.
    """
    if result.prompt_id != Prompt(result.text).id:
        came = f"line {number} of {path} tells of prompt {result.prompt_id} with the text {result.text!r:.60}"
        raise StoreError(came, "the text that it was drawn for", NEW)
    own = f"{result.prompt_id}-{result.seed}.png"
    home, _, name = result.image.rpartition("/")
    of_others = home != slug(result.method) and home in map(slug, methods)
    if result.image and (name != own or of_others):
        came = f"line {number} of {path} names the picture {result.image!r}"
        raise StoreError(came, f"a file {own} of {result.method!r:.60}, as it was written", NEW)
    if not 0 <= (checked := result.scores.get(CHECKER, 0)) <= 1:
        raise damaged(path, number, f"a score of {CHECKER} of {checked:g}, which gives 0 to 1", NEW)
