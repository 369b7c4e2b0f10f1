"""`noiseprompt score`: any folder of pictures judged by any scorers."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noiseprompt.cli.progress import Bar, say
from noiseprompt.core.errors import InputError, PromptError, ShapeError
from noiseprompt.core.files import make_folder, replace
from noiseprompt.core.pictures import batches, find_pictures, read_picture
from noiseprompt.core.places import check_file, expanded, is_address, no_file
from noiseprompt.core.ranges import COUNT, check_value
from noiseprompt.core.tables import table
from noiseprompt.core.texts import in_csv, in_markdown, visible
from noiseprompt.core.types import Prompt
from noiseprompt.prompts.files import csv_rows, decode, lines_of
from noiseprompt.prompts.looks import refuse_table
from noiseprompt.shapes.world import SCORERS

TEXT_COLUMNS = ("prompt", "text", "caption")
"""Of a csv with a `file` column, in this order."""


def score(
    images: Path,
    prompts: Path,
    scorers: Sequence[str] = SCORERS,
    out: Path | None = None,
    batch_size: int = 32,
    part: str | None = None,
) -> None:
    """Score a folder of pictures against their prompts.

    Args:
        images: the folder; its pictures in the order of their names.
        prompts: a txt file with one prompt a line in that order, or a csv with the columns file and prompt.
        scorers: names with options, e.g. "hpsv2.1:path=FILE,device=cuda,pickscore:path=FOLDER".
        out: write every score there: .json with the summary, or .csv, where prompts that a spreadsheet would take for
            formulas get an apostrophe.
        batch_size: pictures in memory at once.
        part: of the pictures alone, such as 2/8, or "auto" for a task of a Slurm array or a process of torchrun; each
            with an --out of its own, the rows of which make up those of the whole.
    """
    from noiseprompt.core.part import parse_part
    from noiseprompt.scorers.base import judge, load_scorers

    out = None if out is None else Path(out)
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"--out {out}", "a name that ends in .csv or .json")
    if out is not None:
        check_file(out)
        refuse_other(out, Path(prompts))
    check_value("--batch_size", int, batch_size, COUNT)
    share, every = parse_part(part), match(*(Path(p) if is_address(p) else expanded(p) for p in (images, prompts)))
    pairs = share.take(every)
    if not share.whole and out is None:
        raise InputError(f"--part {share} without --out", "--out FILE, another for each part")
    if not pairs:
        raise InputError(f"--part {share} of {len(every)} pictures", f"at most {len(every)} parts")
    if twice := [spec for spec in scorers if list(scorers).count(spec) > 1]:
        raise InputError(f"the scorer {twice[0]!r} twice", "each scorer once")
    judges = load_scorers(scorers)
    names = [scorer.name for scorer in judges]
    scores = np.empty((len(pairs), len(judges)))
    done = 0
    plan = f"{len(pairs):,} images of {images} by {', '.join(names)}"
    with Bar("score", "image", plan) as bar:
        for pictures in batches((read_picture(file) for file, _ in pairs), batch_size):
            rows = slice(done, done + len(pictures))
            texts = [prompt for _, prompt in pairs[rows]]
            try:
                scores[rows] = np.stack([judge(scorer, pictures, texts) for scorer in judges], 1)
            except ShapeError as error:  # pictures of one batch have one size
                fix = "bring the pictures to that size, or leave this scorer out"
                raise InputError(f"{pairs[rows][0][0]}: {error.came}", error.expected, fix) from error
            done = rows.stop
            bar.show(done, len(pairs))
    summary = [summarise(name, scores[:, i]) for i, name in enumerate(names)]
    print(markdown(summary))
    for name, wrong in zip(names, np.sum(~np.isfinite(scores), 0), strict=True):
        if wrong:
            say(f"warning: {wrong:,} of {len(pairs):,} scores of {name} are not finite; nor are figures made of them")
    if out is not None:
        write(out, pairs, names, scores, summary)
        print(visible(f"scores in {out}"))


def refuse_other(out: Path, prompts: Path) -> None:
    """Refuse to write over the prompts, or over another file that holds no scores.

    Raises:
        InputError: with the file.
    """
    if not out.is_file():
        return
    if prompts.exists() and out.samefile(prompts):
        raise InputError(f"--out {out}, which holds the prompts", "a new file", "choose another name")
    with out.open("rb") as file:
        begins = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if begins and not begins.startswith((b"file,prompt,", b'{"summary"', b'{\n  "summary"')):
        raise InputError(f"--out {out} is there and holds no scores", "a new file", "choose another name")


GRID, PICTURES = "grid.png", "pictures.json"
"""What `generate` writes beside its pictures: all of them side by side, and by what its folder is known."""


def match(images: Path, prompts: Path) -> list[tuple[Path, Prompt]]:
    """Each picture with its prompt, pictures in the order of their names.

    Raises:
        InputError: no pictures, or pictures and prompts that do not match one to one; with the first that differ.
        PromptError: a file of prompts that cannot be read.
    """
    files = [path for path in find_pictures(images) if path.name != GRID or not (images / PICTURES).is_file()]
    text = _read(prompts)
    if prompts.suffix.lower() == ".csv":
        return _by_name(files, _rows(text, prompts), images, prompts)
    lines = lines_of(text, blank=True)
    refuse_table(prompts, text, [line for line in lines if line])
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        raise PromptError(f"line {lines.index('') + 1} of {prompts} is empty", "one prompt a line, one line a picture")
    if len(lines) != len(files):
        came = f"{len(files)} pictures in {images} with {len(lines)} lines in {prompts}"
        raise InputError(came, "one prompt a line for each picture, in the order of their names")
    return list(zip(files, map(Prompt, lines), strict=True))


def _read(path: Path) -> str:
    if not path.is_file():
        raise PromptError(no_file(path), "a .txt or .csv file of prompts", "check the path")
    if path.suffix.lower() not in (".txt", ".csv"):
        raise PromptError(f"{path} has the suffix {path.suffix!r}", ".txt or .csv", "convert the file")
    return decode(path)


def _rows(text: str, path: Path) -> dict[str, str]:
    """File name -> prompt."""
    columns = [title.strip() for title in next(csv.reader(io.StringIO(text, newline="")), [])]
    wanted = next((name for name in TEXT_COLUMNS if name in columns), None)
    if "file" not in columns or wanted is None:
        raise PromptError(f"{path} has the columns {', '.join(columns)}", "file and prompt", "name the columns so")
    found: dict[str, str] = {}
    for number, row in csv_rows(text, path):
        name, prompt = (row["file"] or "").strip(), (row[wanted] or "").strip()
        if not name or not prompt:
            raise PromptError(f"line {number} of {path} lacks the file or the prompt", "both")
        if name in found:
            raise PromptError(f"line {number} of {path} names {name!r} again", "each file once")
        found[name] = prompt
    return found


def _by_name(files: list[Path], prompts: dict[str, str], images: Path, source: Path) -> list[tuple[Path, Prompt]]:
    there = {file.name for file in files}
    for noun, names in (
        (f"{source} names files that {images} lacks", [name for name in prompts if name not in there]),
        (f"{images} holds pictures that {source} does not name", sorted(there - prompts.keys())),
    ):
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise InputError(f"{noun}: {shown}", "one row for each picture")
    return [(file, Prompt(prompts[file.name])) for file in files]


def summarise(name: str, scores: np.ndarray) -> dict[str, Any]:
    """Mean, spread and range of one scorer; `sd` is None for one picture."""
    sd = float(scores.std(ddof=1)) if len(scores) > 1 else None
    return {
        "scorer": name,
        "n": len(scores),
        "mean": float(scores.mean()),
        "sd": sd,
        "min": float(scores.min()),
        "max": float(scores.max()),
    }


def markdown(summary: Sequence[dict[str, Any]]) -> str:
    """A table with one row a scorer."""
    figures = ("mean", "sd", "min", "max")
    rows = [
        [in_markdown(row["scorer"]), *("-" if row[name] is None else f"{row[name]:.4f}" for name in figures), row["n"]]
        for row in summary
    ]
    return table(("scorer", *figures, "n"), rows)


def write(out: Path, pairs: Sequence[tuple[Path, Prompt]], names: list[str], scores: np.ndarray, summary: list) -> None:
    """Every score: a csv with file, prompt and a column a scorer; or a json with the summary and the same rows."""
    rows = [
        {"file": file.name, "prompt": prompt.text, **dict(zip(names, map(float, row), strict=True))}
        for (file, prompt), row in zip(pairs, scores, strict=True)
    ]
    make_folder(out.parent)
    if out.suffix.lower() == ".csv":
        lines = io.StringIO(newline="")
        writer = csv.DictWriter(lines, ["file", "prompt", *names])
        writer.writeheader()
        writer.writerows({**row, "file": in_csv(row["file"]), "prompt": in_csv(row["prompt"])} for row in rows)
        replace(out, lines.getvalue())
        return
    for row in rows:
        row.update({name: None for name in names if not math.isfinite(row[name])})
    replace(out, json.dumps({"summary": summary, "images": rows}, indent=2, ensure_ascii=False))
