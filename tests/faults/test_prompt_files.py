"""Files of prompts that are not what they say, and texts that are none: one line that names the file and the entry."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from noiseprompt.cli import main
from noiseprompt.core.errors import (
    ConfigError,
    InputError,
    NoiseError,
    NoisepromptWarning,
    PromptError,
    UnknownNameError,
)
from noiseprompt.core.types import Prompt
from noiseprompt.methods.base import MethodSpec
from noiseprompt.prompts import load_prompts
from noiseprompt.prompts.load import refuse_path
from tests.pipelines.tiny_pair import tiny_pipeline

HALF = "a \ud800 cat"

REFUSED: dict[str, tuple[str, bytes, str]] = {
    "semicolons": ("p.csv", b"prompt;seed\na;1\n", "its cells are separated by ';'"),
    "tabs": ("p.csv", b"prompt\tseed\na\t1\n", "separated by"),
    "NaN for a text": ("p.json", b'[{"prompt": NaN}]', "NaN is no number"),
    "NaN for a seed": ("p.jsonl", b'"a"\n{"prompt": "b", "seed": NaN}\n', "line 2 of .*NaN is no number"),
    "an infinite seed": ("p.json", b'[{"prompt": "a", "seed": Infinity}]', "Infinity is no number"),
    "a key twice": ("p.json", b'[{"prompt": "a", "prompt": "b"}]', "gives 'prompt' twice"),
    "a key twice in a line": ("p.jsonl", b'{"prompt": "a", "prompt": "b"}', "line 1 of .*'prompt' twice"),
    "half a character": ("p.json", b'["a \\ud800"]', "half a character"),
    "half a character in a line": ("p.jsonl", b'"fine"\n"a \\ud800"\n', "line 2 of .*half a character"),
    "NUL in JSON": ("p.json", b'["fine", "a\\u0000b"]', "entry 2 of .* holds NUL"),
    "NUL in an object": ("p.json", b'[{"prompt": "a\\u0000b"}]', "entry 1 of .* holds NUL"),
    "NUL in a category": ("p.json", b'[{"prompt": "a", "kind": "a\\u0000b"}]', "entry 1 of .* holds NUL"),
    "NUL in a text": ("p.txt", b"a cat\na\0b\n", "entry 2 of .* holds NUL"),
    "NUL in a table": ("p.csv", b"prompt\na cat\na\0b\n", "NUL"),
    "deep": ("p.json", b"[" * 5000 + b"]" * 5000, "deeper than"),
    "a key of another name": ("p.json", b'[{"prompt": "a"}, {"promt": "b"}]', "entry 2 of .* promt and no 'prompt'"),
    "a list for a category": ("p.json", b'[{"prompt": "a", "kind": ["b"]}]', "category a list"),
    "an object for a category": ("p.jsonl", b'{"prompt": "a", "category": {"b": 1}}', "category an object"),
    "a number for a text": ("p.json", b'[{"prompt": 3}]', "holds 3 in 'prompt'"),
    "numbers": ("p.json", b"[1, 2]", "entry 1 of .* is 1"),
    "an object": ("p.json", b'{"prompt": "a"}', "holds an object"),
    "a seed in words": ("p.csv", b"prompt,seed\na,one\n", "seed 'one'"),
    "half a seed": ("p.json", b'[{"prompt": "a", "seed": 1.5}]', "seed 1.5"),
    "a truth for a seed": ("p.json", b'[{"prompt": "a", "seed": true}]', "seed true"),
    "a seed out of range": ("p.csv", b"prompt,seed\na,9223372036854775808\n", "seed '9223372036854775808'"),
    "a seed with underscores": ("p.csv", b"prompt,seed\na,1_0\n", "seed '1_0'"),
    "a seed in other digits": ("p.csv", "prompt,seed\na,\u0663\n".encode(), "seed '\u0663'"),
    "a whole file in one line": ("p.txt", b"a cat, " * 20_000, "entry 1 of .* has 139,999 characters"),
    "more cells than columns": ("p.csv", b"prompt,kind\na cat, sitting, there\n", "line 2 of .* more cells"),
    "a column twice": ("p.csv", b"prompt,seed,prompt\na,1,b\n", "two columns 'prompt'"),
    "an open quote": ("p.csv", b'prompt\n"a cat\n', "CSV"),
    "UTF-16": ("p.txt", "a cat\n".encode("utf-16"), "not UTF-8: byte 0xff"),
    "UTF-16 of a table": ("p.csv", "prompt\na cat\n".encode("utf-16-be"), "NUL|not UTF-8|columns"),
    "Latin-1": ("p.txt", "Café".encode("latin-1"), "not UTF-8: byte 0xe9 at offset 3"),
    "nothing": ("p.json", b"", "is empty"),
    "blanks": ("p.txt", b"\n \n\t\n", "is empty"),
    "a mark alone": ("p.txt", b"\xef\xbb\xbf\n", "is empty"),
    "blank entries": ("p.json", b'["", " ", null]', "entry 3 of .* is null|no prompt"),
    "a torn list": ("p.json", b'["a", "b', "not JSON: line 1"),
    "a torn line": ("p.jsonl", b'"a"\n{"prompt": "b', "line 2 of .* not JSON"),
    "no parquet": ("p.parquet", b"PAR1 and more", "not a readable parquet"),
    "a line behind a mark": ("p.txt", b"a cat\n\xef\xbb\xbfa dog\n", "line 2 of .*U\\+FEFF"),
    "nothing that is seen": ("p.txt", "\u200b\u200b\n".encode(), "entry 1 of .*letters that are seen"),
    "a spreadsheet": ("p.csv", b"PK\x03\x04\x14\x00\x06\x00", "a ZIP file, as spreadsheets are"),
    "packed": ("p.txt", b"\x1f\x8b\x08\x00", "packed by gzip"),
    "a web page": ("p.txt", b"\n<!DOCTYPE html>\n<html></html>\n", "a web page"),
    "a pointer": ("p.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS .*git lfs pull"),
    "a prompt for a header": (
        "p.csv",
        b"a red circle\na blue square\n",
        "one column, 'a red circle': is that a prompt",
    ),
    "a long number": ("p.json", b'[{"prompt": "a", "seed": ' + b"9" * 5000 + b"}]", "more than 4,300 digits"),
    "NaN in a set": ("drawbench:p.json", b'[{"prompts": "a", "category": NaN}]', "NaN is no number"),
    "a list in a set": ("drawbench:p.json", b'[{"prompts": ["a"], "category": "b"}]', "entry 1 of .* holds a list"),
    "rich text": ("p.txt", rb"{\rtf1\ansi a cat}", "a rich text file"),
    "JSON by the name of a text": ("p.txt", b'["a cat",\n "a dog"]\n', "holds JSON.*end in .json"),
    "lines of JSON by the name of a text": ("p.txt", b'{"prompt": "a"}\n{"prompt": "b"}\n', "end in .jsonl"),
    "a table by the name of a text": ("p.txt", b"prompt,seed\na cat,3\n", "header of a table, 'prompt,seed'"),
    "a table with tabs by the name of a text": ("p.txt", b"id\tcaption\n1\ta cat\n", "with commas in place of tabs"),
    "a row cut off": ("p.csv", b"prompt,kind,seed\na cat,x,3\na do", "line 3 of .* fewer cells"),
    "a formula that fails": ("p.csv", b"prompt\na cat\n#REF!\n", "entry 2 of .* where a formula fails"),
    "nothing in words": ("p.csv", b"prompt,kind\nNaN,x\na cat,x\n", "entry 1 of .* writes for an empty cell"),
    "nothing in words in a set": ("drawbench:p.csv", b"Prompts,Category\nnan,Colors\n", "entry 1 of .*'nan'"),
    "a conflict of Git": ("p.txt", b"<<<<<<< HEAD\na cat\n=======\na dog\n>>>>>>> x\n", "a conflict of Git"),
    "a lost letter": ("p.txt", "a caf\ufffd\n".encode(), r"entry 1 of .* U\+FFFD, which stands for a letter"),
    "a lost letter in a table": ("p.json", b'[{"prompt": "a caf\\ufffd"}]', r"entry 1 of .* U\+FFFD"),
    "rows in quotes": ("p.csv", b'"prompt,seed"\n"a cat,3"\n', "in quotes as a whole"),
    "a header above a text": ("p.txt", b"prompt\na cat\n", "looks like a header"),
    "a table of Markdown": ("p.txt", b"| prompt | seed |\n|---|---|\n| a cat | 3 |\n", "looks like a header"),
    "seeds by another name": ("p.csv", b"prompt,seeds\na cat,3\n", "a column 'seeds'.*'seed'"),
    "a row without a text": ("p.csv", b"prompt,seed\na cat,1\n,2\n", "entry 2 of .* has no prompt.*delete that row"),
    "an object without a text": (
        "p.jsonl",
        b'{"prompt": "a"}\n{"prompt": null, "seed": 3}\n',
        "entry 2 of .* no prompt",
    ),
    "a quote that stays open": (
        "p.csv",
        b'prompt,seed\na,1\n"b,2\nc,3\n',
        "line 3 a quote is opened and never",
    ),
    "a line above the header": ("p.csv", b"\nprompt\na cat\n", "line 1 of p.csv is blank"),
    "lines by the name of a list": ("p.json", b'{"prompt": "a"}\n{"prompt": "b"}\n', "Let its name end in .jsonl"),
    "a list of Python": ("p.txt", b"['a cat', 'a dog']\n", "holds a list in brackets"),
    "a set in capitals": ("DrawBench:p.csv", b"Prompts\na\n", "unknown set of prompts 'DrawBench'.* mean 'drawbench'"),
    "a set that nobody knows": ("coco:p.json", b"[]", "unknown set of prompts 'coco'. Expected one of shapes, "),
    "a table behind itself": ("p.csv", b"prompt,kind\na,k\nprompt,kind\na,k\n", "line 3 of .*its header again"),
    "a pointer by the name of parquet": ("p.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "null in a set": ("geneval:p.jsonl", b"null\n", "entry 1 of .* is null"),
    "JSON by the name of a table": ("p.csv", b'[{"prompt": "a cat"}]', "holds JSON.*end in .json"),
    "the end of a file of DOS": ("p.txt", b"a cat\r\n\x1a", "entry 2 of .* letters that are seen"),
    "two marks": ("p.txt", "\ufeff\ufeffa cat\n".encode(), "line 2 of .*U\\+FEFF"),
    "an old spreadsheet": ("p.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an old spreadsheet .*Export it as text"),
    "a picture": ("p.txt", b"\x89PNG\r\n\x1a\n", "a picture"),
    "a shard": ("p.parquet", b"ARROW1\0\0", "an Arrow file"),
    "a table with a column of its own": ("p.txt", b"prompt;seed;style\na cat;3;x\n", "header of a table"),
    "no category in words": ("p.csv", b"prompt,kind\na cat,nan\n", "entry 1 of .* the category 'nan'"),
    "NUL in a set": ("drawbench:p.json", b'[{"prompts": "a\\u0000"}]', "entry 1 of .* holds NUL"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_of_prompts_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source, data, told = REFUSED[kind]
    monkeypatch.chdir(tmp_path)
    Path(source.rpartition(":")[2]).write_bytes(data)
    with pytest.raises((PromptError, UnknownNameError), match=told) as caught:
        load_prompts(source)
    assert "\n" not in str(caught.value) and ("p." in str(caught.value) or "unknown set" in told)
    assert main(["generate", source, "--out=o"]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and error.startswith("noiseprompt: error: ") and not Path("o").exists()


def test_what_looks_like_another_kind_and_is_none(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    texts = ["[film still] a cat", "prompt, in a book", "{a cat}, masterpiece", "none of them", "a cat; a dog"]
    path.write_text("\n".join(texts))
    assert [prompt.text for prompt in load_prompts(path).prompts] == texts


def test_rows_without_anything_are_no_prompts(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,seed\na cat,3\n,\n , \na dog,4\n,\n")
    assert load_prompts(path).prompts == (Prompt("a cat", seed=3), Prompt("a dog", seed=4))


@pytest.mark.parametrize(
    ("name", "data"), [("p.json", '["a", "", {"prompt": null}]'), ("p.jsonl", '"a"\n""\n{"prompt": ""}')]
)
def test_entries_without_anything_are_told_and_left_out(name: str, data: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(data)
    with pytest.warns(NoisepromptWarning, match=r"2 of 3 entries of .* have no prompt and are left out"):
        assert load_prompts(tmp_path / name).prompts == (Prompt("a"),)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("p.csv", "prompt,negative_prompt\na,blurry\n", "columns 'negative_prompt', which are not read"),
        ("p.jsonl", '{"prompt": "a", "noise_seed": 3}', "columns 'noise_seed', which are not read"),
        ("p.csv", "cat\na\n", "one column, 'cat': its first line is taken for the header"),
        ("p.txt", "- prompt: a\n  seed: 3\n", "every line of .* begins with a key, as in YAML"),
        ("p.txt", "# mine\na cat\n// old\n", "prompt 1 of .* the mark of a comment .*'# mine', and so do 1 more"),
        ("p.csv", "prompt,seed\n; old,1\na cat,2\n", "prompt 1 of .* the mark of a comment"),
        ("p.txt", "a cat &amp; a dog\n", "signs as web pages write them"),
        ("p.json", '["a%20cat"]', "signs as web pages write them"),
        ("p.txt", "a cat\t3\na dog\t4\n", "prompt 1 of .* holds a tab: .*, and so do 1 more"),
        ("p.txt", "a cat\na caf\u00c3\u00a9\n", "prompt 2 of .* letters of UTF-8 that were read in another code"),
        ("p.csv", "prompt\n\u00e2\u20ac\u0153a cat\u00e2\u20ac\u009d\n", "read in another code"),
    ],
)
def test_what_is_not_read_as_somebody_may_mean_it_is_told(name: str, data: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(data)
    with pytest.warns(NoisepromptWarning, match=told):
        load_prompts(tmp_path / name)


@pytest.mark.parametrize("head", ["prompt,seed,image_seed", "prompt", "caption", "id,Prompt,kind"])
def test_a_table_as_it_should_be_is_read_without_a_word(head: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        f"{head}\n{','.join('1' if 'seed' in name else 'a cat' for name in head.split(','))}\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_prompts(tmp_path / "p.csv")


@pytest.mark.parametrize(
    "text", ["#cat #dog", "ein Gr\u00fcn, \u00c3", "caf\u00e9 \u00a9", "https://a.b // c", "\u732b"]
)
def test_texts_that_are_as_they_should_be_are_read_without_a_word(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(f"{text}\na cat\n", "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_prompts(tmp_path / "p.txt")


@pytest.mark.parametrize("data", ["", "\n"])
def test_a_file_of_seeds_is_told_as_one(data: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat\n")
    (tmp_path / "s.txt").write_text(data)
    with pytest.raises(PromptError, match=r"s\.txt is empty\. Expected a file of seeds"):
        load_prompts(tmp_path / "p.txt", seeds=tmp_path / "s.txt")
    with pytest.raises(PromptError, match=r"no file .*t\.txt\. Expected a file of seeds"):
        load_prompts(tmp_path / "p.txt", seeds=tmp_path / "t.txt")


def test_a_letter_that_was_lost_is_refused_on_the_command_line_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "a caf\ufffd", f"--out={tmp_path / 'o'}"]) == 2
    assert "the prompt holds U+FFFD" in capfd.readouterr().err


def test_columns_in_capitals_are_those_columns(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("Prompt,SEED, Category,,\na cat,3,Pets,,\n")
    assert load_prompts(path).prompts == load_prompts(path, column="Prompt").prompts == (Prompt("a cat", "Pets", 3),)


@pytest.mark.parametrize("text", ["./prompts/", "~/p.txt.bak", "../a/b", "/data/prompts", "prompts/test/"])
def test_a_path_that_is_not_there_is_no_prompt(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PromptError, match="there is no"):
        refuse_path(text)
    for prompt in ("/imagine a cat", "a cat / a dog", "24/7", "and/or", "..."):
        refuse_path(prompt)


def test_tables_of_other_types(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    wrong: list[tuple[dict[str, list[Any]], str]] = [
        ({"prompt": ["a", "b"], "kind": [1.0, math.nan]}, "entry 2 of .* category nan"),
        ({"prompt": ["a", "b"], "seed": [1.0, math.nan]}, "entry 2 of .* seed nan"),
        ({"prompt": [1, 2]}, "holds 1 in 'prompt'"),
        ({"prompt": [b"a"]}, "holds b'a' in 'prompt'"),
        ({"words": ["a"], "more": ["b"]}, "columns words, more"),
    ]
    for columns, told in wrong:
        pq.write_table(pa.table(columns), path)
        with pytest.raises(PromptError, match=told):
            load_prompts(str(path))


def test_numbers_and_columns_of_a_table_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "seed": [Decimal("3.5")]}), path)
    with pytest.raises(PromptError, match=r"entry 1 of .* the seed 3\.5\."):
        load_prompts(path)
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"]), path)
    with pytest.raises(PromptError, match="two columns 'prompt'"):
        load_prompts(path)


@pytest.mark.parametrize(
    ("kind", "told"), [("folder", "is a folder"), ("loop", "symbolic links"), ("pipe", "a named pipe")]
)
def test_what_is_no_file_is_told(kind: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    {"folder": path.mkdir, "loop": lambda: path.symlink_to(path), "pipe": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(PromptError, match=told):
        load_prompts(path)


FINE: dict[str, tuple[str, bytes, list[Prompt]]] = {
    "a mark": ("p.csv", b"\xef\xbb\xbfprompt,kind\na,k\n", [Prompt("a", "k")]),
    "empty lines": ("p.txt", b"\n\na\n\r\n b \n\n", [Prompt("a"), Prompt("b")]),
    "lines as editors show them": ("p.txt", "a\u2028b\x0cc\rd\n".encode(), [Prompt("a\u2028b\x0cc"), Prompt("d")]),
    "blanks around a header": ("p.csv", b" prompt , seed\na,3\n", [Prompt("a", seed=3)]),
    "empty lines between": ("p.jsonl", b'\n"a"\n\n{"prompt": "b"}\n\n', [Prompt("a"), Prompt("b")]),
    "null": ("p.json", b'[{"prompt": null}, {"prompt": "a", "seed": null, "kind": null}]', [Prompt("a")]),
    "a number for a category": ("p.json", b'[{"prompt": "a", "kind": 3}]', [Prompt("a", "3")]),
    "quotes": ("p.csv", b'prompt\n"a, ""b"""\n', [Prompt('a, "b"')]),
    "whole characters": ("p.json", b'["\\ud83d\\ude00"]', [Prompt("😀")]),
    "a whole seed": ("p.json", b'[{"prompt": "a", "seed": 3.0}]', [Prompt("a", seed=3)]),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_can_be_meant_is_read(kind: str, tmp_path: Path) -> None:
    name, data, prompts = FINE[kind]
    (tmp_path / name).write_bytes(data)
    assert list(load_prompts(str(tmp_path / name)).prompts) == prompts


NO_TEXTS = {"half": HALF, "the other half": "\udfff", "NUL": "a\0b", "NUL alone": "\0"}


@pytest.mark.parametrize("kind", NO_TEXTS)
def test_a_text_that_cannot_be_written_is_refused_everywhere(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = NO_TEXTS[kind]
    monkeypatch.chdir(tmp_path)
    for made in (lambda: Prompt(text), lambda: Prompt("a", kind=text)):
        with pytest.raises(PromptError, match=r"holds (NUL|halves)"):
            made()
    with pytest.raises(PromptError, match=r"holds (NUL|halves)"):
        tiny_pipeline("stable_diffusion").encode(["fine", text])
    with pytest.raises(ConfigError, match=r"without (NUL|halves)"):
        MethodSpec(text, "standard")
    assert main(["generate", text, "--out=o"]) == 2
    assert main(["generate", "a cat", f"--out={text}"]) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 2 and all("NUL" in error or "halves" in error for error in errors), errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", [None, 3, b"a cat", ["a cat"]])
def test_what_is_no_text_is_no_prompt(text: Any) -> None:
    with pytest.raises(PromptError, match="a prompt is "):
        Prompt(text)
    with pytest.raises(PromptError, match="a prompt is "):
        tiny_pipeline("stable_diffusion").encode([text])
    with pytest.raises(ConfigError, match="the seed of a prompt"):
        Prompt("a", seed="3")  # type: ignore[arg-type]


@pytest.mark.parametrize("texts", ["a cat", [], None, {"a"}, 3])
def test_texts_are_a_list(texts: Any) -> None:
    with pytest.raises(InputError, match="a list with at least one text"):
        tiny_pipeline("stable_diffusion").encode(texts)


def test_latents_are_a_tensor_of_numbers(tmp_path: Path) -> None:
    pipeline = tiny_pipeline("stable_diffusion")
    embeds = pipeline.encode(["a cat"])
    noise = torch.zeros(1, *pipeline.latent_shape())
    how: dict[str, Any] = {"guidance_scale": 2.0, "num_inference_steps": 2}
    for wrong in (None, 3, noise.numpy(), noise.long(), [noise]):
        for act in (pipeline.sample, pipeline.denoise_step, pipeline.invert_step, pipeline.predictions):
            with pytest.raises(InputError, match="latents"):
                act(embeds, wrong, **how)
    for act in (pipeline.sample, pipeline.denoise_step):
        with pytest.raises(InputError, match="embeds"):
            act(["a cat"], noise, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["stable_diffusion", "stable_diffusion_xl"])
def test_a_text_embedding_that_is_not_finite_stops_with_its_prompt(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = tiny_pipeline(kind)
    encode = pipeline.family.encode

    def broken(pipe: Any, texts: list[str]) -> Any:
        embeds = encode(pipe, texts)
        embeds.prompt_embeds[texts.index("bad"), 0, 0] = math.nan
        return embeds

    monkeypatch.setattr(pipeline, "family", dataclasses.replace(pipeline.family, encode=broken))
    with pytest.raises(NoiseError, match="the text embedding of 'bad' is not finite"):
        pipeline.encode(["good", "bad"])


def test_a_parquet_file_of_no_texts_is_named(tmp_path: Path) -> None:
    raw = pa.array([b"\xff\xfe", b"fine"])
    pq.write_table(pa.table({"prompt": pa.Array.from_buffers(pa.string(), 2, raw.buffers())}), tmp_path / "p.parquet")
    with pytest.raises(PromptError, match=r"a text in .*p\.parquet is not UTF-8"):
        load_prompts(tmp_path / "p.parquet")
