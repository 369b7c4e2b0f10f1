"""Files of prompts: every format, every way to be wrong."""

from __future__ import annotations

import json

import pytest

from noiseprompt.core.errors import PromptError
from noiseprompt.core.types import Prompt
from noiseprompt.prompts import load_prompts


def texts(source, **options) -> list[str]:
    return [p.text for p in load_prompts(str(source), **options).prompts]


def test_txt_skips_blank_lines_and_counts_duplicates(tmp_path):
    path = tmp_path / "p.txt"
    path.write_bytes("\ufeffa cat\r\n\r\n  a dog  \na cat\nein Hündchen, 猫\n".encode())
    found = load_prompts(str(path))
    assert [p.text for p in found.prompts] == ["a cat", "a dog", "ein Hündchen, 猫"]
    assert found.duplicates == 1 and found.source == str(path)


def test_csv_with_bom_quotes_seed_and_category(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes('\ufeffcaption_en,seed,category\n"a cat, ""sleeping""\nat night",7,animal\nкот,,\n'.encode())
    found = load_prompts(str(path), column="caption_en").prompts
    assert found == (Prompt('a cat, "sleeping"\nat night', "animal", 7), Prompt("кот", "", None))


def test_json_of_texts_and_of_objects(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(["a cat", " a dog ", ""]))
    assert texts(path) == ["a cat", "a dog"]
    path.write_text(json.dumps([{"prompt": "a cat", "kind": "animal", "seed": 3}, {"prompt": None}]))
    assert load_prompts(str(path)).prompts == (Prompt("a cat", "animal", 3),)
    path.write_text(json.dumps([{"prompt": "a cat"}, {"text": "lost"}]))
    with pytest.raises(PromptError, match=r"entry 2 of .* has text and no 'prompt'"):
        load_prompts(str(path))


def test_jsonl_keeps_line_separators_inside_texts(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "a\u2028cat"}\n\n"a dog"\n', encoding="utf-8")
    assert texts(path) == ["a\u2028cat", "a dog"]


def test_parquet(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "text": ["a cat", "a dog", "a cat"], "seed": [5, None, 6]}), path)
    found = load_prompts(str(path))
    assert found.prompts == (Prompt("a cat", "", 5), Prompt("a dog"), Prompt("a cat", "", 6)) and found.duplicates == 0
    path.write_bytes(b"PAR0")
    with pytest.raises(PromptError, match="parquet"):
        load_prompts(str(path))


def test_wrong_encoding_names_the_offset(tmp_path):
    path = tmp_path / "p.txt"
    path.write_bytes("abc é".encode("latin-1"))
    with pytest.raises(PromptError, match="byte 0xe9 at offset 4"):
        load_prompts(str(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "", "is empty"),
        ("p.csv", "prompt\n", "holds no prompt"),
        ("p.json", "[]", "holds no prompt"),
        ("p.json", '{"prompt": "a"}', "holds an object"),
        ("p.json", "[1]", "entry 1 .* is 1"),
        ("p.json", '[{"prompt": 3}]', "holds 3 in 'prompt'"),
        ("p.json", "[", "not JSON"),
        ("p.jsonl", '"a"\n{', "line 2"),
        ("p.jsonl", '{"prompt": "a", "seed": "x"}', "seed 'x'"),
        ("p.jsonl", '{"prompt": "a", "seed": 1.5}', r"seed 1\.5"),
        ("p.jsonl", '"b"\n{"prompt": "a", "seed": Infinity}', r"line 2 of .*p\.jsonl is not JSON: Infinity"),
        ("p.json", '[{"prompt": "a", "seed": -1e999}]', r"p\.json is not JSON: -1e999 is too large"),
        (
            "p.csv",
            "prompt,seed\na,1\nb,9223372036854775808\n",
            r"entry 2 of .*p\.csv has the seed '9223372036854775808'",
        ),
        ("p.json", '["a"]', "no columns"),
        ("p.docx", "a", "unknown suffix '.docx'"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(PromptError, match=message):
        load_prompts(str(path), column="prompt" if "no columns" in message else None)


def test_missing_file(tmp_path):
    with pytest.raises(PromptError, match="there is no file"):
        load_prompts(str(tmp_path / "no.txt"))
    with pytest.raises(PromptError, match="shapes:test"):
        load_prompts("shapes-test")
