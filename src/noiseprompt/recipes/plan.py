"""From a recipe with rows to stages and cells, all of it checked before anything runs.

A recipe with rows is a YAML mapping that makes one table:

    about, note, minutes   text; minutes it takes in full size on two cores
    paper                  the published figures (see `recipes/document.py`)
    collect, train, evaluate, model   settings, as in a plain recipe
    rows                   title -> `method` ("standard" unless given) and settings of its own; "{npnet}" in the method
                           is the NPNet trained with the row's settings, "{npnet:ROW}" (also in `train: init:`) that of
                           another row; a row that is `hidden: true` is there for its network alone
    groups                 title -> settings; every row is made in every group (a sampler, a set of prompts, ...)
    analyse                names of `analysis.ANALYSES`
    smoke                  settings (or rows) of a run of a few prompts, on top of those of on/NAME.yaml
    on                     name -> any of the above, merged over it when run with `--on NAME`

Rows and groups may also have `title` (as shown), `only: [NAME, ...]` and `on`. The file on/NAME.yaml beside the recipe
holds what all tables share on that model: model, prompts, scorers, sizes, `smoke`, `show` (metrics of the tables) and
`reuse` (folders of data sets made elsewhere).

Settings are merged in this order, the last wins: on/NAME.yaml, recipe, smoke of on/NAME.yaml, group, row, `n` of that
smoke, smoke of the recipe. A stage's folder is named by a fingerprint of its settings: equal stages of any
rows and recipes are made once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noiseprompt.core.config import fingerprint, read_yaml, recorded
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.places import expanded, refuse_closed
from noiseprompt.core.ranges import shown
from noiseprompt.methods.base import MethodSpec
from noiseprompt.recipes.calls import by_reward, filter_mistake, stage_call
from noiseprompt.recipes.checking import SETTINGS, check_table
from noiseprompt.shapes import world

_SIZES = ("n",)
"""Settings that a smoke run always takes from on/NAME.yaml: how many pairs and prompts."""
_FOLDERS = {"collect": "npd", "train": "npnet", "evaluate": "evaluation"}
_NET = re.compile(r"\{npnet(?::([^}]+))?\}")


@dataclass(frozen=True)
class Stage:
    """One command to run.

    Fields:
        name: "collect", "train" or "evaluate".
        folder: where it works; the same settings have the same folder.
        options: keyword arguments of the command, `settings` among them; those of "evaluate" lack `methods`.
    """

    name: str
    folder: Path
    options: dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One line of the table.

    Fields:
        group, row: titles in the recipe, "" without groups.
        group_title, row_title: as shown for this model.
        method: canonical text of the noise method.
        evaluation: folder of the results.
        npd, npnet: folders of the data set and the training the method needs, or None.
    """

    group: str
    row: str
    group_title: str
    row_title: str
    method: str
    evaluation: Path
    npd: Path | None = None
    npnet: Path | None = None


@dataclass
class Plan:
    """Everything a recipe will do on one model.

    Fields:
        name: of the recipe's file.
        recipe: its content for this model.
        on, smoke: as asked for.
        root: folder of all stages.
        show: metrics of the table, all if empty.
        reuse: folders of data sets made elsewhere that serve where they hold exactly the pairs asked for.
        stages: in the order they run; evaluations last.
        cells: lines of the table.
        left_out: (group, row) -> models they are for, where not for this one.
    """

    name: str
    recipe: dict[str, Any]
    on: str
    smoke: bool
    root: Path
    show: tuple[str, ...] = ()
    reuse: tuple[Path, ...] = ()
    stages: dict[Path, Stage] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    left_out: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def methods(self, evaluation: Path) -> list[str]:
        """Of one evaluation folder, "standard" first, none twice."""
        wanted = [cell.method for cell in self.cells if cell.evaluation == evaluation]
        return list(dict.fromkeys(["standard", *wanted]))


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings inside mappings are merged, everything else is replaced by the last."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merge(result[key], value) if both else value
    return result


def flatten(layer: Mapping[str, Any] | None, on: str) -> dict[str, Any]:
    """A layer as it is for one model: its `on: NAME` block merged over it."""
    layer = layer or {}
    return merge({k: v for k, v in layer.items() if k != "on"}, (layer.get("on") or {}).get(on) or {})


def read_recipe(path: Path) -> dict[str, Any]:
    """The YAML mapping of a recipe.

    Raises:
        ConfigError: the file is missing, not YAML, or not a mapping.
    """
    return _words(read_yaml(path))


def _words(data: Any) -> Any:
    """Every key as a text."""
    if isinstance(data, dict):
        return {key if isinstance(key, str) else shown(key): _words(value) for key, value in data.items()}
    return [_words(value) for value in data] if isinstance(data, list) else data


def has_rows(data: Mapping[str, Any]) -> bool:
    """Whether a recipe makes a table, rather than one run of each stage."""
    return "rows" in data or "analyse" in data


def make_plan(recipe: Path, on: str = world.NAME, *, smoke: bool = False, out: Path | None = None) -> Plan:
    """Resolve every line of the table; nothing runs, nothing is written.

    Args:
        recipe: the YAML file; on/NAME.yaml is looked for beside it.
        on: the model to run on, one of the files in that folder.
        smoke: a few prompts and steps, for a check that everything works.
        out: folder of all recipes' runs, runs/tables unless given; work goes to OUT/NAME or OUT/NAME-smoke.

    Raises:
        ConfigError: an unknown key, stage option, row or model.
        InputError: a method that does not parse.
    """
    data = read_recipe(recipe)
    known = recipe.parent / "on"
    path = known / f"{on}.yaml"
    names = sorted(p.stem for p in known.glob("*.yaml"))
    if not path.is_file() and not names:
        came = f"{recipe} has rows, and there is no {path}, which says what all tables share on that model"
        raise ConfigError(came, f"such a file in {known}", "copy recipes/tables/on")
    if on not in names:
        raise ConfigError(f"--on {on}", f"one of {', '.join(names) or '(none)'}", f"files of {known}")
    defaults = read_recipe(path)
    check_table(data, defaults, recipe, path)
    flat = flatten(data, on)
    if smoke and not (defaults.get("smoke") or flat.get("smoke")):
        raise ConfigError(
            f"--smoke, and no `smoke` in {path} or {recipe}", "settings of a small run in one", "see recipes/tables/on"
        )
    if smoke:
        flat = merge(flat, {key: value for key, value in (flat.get("smoke") or {}).items() if key not in SETTINGS})
    root = (out or Path("runs") / "tables") / (f"{on}-smoke" if smoke else on)
    reuse = () if smoke else tuple(Path(p) for p in defaults.get("reuse") or ())
    plan = Plan(recipe.stem, flat, on, smoke, root, tuple(defaults.get("show") or ()), reuse)
    maker = _Maker(plan, flat, defaults)
    for group in flat.get("groups") or {"": {}}:
        for row in flat.get("rows") or {}:
            maker.add(group, row)
    for (_, row), models in plan.left_out.items():
        if strange := sorted({*models} - {*names}):
            raise ConfigError(f"{recipe}: only: {', '.join(strange)} of row {row!r}", f"some of {', '.join(names)}")
    layers = [data, *_layers_of(data, "groups"), *_layers_of(data, "rows")]
    if strange := sorted({name for layer in layers for name in layer.get("on") or ()} - {*names}):
        raise ConfigError(f"{recipe}: on: {', '.join(strange)}", f"some of {', '.join(names)}")
    _check_paper(recipe, flat)
    plan.stages = dict(sorted(plan.stages.items(), key=lambda item: item[1].name == "evaluate"))
    return plan


def _check_paper(recipe: Path, flat: Mapping[str, Any]) -> None:
    """Refuse figures of the paper for rows or groups that there are not.

    Raises:
        ConfigError: with their names.
    """
    paper, rows = flat.get("paper") or {}, flat.get("rows") or {}
    named = {
        *(paper.get("rows") or ()),
        *(row for group in (paper.get("groups") or {}).values() for row in group or ()),
    }
    if strange := sorted((named | {*filter(None, [paper.get("against")])}) - {*rows}):
        raise ConfigError(f"{recipe}: paper: no row {', '.join(strange)}", f"some of {', '.join(rows)}")
    groups = flat.get("groups") or {}
    if strange := sorted({*(paper.get("groups") or ())} - {*groups}):
        some = f"some of {', '.join(groups)}" if groups else "a recipe with groups"
        raise ConfigError(f"{recipe}: paper: no group {', '.join(strange)}", some)


def _layers_of(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [layer for layer in (data.get(key) or {}).values() if layer]


class _Maker:
    """Adds cells and their stages to a plan."""

    def __init__(self, plan: Plan, flat: dict[str, Any], defaults: dict[str, Any]) -> None:
        self.plan, self.flat, self.defaults = plan, flat, defaults
        self.under: list[str] = []  # rows whose network begins with the one that is looked at

    def add(self, group: str, row: str) -> None:
        plan = self.plan
        layers = self._layers(group, row)
        if layers["row"].get("hidden"):
            return
        only = layers["row"].get("only") or layers["group"].get("only")
        if only and plan.on not in only:
            plan.left_out[group, row] = tuple(only)
            return
        settings = self._settings(layers)
        method = str(layers["row"].get("method", "standard"))
        nets = [self._net(group, match[1] or row) for match in _NET.finditer(method)]
        for _, net in nets:
            method = _NET.sub(str(net / "best"), method, count=1)
        npd, npnet = nets[0] if nets else (None, None)
        evaluation = self._stage("evaluate", settings)
        group_title = str(layers["group"].get("title") or group)
        row_title = str(layers["row"].get("title") or row)
        label = MethodSpec.parse(method).label
        plan.cells.append(Cell(group, row, group_title, row_title, label, evaluation, npd, npnet))

    def _layers(self, group: str, row: str) -> dict[str, dict[str, Any]]:
        rows, groups = self.flat.get("rows") or {}, self.flat.get("groups") or {"": {}}
        if row not in rows:
            raise ConfigError(f"{self.plan.name} has no row {row!r}", f"one of {', '.join(rows)}")
        return {"group": flatten(groups[group], self.plan.on), "row": flatten(rows[row], self.plan.on)}

    def _settings(self, layers: dict[str, dict[str, Any]]) -> dict[str, Any]:
        flat, defaults, smoke = self.flat, self.defaults, self.plan.smoke
        small = (defaults.get("smoke") or {}) if smoke else {}
        last = (flat.get("smoke") or {}) if smoke else {}
        sizes = {stage: {k: v for k, v in part.items() if k in _SIZES} for stage, part in small.items()}
        merged = merge(defaults, flat, small, layers["group"], layers["row"], sizes, last)
        return {key: value for key, value in merged.items() if key in SETTINGS}

    def _net(self, group: str, row: str) -> tuple[Path | None, Path]:
        """Folders of the data set, where there is one, and the training of a row, with their stages in the plan."""
        settings = self._settings(self._layers(group, row))
        training = settings.get("train") or {}
        npd = None if by_reward(training) else self._stage("collect", settings)
        if npd and (
            mistake := filter_mistake(settings.get("collect") or {}, training, self._model("collect", settings))
        ):
            raise ConfigError(f"{self.plan.name}: row {row!r}: {mistake}")
        links = {} if npd is None else {"npd": npd}
        init = str(training.get("init") or "")
        found = _NET.search(init)
        if found is None:
            return npd, self._stage("train", settings, **links)
        if not found[1] or found[1] == row:
            raise ConfigError(f"train: init: {init} of row {row!r}", 'another row\'s network: "{npnet:ROW}"')
        self.under.append(row)
        if found[1] in self.under:
            ring = " -> ".join([*self.under[self.under.index(found[1]) :], found[1]])
            raise ConfigError(f"train: init: each network begins with the next: {ring}", "one that begins from nothing")
        base = self._net(group, found[1])[1]
        self.under.pop()
        settings = merge(settings, {"train": {"init": str(base / "best")}})
        return npd, self._stage("train", settings, **links, base=base)

    def _model(self, name: str, settings: dict[str, Any]) -> str:
        """Of a stage."""
        own = (settings.get(name) or {}).get("model")
        return str(settings.get("model", world.NAME) if own is None else own)

    def _stage(self, name: str, settings: dict[str, Any], **upstream: Path) -> Path:
        """The folder of a stage, named by what decides its result; folders it builds on count by their names."""
        options = {k: v for k, v in (settings.get(name) or {}).items() if v is not None}
        options.pop("model", None)
        model = self._model(name, settings)
        call = stage_call(name, options, model, self.plan.name)
        deciding = {k: v for k, v in call.items() if k != "sharing"}  # who makes it decides nothing
        plain = {k: _as_written(v, options) if dataclasses.is_dataclass(v) else v for k, v in deciding.items()}
        if "base" in upstream:
            plain["settings"].pop("init")
        facts = {"stage": name, "weights": world.weights_of(model), "from": {k: p.name for k, p in upstream.items()}}
        folder = self.plan.root / _FOLDERS[name] / fingerprint({**facts, "call": plain})
        links = {"npd": upstream["npd"]} if "npd" in upstream else {}
        self.plan.stages.setdefault(folder, Stage(name, folder, {**call, **links, "out": folder}))
        return folder


def _as_written(config: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as plain data, a number with the digits of the recipe: 5 and 5.0 name folders of their own.

    Settings that have been renamed keep the names of before, and those that came later are left out at their defaults:
    so folders keep their names.
    """
    names, plain = getattr(config, "recorded", {}), recorded(config)
    written = {key: options[key] if key in options and options[key] == v else v for key, v in plain.items()}
    return {names.get(key, key): value for key, value in written.items()}


def recipes_in(folder: Path) -> list[Path]:
    """The YAML files of a folder, tables before figures, by number; not those that a dot hides, which editors leave.

    Raises:
        ConfigError: none there.
    """
    folder = expanded(folder)
    refuse_closed(folder, ConfigError)
    found = sorted((path for path in folder.glob("*.yaml") if not path.name.startswith(".")), key=_order)
    if not found:
        raise ConfigError(f"no recipe in {folder}", "a folder of .yaml files")
    return found


def _order(path: Path) -> tuple[bool, str, int, str]:
    word, number = re.match(r"(\D*)(\d*)", path.stem).groups()  # type: ignore[union-attr]
    return not word.startswith("table"), word, int(number or 0), path.stem
