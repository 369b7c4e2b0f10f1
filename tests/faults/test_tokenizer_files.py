"""A tokenizer of which a file is not there, of another kind or empty is named: transformers fills up what it lacks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.tokenizer_files import check_tokenizer
from noiseprompt.pipelines import Pipeline
from noiseprompt.scorers.base import load_scorers
from tests import tiny, tiny_flow
from tests.scorers import checkpoints

WORDS, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokenizer has a chat template."""
    return tiny.save(tiny_flow.z_image(), tmp_path_factory.mktemp("models") / "talking")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny_flow.flux(), tmp_path_factory.mktemp("models") / "sound")


def linked(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def setting(**values: Any) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


Change = Callable[[Path], object]
TOKENIZERS: dict[str, tuple[str, Change, str]] = {
    "a loop": (f"tokenizer_2/{WORDS}", lambda path: linked(path, WORDS), "Too many levels of symbolic links"),
    "a link to nothing": (f"tokenizer_2/{WORDS}", lambda path: linked(path, "gone"), "is a link that leads nowhere"),
    "other letters": (
        f"tokenizer_2/{WORDS}",
        lambda path: path.rename(path.with_name(WORDS.upper())),
        "tokenizer_2 of .* has no words: no file of them",
    ),
    "words of another kind": (
        f"tokenizer/{WORDS}",
        lambda path: shutil.copyfile(path.parents[1] / "tokenizer_2" / WORDS, path),
        "has the words of a Unigram tokenizer. Expected those of a BPE one, as a CLIPTokenizer is",
    ),
    "no settings": (f"tokenizer/{SETTINGS}", Path.unlink, f"tokenizer of .* has no {SETTINGS}, which says how long"),
    "any length": (f"tokenizer/{SETTINGS}", setting(model_max_length=None), "reads prompts of any length"),
    "nothing to fill up with": (f"tokenizer/{SETTINGS}", setting(pad_token=None), "tokenizer of .* has no pad_token"),
    "an empty mark": (f"tokenizer/{SETTINGS}", setting(eos_token=""), f"{SETTINGS} has eos_token ''. Expected a word"),
    "another end": (
        "text_encoder/config.json",
        setting(eos_token_id=5),
        r"has eos_token_id 5\. Expected \d+, with which its tokenizer ends a prompt",
    ),
    "several ends": ("text_encoder/config.json", setting(eos_token_id=[1]), "text_encoder of .* has eos_token_id .1."),
}


@pytest.mark.parametrize("change", TOKENIZERS)
def test_what_a_tokenizer_lacks_is_named(change: str, sound: Path, tmp_path: Path) -> None:
    file, act, says = TOKENIZERS[change]
    folder = Path(shutil.copytree(sound, tmp_path / "model"))
    act(folder / file)
    with pytest.raises(ModelLoadError, match=says):
        Pipeline.load(folder)


TEMPLATES: dict[str, tuple[Change, str]] = {
    "empty": (lambda path: path.write_text(" \n"), f"{TEMPLATE} is empty"),
    "broken": (lambda path: path.write_text("{{ messages }"), r"the chat template .* fails \(TemplateSyntaxError"),
    "gone": (Path.unlink, "the chat template of the model's tokenizer is not there"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), f"{TEMPLATE} is a folder"),
}


@pytest.mark.parametrize("change", TEMPLATES)
def test_a_chat_template_that_is_none_is_named(change: str, talking: Path, tmp_path: Path) -> None:
    act, says = TEMPLATES[change]
    folder = Path(shutil.copytree(talking, tmp_path / "model"))
    act(folder / "tokenizer" / TEMPLATE)
    with pytest.raises(ModelLoadError, match=says):
        Pipeline.load(folder).encode(["a red circle"])


def test_words_in_the_files_of_older_releases_are_enough(tmp_path: Path) -> None:
    for name in ("spiece.model", SETTINGS):
        (tmp_path / name).write_text("{}")
    check_tokenizer(tmp_path, "it")


def test_a_tokenizer_of_a_scorer_is_looked_at_too(tmp_path: Path) -> None:
    made = tmp_path / "clip"
    checkpoints.clip_folder(made)
    (made / SETTINGS).unlink()  # a scorer says itself how long prompts are
    load_scorers([f"clipscore:path={made}"])
    linked(made / WORDS, "gone")
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json is a link that leads nowhere"):
        load_scorers([f"clipscore:path={made}"])


def test_the_end_of_a_prompt_is_the_same_for_a_scorer_and_its_words(tmp_path: Path) -> None:
    checkpoints.clip_folder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for end, says in ((4000, "Expected one of its"), (5, "with which its tokenizer ends a prompt"), (2, "")):
        config["text_config"]["eos_token_id"] = end
        (tmp_path / "config.json").write_text(json.dumps(config))
        if not says:  # as CLIP was published: the largest number of a row
            load_scorers([f"clipscore:path={tmp_path}"])
            continue
        with pytest.raises(ModelLoadError, match=f"the scorer 'clipscore' has eos_token_id {end}.*{says}"):
            load_scorers([f"clipscore:path={tmp_path}"])
