"""`noiseprompt score`: pictures and prompts matched, every mismatch refused, the table and the files it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseprompt.cli import main
from noiseprompt.cli.score import match
from noiseprompt.core.errors import InputError, PromptError
from noiseprompt.core.pictures import batches, read_picture
from noiseprompt.core.specs import split_specs
from noiseprompt.shapes import checker, scenes

TWICE = ["--scorers", "shapes-checker,shapes-checker"]
TEXTS = ["a red circle", "a blue square", "two green stars", "a yellow cross", "a white ring"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures 0.png to 4.png, the last of which shows something else, and prompts.txt."""
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i, text in enumerate([*TEXTS[:4], "a red circle"]):
        picture = scenes.render(scenes.random_scene(rng, scenes.parse(text)))
        Image.fromarray((255 * picture).round().astype(np.uint8)).save(images / f"{i}.png")
    (images / "notes.md").write_text("no picture")
    (tmp_path / "prompts.txt").write_text("\n".join(TEXTS) + "\n\n", encoding="utf-8")
    return tmp_path


def test_scores_a_folder_and_prints_the_means(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "deep" / "scores.csv"
    code = main(["score", str(folder / "images"), "--prompts", str(folder / "prompts.txt"), "--out", str(out)])
    assert code == 0
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["prompt"]) for row in rows] == [(f"{i}.png", text) for i, text in enumerate(TEXTS)]
    expected = [
        checker.check(np.asarray(Image.open(folder / "images" / f"{i}.png")), scenes.parse(text)).score
        for i, text in enumerate(TEXTS)
    ]
    assert [float(row["shapes-checker"]) for row in rows] == expected and expected[:4] == [1.0] * 4 > expected[4:]
    printed = capsys.readouterr().out
    mean, sd = np.mean(expected), np.std(expected, ddof=1)
    assert f"| shapes-checker | {mean:.4f} | {sd:.4f} | {min(expected):.4f} | 1.0000 | 5 |" in printed


def test_batches_do_not_change_the_json(folder: Path) -> None:
    texts = []
    for size in ("1", "3"):
        out = folder / f"{size}.json"
        arguments = ["--prompts", str(folder / "prompts.txt"), "--scorers", "shapes-checker", "--out", str(out)]
        assert main(["score", str(folder / "images"), *arguments, "--batch_size", size]) == 0
        texts.append(out.read_text(encoding="utf-8"))
    data = json.loads(texts[0])
    assert texts[0] == texts[1] and len(data["images"]) == 5
    assert data["summary"][0]["mean"] == np.mean([row["shapes-checker"] for row in data["images"]])


def test_parts_make_up_the_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rows(name: str, *options: str) -> list[str]:
        arguments = ["--prompts", str(folder / "prompts.txt"), "--scorers", "shapes-checker"]
        assert main(["score", str(folder / "images"), *arguments, "--out", str(folder / name), *options]) == 0
        return (folder / name).read_text(encoding="utf-8").splitlines()

    whole, parts = rows("all.csv"), [rows(f"{i}.csv", "--part", f"{i}/3") for i in (1, 2, 3)]
    assert [len(part) for part in parts] == [3, 3, 2]
    assert sorted(line for part in parts for line in part[1:]) == sorted(whole[1:])
    refused = ["score", str(folder / "images"), "--prompts", str(folder / "prompts.txt"), "--part"]
    assert main([*refused, "1/2"]) == 2
    assert "--out" in capsys.readouterr().err
    assert main([*refused, "6/6", "--out", str(folder / "6.csv")]) == 2
    assert "at most 5 parts" in capsys.readouterr().err


def test_a_csv_names_the_files(folder: Path) -> None:
    lines = [f'{i}.png,"{text}"' for i, text in reversed(list(enumerate(TEXTS)))]
    (folder / "prompts.csv").write_text("\ufefffile,prompt\n" + "\n".join(lines), encoding="utf-8")
    pairs = match(folder / "images", folder / "prompts.csv")
    assert [(file.name, prompt.text) for file, prompt in pairs] == [(f"{i}.png", t) for i, t in enumerate(TEXTS)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "one\ntwo", "5 pictures in .* with 2 lines"),
        ("a.txt", "one\n\nthree\nfour\nfive", "line 2 of .* is empty"),
        ("a.csv", "file,prompt\n0.png,a\n9.png,b", "names files that .* lacks: 9.png"),
        ("a.csv", "file,prompt\n0.png,a", "pictures that .* does not name: 1.png, 2.png"),
        ("a.csv", "file,prompt\n0.png,a\n0.png,b", "line 3 of .* again"),
        ("a.csv", "file,prompt\n0.png,", "lacks the file or the prompt"),
        ("a.csv", "name,prompt\n0.png,a", "columns name, prompt"),
        ("a.json", "[]", "suffix"),
    ],
)
def test_mismatches_are_refused(folder: Path, name: str, text: str, words: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises((InputError, PromptError), match=words):
        match(folder / "images", folder / name)


def test_missing_things_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        match(folder / "nowhere", folder / "prompts.txt")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no picture"):
        match(folder / "empty", folder / "prompts.txt")
    with pytest.raises(PromptError, match="there is no file"):
        match(folder / "images", folder / "nowhere.txt")
    (folder / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(PromptError, match="UTF-8"):
        match(folder / "images", folder / "latin.txt")
    arguments = ["score", str(folder / "images"), "--prompts", str(folder / "prompts.txt")]
    for more, words in (
        (["--out", "scores.xlsx"], ".csv or .json"),
        (["--scorers", "shapes-chekcer"], "did you mean"),
        (TWICE, "twice"),
    ):
        assert main([*arguments, *more]) == 2
        assert words in capsys.readouterr().err.lower()


def test_pictures_of_other_sizes_make_other_batches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGBA", (20, 30)).save(folder / "images" / "2.png")
    files = [file for file, _ in match(folder / "images", folder / "prompts.txt")]
    shapes = [pictures.shape for pictures in batches(map(read_picture, files), 8)]
    assert shapes == [(2, 64, 64, 3), (1, 30, 20, 3), (2, 64, 64, 3)]
    (folder / "images" / "2.png").write_bytes(b"nothing")
    arguments = ["score", str(folder / "images"), "--prompts", str(folder / "prompts.txt")]
    assert main(arguments) == 2
    assert "2.png is not a readable picture" in capsys.readouterr().err


def test_specs_with_options_are_split() -> None:
    assert split_specs("a, b:path=x,dtype=float16,hpsv2.1,c:device=cpu") == [
        "a",
        "b:path=x,dtype=float16",
        "hpsv2.1",
        "c:device=cpu",
    ]
    with pytest.raises(InputError, match="no names"):
        split_specs(" , ")
