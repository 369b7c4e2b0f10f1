"""All mistakes of a command line and of its `--config` file in one line: option, value, what was expected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from noiseprompt.cli import common, main
from noiseprompt.cli.entry import option_parser
from noiseprompt.cli.mistakes import files_first
from noiseprompt.cli.options import read_option
from noiseprompt.cli.table import COMMANDS

FILES = {
    "o.yaml": "epochs: 2.5\n",
    "torn.yaml": "out: 'o\n",
    "dashes.yaml": "out: o\nbatch-size: 0\n",
    "both.yaml": "batch-size: 4\nbatch_size: 4\n",
}

WRONG: dict[str, tuple[str, list[str]]] = {
    "two types": (
        "train --npd n --out o --epochs two --lr fast",
        ["--epochs 'two' (expected a whole number)", "--lr 'fast' (expected a number)"],
    ),
    "type and range": (
        "train --npd n --out o --epochs two --ema_decay 2",
        ["--epochs 'two'", "--ema_decay 2 (expected a number from 0 to below 1)"],
    ),
    "with an equals sign": ("train --npd=n --out=o --epochs=2.5 --lr=", ["--epochs 2.5", "--lr ''"]),
    "two records": (
        "generate x --out o --batch_size 0 --dtype int8",
        ["--batch_size 0 (expected a whole number, 1 or more)", "--dtype 'int8' (expected one of float32"],
    ),
    "missing too": ("train --epochs two", ["--epochs 'two'", "required: --out"]),
    "unknown too": (
        "train --npd n --out o --epoch 3 --lr no",
        ["no option --epoch 3 (did you mean --epochs?)", "--lr 'no'"],
    ),
    "a word too many": ("generate x y --out o --seed 3", ["the word 'y'", "no option --seed 3"]),
    "no value": ("train --npd n --out o --epochs --lr no", ["--epochs without a value", "--lr 'no'"]),
    "a number that begins with a dash": ("train --npd n --out o --margin -1e400 --lr -.x", ["-1e400", "--lr '-.x'"]),
    "a forgotten value": ("collect --prompts p --n 2 --out -o", ["--out without a value", "no option -o"]),
    "an option with one dash": ("generate x --out o -o p", ["no option -o", "the word 'p'"]),
    "a text that begins with one": ("generate -a --out o", ["no option -a", "stands after --", "required: prompt"]),
    "a flag with a value": (
        "generate x --out o --verbose=true --renormalize=no",
        ["--verbose alone", "--renormalize alone"],
    ),
    "a part of what has none": ("generate x --out o --methods.foo=1", ["no option --methods.foo"]),
    "no file": ("train --npd n --out o --config=", ["--config ''"]),
    "words without quotes": ("generate a red circle --out o", ["the word 'red'", "in quotes"]),
    "blank names": (
        "generate x --out o --unet= --controlnet= --control_image= --revision= --variant=",
        ["--unet '' (expected a text that is not blank)", "--controlnet ''", "--control_image ''", "--variant ''"],
    ),
    "words for an option of words or none": ("collect --prompts p --out o --engine ray2", ["one of '', local, ray"]),
    "a list": (
        "collect --prompts p --out o --seed_range 0-9",
        ["a list of 2, each a whole number, such as 0,5 or [0, 5]"],
    ),
    "a prompt as an option": ("generate --prompt x --out o", ["no option --prompt. Expected the prompt alone"]),
    "nearly a prompt as an option": (
        "generate --prompts x --out o",
        ["no option --prompts. Expected the prompt alone"],
    ),
    "a strength that no method takes": (
        "generate x --out o --methods standard,nlg:strength=2 --strength 0.5",
        ["--strength with the methods standard, nlg:strength=2. Expected a method that takes it"],
    ),
    "a flag that no method takes": (
        "generate x --out o --methods standard --renormalize --no_text true",
        ["--renormalize and --no_text with the methods standard"],
    ),
    "no text of no network": ("evaluate --methods standard,redenoise --no_text true", ["--no_text with the methods"]),
    "options of the source noise": ("evaluate --methods standard,standard:swap", ["the source noise whatever its"]),
    "a licence beside a card": ("npd push n a/b --card c.md --license mit", ["--license with a card of your own"]),
    "prompts of no evaluation": ("npnet push n a/b --prompts x", ["--prompts 'x' without an evaluation"]),
    "no prompts": ("collect --prompts p --out o --n 0", ["--n 0. Expected a whole number, 1 or more"]),
    "a short flag with a value": ("generate x --out o -v=3", ["no option -v=3"]),
    "a command of npd that is not there": ("npd", ["npd without a command. Expected one of info, verify"]),
    "a seed that no generator takes": ("generate x --out o --seeds 18446744073709551616", ["from 0 to 2**63 - 1"]),
    "a place for a shell": ("generate x --out=$HOME/o", ["nobody put a value in the place of $HOME"]),
    "a place of two settings": ("generate x --out=runs/${now}", ["nobody put a value in the place of ${now}"]),
    "a home alone, which YAML has as nothing": ("score i --prompts p.csv --out=~", ["--out '~'. Expected a path"]),
    "a remark alone": ("evaluate --out o --features=#", ["--features '#'"]),
    "a value that may be true or false": ("generate x --out o --no_text", ["Expected true or false after it"]),
    "no names of LoRAs": ("generate x --out o --lora ,", ["lora ','. Expected files or hub ids"]),
    "a blank extractor": ("evaluate --prompts o.txt --out o --features=", ["--features ''"]),
    "who filtered": ("evaluate --prompts o.txt --out o --filter_scorers shapes-prefrence", ["unknown scorer"]),
    "settings of another coupling": (
        "train --npd n --out o --objective picture --architecture tokens --nearest_noises 2",
        ["nearest_noises with coupling 'correlation'. Expected settings of coupling nearest"],
    ),
    "no phases": ("shapes train --out o --phases []", ["a list of mappings of steps, lr,", "at least one"]),
    "a falling range": ("collect --prompts p --out o --seed_range 5,1", ["the lowest first"]),
    "of one step": ("collect --prompts p --out o --invert_guidance_scale 0", ["a number from 1 to 1,000"]),
    "truth or nothing": ("train --npd n --out o --keep_text yes", ["--keep_text 'yes'"]),
    "an option first": ("--config o.yaml train", ["--config before the command"]),
    "no command": ("trian --out o", ["no command 'trian'", "Did you mean 'train'?"]),
    "no command of npd": ("npd infos n", ["no command 'infos' of noiseprompt npd", "Did you mean 'info'?"]),
    "a strength": ("generate x --out o --methods standard --strength 1e7", ["--strength 10000000.0"]),
    "a prompt that is a file": ("generate o.yaml --out o", ["the prompt 'o.yaml' is a file"]),
    "a set without its file": ("generate drawbench: --out o", ["drawbench: without a source"]),
    "a home that no shell put there": ("generate x --out=~/o", ["no shell put a home in the place of ~"]),
    "an address": ("generate x --out=gs://bucket/o", ["gs://bucket/o"]),
    "a document of another suffix": ("tables o.yaml runs", ["a name that ends in .md"]),
    "a data set in a table": ("npd export n x.csv", ["a name that ends in .parquet"]),
    "a model without scorers": (
        "collect --prompts o.txt --out o --model Shapes",
        ["no scorers for the model 'Shapes'", "--scored_share 0"],
    ),
    "a former name": (
        "collect --prompts p --out o --sampling_steps 3 --seed no",
        ["option --sampling_steps (expected its new name --num_inference_steps", "--seed 'no'"],
    ),
    "lists": (
        "evaluate --seeds 7-0 --seed_range [3] --scorers []",
        ["--seeds '7-0' (expected", "--seed_range '[3]' (expected", "--scorers '[]' (expected at least one)"],
    ),
    "empty paths": ("train --npd= --out=", ["--npd '' (expected a path)", "--out '' (expected a path)"]),
    "dashes": (
        "generate x --out o --batch-size no --num-inference-steps no",
        ["--batch_size", "--num_inference_steps"],
    ),
    "a flag": ("train --npd n --out o --tensorboard maybe --seed x", ["--tensorboard 'maybe' (expected true or"]),
    "records": (
        "shapes train --out o --seed x --phases [{steps:0}]",
        ["--seed 'x' (expected a whole number", "--phases number 1: "],
    ),
    "a file too": (
        "train --npd n --config o.yaml --lr fast",
        ["--lr 'fast'", "o.yaml: epochs: 2.5 (expected", "--out"],
    ),
    "a file that is not there": (
        "train --npd n --out o --config none.yaml --lr fast",
        ["--lr 'fast'", "cannot read none.yaml"],
    ),
    "a file that says nothing": (  # what it would give nobody knows
        "collect --config torn.yaml",
        ["cannot read torn.yaml, line 2: a text in quotes that does not end (expected YAML). `noiseprompt"],
    ),
    "keys as options are spelled": ("train --config dashes.yaml", ["dashes.yaml: batch_size: 0 (expected"]),
    "both spellings": ("train --out o --npd n --config both.yaml", ["both.yaml gives batch_size twice"]),
    "a file elsewhere": ("collect --out o --config https://a.b/c.yaml", ["https://a.b/c.yaml, which is the address"]),
    "yaml itself": ("train --npd n --out o --config {epochs:two,lr:fast}", ["--config: epochs:", "lr: "]),
}


@pytest.fixture(autouse=True)
def nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "load_model", lambda *_: pytest.fail("a model was loaded"))
    for name, text in FILES.items():
        Path(name).write_text(text)
    yield
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(FILES)


@pytest.mark.parametrize("kind", WRONG)
def test_everything_is_told_in_one_line(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    line, texts = WRONG[kind]
    words = [word.replace(":", ": ") if word[:1] in "{[" else word for word in line.split()]
    assert main(words) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and error.startswith("noiseprompt: error: ")
    assert not [text for text in texts if text not in error], error
    assert not [word for word in ("<class", "Parser key", "None", "Union", "indices") if word in error], error


def test_one_mistake_is_told_as_ever(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--npd=n", "--out=o", "--epochs", "two"]) == 2
    expected = "--epochs 'two'. Expected a whole number. `noiseprompt train --help` lists what there is.\n"
    assert capfd.readouterr().err == f"noiseprompt: error: {expected}"


def test_what_a_shell_hands_over_is_read_once(capfd: pytest.CaptureFixture[str]) -> None:
    for text in ("guidance_scale: 2000\n", "seeds: x\n"):  # the second by the parser alone
        end, start = os.pipe()
        os.write(start, text.encode())
        os.close(start)
        assert main(["generate", "a cat", "--out=o", "--config", f"/dev/fd/{end}"]) == 2
        os.close(end)
        error = capfd.readouterr().err
        assert text.split()[1] in error and "no settings" not in error, error


def test_a_pipe_is_no_text_to_draw(capfd: pytest.CaptureFixture[str]) -> None:
    end, start = os.pipe()
    assert main(["generate", f"/dev/fd/{end}", "--out=o"]) == 2
    assert f"the prompt '/dev/fd/{end}' is a path of no file" in capfd.readouterr().err
    os.close(end)
    os.close(start)


@pytest.mark.parametrize("value", ["0", "[0, 1]", "true", "-1"])
def test_one_seed_of_a_file_is_a_number(value: str, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "a cat", "--out=o", "--config", f"{{seeds: {value}, guidance_scale: 2000}}"]
    assert main(words) == 2
    error = capfd.readouterr().err
    assert ("seeds: " in error) == (value in ("[0, 1]", "true")) and "guidance_scale: 2000" in error, error


@pytest.mark.parametrize("value", ["-0.5", "-3", "1e-3", "0"])
def test_numbers_that_begin_with_a_dash_are_values(value: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--npd=n", "--out=o", "--margin", value, "--epochs", "two"]) == 2
    assert capfd.readouterr().err.startswith("noiseprompt: error: --epochs 'two'. Expected")


def test_what_is_written_beside_a_file_of_options_wins_wherever_the_file_stands() -> None:
    assert files_first(["a", "--seeds=1", "--config", "c", "--config=d", "--", "--config"]) == [
        "--config", "c", "--config=d", "a", "--seeds=1", "--", "--config",
    ]  # fmt: skip
    assert files_first(["a", "--config"]) == ["a", "--config"]  # without a value: refused elsewhere


def test_a_range_is_written_as_a_list_is() -> None:
    parser = option_parser(COMMANDS["collect"])
    assert read_option(parser, "seed_range", "0,10") == read_option(parser, "seed_range", "[0, 10]") == (0, 10)


@pytest.mark.parametrize("words", [["--npd", "🙂,b"], ["--config", "{npd: [🙂, b]}"]], ids=["words", "a file"])
def test_a_list_holds_letters_beyond_the_basic_plane(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--out=o", *words]) == 2
    assert "🙂" in capfd.readouterr().err


@pytest.mark.parametrize("asked", ["--print_config", "--print_config=skip_default"])
def test_options_that_are_written_into_a_file_are_held_too(asked: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--num_inference_steps=0", asked]) == 2
    told = capfd.readouterr()
    assert "--num_inference_steps 0. Expected a whole number, 1 or more" in told.err and not told.out
    with pytest.raises(SystemExit):  # a part of a command can be written
        main(["generate", "--num_inference_steps=4", asked])
    assert "num_inference_steps: 4" in capfd.readouterr().out


def test_a_current_folder_that_was_removed_is_told_before_torch_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = Path("gone")
    gone.mkdir()
    monkeypatch.chdir(gone)
    Path("../gone").rmdir()
    assert main(["generate", "a red circle", "--out=o"]) == 2
    told = capfd.readouterr().err
    assert told.startswith("noiseprompt: error: the current folder was removed") and told.count("\n") == 1
