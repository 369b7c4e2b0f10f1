"""What only the model, the scorers or the networks of a later stage tell is told before the first stage begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from noiseprompt.cli.options import refuse
from noiseprompt.core.errors import NoisepromptError
from noiseprompt.npnet import tokens_config
from noiseprompt.npnet.base import build
from noiseprompt.recipes.ahead import late_mistakes
from noiseprompt.recipes.calls import prompt_mistakes
from noiseprompt.recipes.run import story_calls

COLLECT = {"prompts": "prompts.txt"}
TRAIN = {"architecture": "tokens", "sizes": {"width": 16, "depth": 1, "heads": 2}}
EVALUATE = {"prompts": "prompts.txt", "methods": "standard,npnet:path={npnet}"}

LATE = {
    "a sampler that there is not": ("evaluate", {"scheduler": "dimm"}, "unknown scheduler 'dimm'"),
    "a setting that a sampler does not have": ("train", {"scheduler": "ddim:x=1"}, "option 'x=1'"),
    "a schedule that a sampler does not take": ("evaluate", {"schedule": "ays"}, "takes no timesteps"),
    "more steps than the model has": ("evaluate", {"num_inference_steps": 1001}, "num_inference_steps 1001"),
    "a device that there is not": ("evaluate", {"device": "tpu"}, "device 'tpu'"),
    "a LoRA that is not there": ("evaluate", {"lora": "/gone"}, "there is no file /gone"),
    "heads that do not divide the width": ("train", {"sizes": {"width": 16, "heads": 3}}, "width 16 with 3 heads"),
    "a patch that does not divide the latents": ("train", {"sizes": {"patch": 3}}, "a patch of 3"),
    "a network of another objective": ("train", {"init": "net"}, "an NPNet that predicts a picture"),
    "a network that is none": ("train", {"init": "prompts.txt"}, "prompts.txt is a text"),
    "an option that a scorer does not have": ("evaluate", {"scorers": "shapes-checker:x=1"}, "option 'x=1'"),
    "filters that there are not": ("evaluate", {"filter_scorers": "nope"}, "unknown scorer 'nope'"),
    "a folder without pictures": ("evaluate", {"reference": "empty"}, "no picture in empty"),
    "features that there are not": ("evaluate", {"features": "nope"}, "unknown feature extractor 'nope'"),
    "a method whose scorer there is not": ("evaluate", {"methods": "standard,best_of_n:scorer=nope"}, "'nope'"),
    "a size that its network does not take": ("evaluate", {"height": 128}, "latents of shape (4, 32, 16)"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a red circle\na blue square\n")
    Path("empty").mkdir()


def mistakes(**stages: dict) -> list[str]:
    told = {"collect": COLLECT, "train": TRAIN, "evaluate": EVALUATE}
    return late_mistakes(story_calls(Path("r.yaml"), {name: told[name] | stages.get(name, {}) for name in told}, None))


@pytest.mark.parametrize("kind", LATE)
def test_a_later_stage_is_asked_first(kind: str) -> None:
    stage, options, told = LATE[kind]
    if options.get("init") == "net":
        facts = {"latent_shape": (4, 16, 16), "text_length": 12, "text_width": 128, "family": "stable-diffusion"}
        config = dataclasses.replace(tokens_config(**facts, predicts="picture"), width=16, depth=1, heads=2)
        build(config).save_pretrained("net")
    (found,) = mistakes(**{stage: options})
    assert found.startswith(f"{stage}: ") and told in found


def test_mistakes_of_all_stages_are_told_together() -> None:
    found = mistakes(train={"scheduler": "a"}, evaluate={"scheduler": "b"})
    assert ["'a'" in found[0], "'b'" in found[1]] == [True, True]


def test_what_is_sound_is_not_held_up() -> None:
    assert not mistakes() and not Path("runs").exists()
    assert not mistakes(evaluate={"methods": "standard,redenoise,npnet:path=./runs/r/npnet/best,swap"})


def test_the_first_stage_tells_its_own() -> None:
    alone = story_calls(Path("r.yaml"), {"evaluate": {"prompts": "prompts.txt", "methods": "standard"}}, None)
    assert not late_mistakes([("evaluate", {**alone[0][1], "scorers": ["shapes-checker:x=1"]})])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"methods": "standard,npnet:path={npnet}/last"}, "{npnet}/last"),
        ({"seed_file": "gone.txt"}, "evaluate: seed_file: there is no file gone.txt"),
        ({"reference": "https://x.org/a"}, "evaluate: reference: https://x.org/a, which is the address of a page"),
        ({"reference": "x" * 5000}, "evaluate: reference: cannot use xxx"),
    ],
)
def test_places_are_named_as_they_are_written(options: dict, told: str) -> None:
    with pytest.raises(NoisepromptError) as error:
        calls = story_calls(Path("r.yaml"), {"train": {}, "evaluate": EVALUATE | options}, None)
        refuse("r.yaml", [text for name, call in calls for text in prompt_mistakes(name, call)])
    assert told in str(error.value)


def test_a_place_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert story_calls(Path("r.yaml"), {"train": {}, "evaluate": EVALUATE | {"reference": "~/empty"}}, None)
