"""The published prompt sets, from small files written as their authors write them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from noiseprompt.core.errors import PromptError, UnknownNameError
from noiseprompt.core.types import Prompt
from noiseprompt.prompts import load_prompts
from noiseprompt.prompts.published import DRAWBENCH, SETS, STYLES

PICK = (
    "序号,caption,caption_zh,备注\r\n"
    "0,A curious cat,一只好奇的猫,\r\n"
    '1,"Portrait, soft ""skin""",肖像，柔软,\r\n'
    "2,,,\r\n"
    "3,zentai,全包紧身衣,无\r\n"
    "4,A curious cat,重复,\r\n"
)
"""Pick-a-Pic's test prompts as the paper's authors publish them: byte-order mark, non-Latin columns, a blank row."""


def write(path: Path, text: str, bom: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    return path


def parquet(path: Path, columns: dict[str, list]) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_pickapic_as_the_authors_publish_it(tmp_path):
    found = load_prompts(f"pickapic:{write(tmp_path / 'pickscore.csv', PICK, bom=True)}")
    assert found.prompts == (Prompt("A curious cat"), Prompt('Portrait, soft "skin"'), Prompt("zentai"))
    assert found.duplicates == 1
    # the first n are counted without the blank row, as the published evaluation does
    assert [p.text for p in load_prompts(found.source, limit=3).prompts] == [p.text for p in found.prompts]
    assert load_prompts(f"pickapic:{tmp_path}").prompts == found.prompts  # the folder of the repository


def test_pickapic_from_the_hubs_shards_reads_the_captions_alone(tmp_path):
    for number, captions in enumerate([["a cat", "a dog"], ["a cat", None, "a fox "]]):
        table = {"caption": captions, "jpg_0": [b"\xff\xd8"] * len(captions), "label_0": [1.0] * len(captions)}
        parquet(tmp_path / "data" / f"train-0000{number}-of-00002-ab12.parquet", table)
    parquet(tmp_path / "data" / "test_unique-00000-of-00001-73a5.parquet", {"caption": ["a test"], "user_id": [3]})
    assert [p.text for p in load_prompts(f"pickapic:{tmp_path}").prompts] == ["a test"]
    train = load_prompts(f"pickapic-train:{tmp_path}")
    assert [p.text for p in train.prompts] == ["a cat", "a dog", "a fox"]
    assert train.duplicates == 1
    alone = load_prompts(f"pickapic:{tmp_path / 'data' / 'train-00000-of-00002-ab12.parquet'}")
    assert len(alone.prompts) == 2


def test_prompts_with_index_and_seed_in_plain_lines(tmp_path):
    path = write(tmp_path / "pick.txt", "0, a cat, sitting, 17\n1, a dog, 1024\n\n")
    assert load_prompts(f"pickapic:{path}").prompts == (Prompt("a cat, sitting", "", 17), Prompt("a dog", "", 1024))


def test_drawbench_sheet_with_its_categories(tmp_path):
    rows = [f'"a prompt, number {i}","{kind} "' for i, kind in enumerate(DRAWBENCH)]
    path = write(tmp_path / "DrawBench.csv", "\n".join(['"Prompts","Category",""', *rows]), bom=True)
    found = load_prompts(f"drawbench:{path}").prompts
    assert [p.kind for p in found] == list(DRAWBENCH)
    assert len(set(DRAWBENCH)) == 11
    assert found[3].text == "a prompt, number 3"


def test_drawbench_with_numbered_categories(tmp_path):
    path = parquet(tmp_path / "test.parquet", {"prompts": ["a red car", "three cats"], "category": [0, 2]})
    assert load_prompts(f"drawbench:{path}").prompts == (
        Prompt("a red car", "Colors"),
        Prompt("three cats", "Counting"),
    )


def test_hpdv2_benchmark_of_four_styles(tmp_path):
    for style in reversed(STYLES):
        write(tmp_path / "benchmark" / f"{style}.json", json.dumps([f"{style} {i}" for i in range(3)]))
    write(tmp_path / "test.json", json.dumps([{"prompt": "not this"}]))
    found = load_prompts(f"hpdv2:{tmp_path}").prompts
    assert Counter(p.kind for p in found) == dict.fromkeys(STYLES, 3)
    assert [p.text for p in found[:4]] == ["anime 0", "anime 1", "anime 2", "concept-art 0"]
    single = load_prompts(f"hpdv2:{tmp_path / 'benchmark' / 'photo.json'}").prompts
    assert single[0] == Prompt("photo 0", "photo")


def test_hpdv2_test_annotations(tmp_path):
    entry = {"prompt": "an owl", "file_path": ["a.jpg", "b.jpg"], "rank": [0, 1], "raw_annotations": []}
    path = write(tmp_path / "test.json", json.dumps([entry, {**entry, "prompt": "a bat"}]))
    assert [p.text for p in load_prompts(f"hpdv2:{path}").prompts] == ["an owl", "a bat"]


def test_hpdv2_table_with_commas_and_no_quotes(tmp_path):
    text = (
        "序号,caption,caption_zh,备注\n"
        "0,Dwayne wrestles in a cell.\n"
        "1,An anime man by Klimt, Nixeu, Wlop, and Cushart.\n"
        '2,A still of Doraemon from "Shaun the Sheep".\n'
    )
    found = [p.text for p in load_prompts(f"hpdv2:{write(tmp_path / 'HPD_prompt.csv', text)}").prompts]
    assert found == [
        "Dwayne wrestles in a cell.",
        "An anime man by Klimt, Nixeu, Wlop, and Cushart.",
        'A still of Doraemon from "Shaun the Sheep".',
    ]


def test_geneval_metadata(tmp_path):
    lines = [
        {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"},
        {
            "tag": "position",
            "include": [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["left of", 0]}],
            "prompt": "a photo of a cat left of a dog",
        },
    ]
    write(tmp_path / "prompts" / "evaluation_metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    expected = (
        Prompt("a photo of a bench", "single_object"),
        Prompt("a photo of a cat left of a dog", "position"),
    )
    assert load_prompts(f"geneval:{tmp_path}").prompts == expected
    assert load_prompts(f"geneval:{tmp_path / 'prompts' / 'evaluation_metadata.jsonl'}").prompts == expected


def test_a_hub_id_is_fetched_from_the_hub(hub):
    data = b'{"tag": "colors", "prompt": "a photo of a red car"}\n'
    hub.add("someone/geneval", {"prompts/evaluation_metadata.jsonl": data, "large.bin": b"not asked for"}, "datasets")
    assert load_prompts("geneval:someone/geneval").prompts == (Prompt("a photo of a red car", "colors"),)
    assert not hub.count("GET", "large.bin")


def test_without_a_network_one_message_says_what_to_do(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PromptError) as error:
        load_prompts("hpdv2:zhwang/HPDv2")
    message = str(error.value)
    assert "zhwang/HPDv2" in message and "offline mode is on" in message
    assert "anime.json" in message and "name the folder" in message


@pytest.mark.parametrize("name", SETS)
def test_what_is_not_there_is_told(tmp_path, name):
    with pytest.raises(PromptError, match=r"there is no .*nowhere\.csv"):
        load_prompts(f"{name}:{tmp_path / 'nowhere.csv'}")
    with pytest.raises(PromptError, match="has no file of"):
        load_prompts(f"{name}:{tmp_path}")
    with pytest.raises(PromptError, match="columns id, score"):
        load_prompts(f"{name}:{write(tmp_path / 'other.csv', 'id,score,' + chr(10) + '1,2')}")


def test_a_split_of_the_world_by_its_short_name():
    assert load_prompts("test", model="shapes", limit=5).prompts == load_prompts("shapes:test", limit=5).prompts
    with pytest.raises(UnknownNameError, match="held-out"):
        load_prompts("tests", model="shapes")
    with pytest.raises(PromptError, match="suffix"):
        load_prompts("test", model="a/b")


def test_seeds_from_a_file(tmp_path):
    prompts = write(tmp_path / "p.txt", "a cat\na dog\na cat\n")
    seeds = write(tmp_path / "s.txt", "5\n\n6\n7\n")
    found = load_prompts(str(prompts), seeds=seeds)
    assert [(p.text, p.seed) for p in found.prompts] == [("a cat", 5), ("a dog", 6), ("a cat", 7)]
    assert found.duplicates == 0  # another seed, another image
    table = write(tmp_path / "s.csv", "id,seed\n0,1024\n1,3\n")
    assert [p.seed for p in load_prompts(str(prompts), seeds=table, limit=2).prompts] == [1024, 3]
    assert [p.seed for p in load_prompts("shapes:test", seeds=seeds, limit=3).prompts] == [5, 6, 7]
    with pytest.raises(PromptError, match=r"4 seeds in .* for 3 prompts"):
        load_prompts(str(prompts), seeds=write(tmp_path / "more.txt", "1\n2\n3\n4\n"), limit=2)
    with pytest.raises(PromptError, match=r"2 seeds in .* for 3 prompts"):
        load_prompts(str(prompts), seeds=table)
    with pytest.raises(PromptError, match=r"entry 2 .* seed '-1'"):
        load_prompts(str(prompts), seeds=write(tmp_path / "bad.txt", "1\n-1\n2\n"))
    with pytest.raises(PromptError, match=r"entry 1 .* names no seed"):
        load_prompts(str(prompts), seeds=write(tmp_path / "none.csv", "id\n1\n2\n3\n"))


@pytest.mark.parametrize("seed", ["-1", "Infinity", "²"])
def test_a_seed_of_a_published_set_is_read_as_strictly(tmp_path, seed):
    path = write(tmp_path / "p.csv", f"prompt,seed\na cat,3\na dog,{seed}\n")
    with pytest.raises(PromptError, match=rf"entry 2 of .*p\.csv has the seed '{seed}'"):
        load_prompts(f"drawbench:{path}")
