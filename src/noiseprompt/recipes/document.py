"""docs/reproduction.md: for each recipe with rows its command, the paper's figures and ours beside them.

The paper's figures stand in the recipe:

    paper:
      columns: [PickScore, ...]      the paper's metrics
      metric: ImageReward            the one whose direction is compared with ours, the last column unless given;
                                     "none" to compare none
      rows: {ROW: [...]}             or `groups: {GROUP: {ROW: [...]}}`, a figure a column, null where there is none
      against: ROW                   the row the others are compared with, "Standard" unless given
      show: win                      winning rates instead of gains (figures 7, 10 and 15)
      cost: true                     also denoiser calls and seconds per image

Ours are read from ROOT/tables/NAME.json; a table without that file is "not run yet".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noiseprompt.core.errors import InputError
from noiseprompt.core.files import make_folder, replace
from noiseprompt.core.json_files import read_json
from noiseprompt.core.tables import table
from noiseprompt.recipes.cells import (
    NOT_HERE,
    cost_text,
    figures_text,
    gain_text,
    mean_text,
    metric_title,
    training_text,
    verdict,
    win_text,
)
from noiseprompt.recipes.checking import check_table
from noiseprompt.recipes.plan import flatten, read_recipe
from noiseprompt.shapes import world

Data = dict[str, Any]

_AGAIN = "run the recipe again"

_INTRO = """# The paper's tables and figures, here

Written by `noiseprompt tables {out} {runs}`.
Every figure of ours comes from the command above its table. All of them in one go:

    noiseprompt run {recipes} --on {on}            # about {minutes:.0f} minutes; killed, the same command continues
    noiseprompt run {recipes} --on {on} --smoke    # a check with a few prompts that all of them work

How to read it:

- The paper's figures are copied from its tables. Ours: {about}. Figures that contradict the paper stand as they came
  out.
- Differences are paired by prompt and seed: mean and 95 % bootstrap interval over n prompts. \\* marks p < .05 after
  Holm's correction over the rows and metrics of one evaluation of the table.
- *as in the paper?* compares directions on the first of our metrics: "yes" or "no" where our interval excludes zero,
  "undecided" where it does not. The paper gives no intervals. One training a row: another seed may turn a small
  difference around.
- *not run here* needs weights that were not at hand; the same recipe runs those rows with `--on sdxl`.
"""

_WORLD = """- The world is not the paper's model: 64 x 64 pictures of coloured shapes, at a size that two cores finish.
  Only the **direction** of a difference can be compared, never its size. *accuracy* is the share of pictures that an
  exact checker accepts; *preference* is the mean of the learned scorer that also filters the training pairs, so it is
  no independent judge.
"""


def tables(out: Path, runs: Path = Path("runs/tables/shapes"), recipes: Path = Path("recipes/tables")) -> None:
    """Write the document of all recipes in a folder.

    Args:
        out: the Markdown file.
        runs: folder of the runs of one model, e.g. runs/tables/shapes.
        recipes: folder of the recipes.

    Raises:
        ConfigError: no recipe there, or one that is wrong.
    """
    from noiseprompt.recipes.plan import recipes_in

    _refuse_other(Path(out))
    on = Path(runs).name.removesuffix("-smoke")
    files = recipes_in(Path(recipes))
    path = Path(recipes) / "on" / f"{on}.yaml"
    known = sorted(each.stem for each in path.parent.glob("*.yaml"))
    if known and on not in known:
        expected = f"a folder that bears the name of one of {', '.join(known)}"
        raise InputError(f"runs in a folder {on!r} ({runs})", expected, "name it as in runs/tables/shapes")
    defaults = read_recipe(path)
    for file in files:
        check_table(read_recipe(file), defaults, file, path)
    minutes = sum(float(flatten(read_recipe(file), on).get("minutes") or 0) for file in files)
    about = defaults.get("about", on)
    intro = _INTRO.format(out=out, runs=runs, on=on, recipes=recipes, minutes=minutes, about=about)
    intro += _WORLD if on == world.NAME else ""
    parts = [one_table(file, on, Path(runs) / "tables") for file in files]
    make_folder(Path(out).parent)
    replace(Path(out), "\n".join([intro, *parts]))
    run = sum((Path(runs) / "tables" / f"{file.stem}.json").is_file() for file in files)
    print(f"{out}: {run} of {len(files)} recipes were run")


def _refuse_other(out: Path) -> None:
    """Refuse to write over what is no such document.

    Raises:
        InputError: with the file.
    """
    if out.suffix.lower() != ".md":
        raise InputError(f"the document {out}", "a name that ends in .md")
    begins = out.read_bytes()[:64].lstrip() if out.is_file() else b""
    if begins and not begins.startswith(b"# The paper's tables"):
        raise InputError(f"{out} is there and is no such document", "a new file", "choose another name")


def one_table(recipe: Path, on: str, made: Path) -> str:
    """The section of one recipe.

    Args:
        recipe: its YAML file.
        on: the model it was run on.
        made: folder of NAME.json files.
    """
    flat = flatten(read_recipe(recipe), on)
    path = made / f"{recipe.stem}.json"
    ours: Data | None = read_json(path, fix=_AGAIN, nan=True) if path.is_file() else None
    minutes = f", about {flat['minutes']} minutes" if flat.get("minutes") else ""
    lines = [f"## {recipe.stem.replace('-', ' ').capitalize()}: {flat.get('about', '')}", ""]
    lines += [f"`noiseprompt run {recipe} --on {on}`{minutes}", ""]
    if flat.get("note"):
        lines += [" ".join(str(flat["note"]).split()), ""]
    if ours is None:
        lines += ["**Not run yet.**", ""]
    elif ours["smoke"]:
        lines += ["**A check with a few prompts; these figures mean nothing.**", ""]
    lines += [_rows(flat, ours, on), ""]
    for name, analysis in ((ours or {}).get("analyses") or {}).items():
        lines += [f"{name.replace('-', ' ').capitalize()}. {analysis['note']}".strip(), ""]
        lines += [table(analysis["columns"], analysis["rows"]), ""]
    return "\n".join(lines)


def _rows(flat: Data, ours: Data | None, on: str) -> str:
    paper = flat.get("paper") or {}
    cells = {(cell["group"], cell["row"]): cell for cell in (ours or {}).get("cells") or ()}
    groups = flat.get("groups") or {"": {}}
    titles = _titles(paper, ours, bool(flat.get("groups")))
    body = []
    for group, group_layer in groups.items():
        for row, row_layer in (flat.get("rows") or {}).items():
            layers = flatten(group_layer, on), flatten(row_layer, on)
            if layers[1].get("hidden"):
                continue
            only = layers[1].get("only") or layers[0].get("only")
            names = _names(group, row, layers) if flat.get("groups") else _names(group, row, layers)[1:]
            figures = _figures(paper, group, row)
            start = [*names, *figures_text(paper, figures)]
            start += [""] * (len(names) + len(paper.get("columns") or ()) - len(start))
            cell = cells.get((group, row))
            if cell is None:
                start += [NOT_HERE if only and on not in only else "not run yet"]
            else:
                start += _ours(paper, ours or {}, cell, cells)
            body.append((start + [""] * len(titles))[: len(titles)])
    return table(titles, body) if body else ""


def _names(group: str, row: str, layers: tuple[Data, Data]) -> list[str]:
    """Titles of a line, with the model's own where it differs from the paper's."""
    shown = []
    for name, layer in zip((group, row), layers, strict=True):
        title = layer.get("title")
        shown.append(f"{name} (here: {title})" if title and title != name else name)
    return shown


def _titles(paper: Data, ours: Data | None, grouped: bool) -> list[str]:
    titles = [""] * (2 if grouped else 1) + [f"paper: {name}" for name in paper.get("columns") or ()] + ["n"]
    if ours is None:
        return titles[:-1] + ["here"]
    for metric in ours["metrics"]:
        name = metric_title(metric)
        titles += [name, f"{name}: winning rate" if paper.get("show") == "win" else f"{name}: gain over standard"]
    against = _against(paper)
    titles += [f"{metric_title(ours['metrics'][0])}: difference to {against}"] if against != "Standard" else []
    titles += ["as in the paper?"] if _is_compared(paper) else []
    titles += ["denoiser calls", "seconds an image"] if paper.get("cost") else []
    return titles + (["training"] if any(cell["training"] for cell in ours["cells"]) else [])


def _against(paper: Data) -> str:
    return str(paper.get("against") or "Standard")


def _figures(paper: Data, group: str, row: str) -> list[Any]:
    rows = (paper.get("groups") or {}).get(group) or paper.get("rows") or {}
    return list(rows.get(row) or [])


def _ours(paper: Data, ours: Data, cell: Data, cells: dict[tuple[str, str], Data]) -> list[str]:
    made = [str(cell["prompts"])]
    for metric in ours["metrics"]:
        one = cell["metrics"][metric]
        made += [mean_text(metric, one), win_text(one) if paper.get("show") == "win" else gain_text(metric, one)]
    first, against = ours["metrics"][0], _against(paper)
    if against == "Standard":
        difference = cell["metrics"][first].get("gain")
    else:
        difference = (cell.get("against") or {}).get(first)
        made += [gain_text(first, {"gain": difference}) if difference else ""]
    made += [verdict(_paper_gain(paper, cell["group"], cell["row"]), difference)] if _is_compared(paper) else []
    made += cost_text(cell) if paper.get("cost") else []
    return made + [training_text(cell["training"])]


def _paper_gain(paper: Data, group: str, row: str) -> float | None:
    """The paper's difference between a row and the one it is compared with, on the metric named for that."""
    own, base = _figures(paper, group, row), _figures(paper, group, _against(paper))
    columns = list(paper.get("columns") or ())
    metric = paper.get("metric", columns[-1] if columns else "")
    if not own or not base or row == _against(paper) or metric not in columns:
        return None
    at = columns.index(metric)
    return None if own[at] is None or base[at] is None else float(own[at]) - float(base[at])


def _is_compared(paper: Data) -> bool:
    return bool(paper.get("rows") or paper.get("groups")) and paper.get("metric") != "none"
