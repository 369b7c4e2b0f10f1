"""Every setting of every record, given wrongly: one line that names it and the value, from Python and as an option."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import common, main
from noiseprompt.cli.table import COMMANDS, Command, resolve
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.ranges import limits_of, shown
from noiseprompt.core.types import Redenoising, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.npd import PairFilter
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.scorers.base import load_scorers
from noiseprompt.shapes.settings import FeatureConfig, Phase, PreferenceConfig, WorldConfig
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.generate.settings import GenerateConfig
from noiseprompt.stages.train.settings import TrainConfig

NAN, INF = float("nan"), float("inf")
SEED = [-1, 2**63, 1.0, True, "1", None]
COUNT = [0, -1, 2.0, 2.5, True, "2", None, NAN]
MAYBE_COUNT = [0, -1, 2.0, True, "2"]
NATURAL = [-1, 2.0, True, "2", None]
NUMBER = [NAN, INF, -INF, True, "1", 10**400]
POSITIVE = [*NUMBER, 0, -1, None]
FROM_0 = [*NUMBER, -1, None]
SHARE = [*NUMBER, -0.1, 1.1, None]
DECAY = [*NUMBER, -0.1, 1, 2, None]
TEXT = [3, True, ["a"]]
WORD = [*TEXT, "other", ""]
FLAG = [1, 0, "true", None]
NAMES = ["a,b", 3, [3], [None], None]
SEED_RANGE = [[5, 1], [-1, 2], [0, 2**63], [0], [0, 1, 2], [0.0, 1], "0-9", 7, None]

SAMPLING = {"guidance_scale": NUMBER, "num_inference_steps": MAYBE_COUNT, "height": MAYBE_COUNT, "width": MAYBE_COUNT}
WORLD_TRAINING = {"seed": SEED, "batch_size": COUNT, "ema_decay": DECAY, "checkpoint_seconds": FROM_0}
RECORDS: dict[Any, dict[str, list[Any]]] = {
    Sampling: SAMPLING,
    Redenoising: {
        "denoise_guidance_scale": NUMBER,
        "invert_guidance_scale": NUMBER,
        "steps": MAYBE_COUNT,
        "invert_at": [*WORD, None],
    },
    PairFilter: {
        "scorers": NAMES,
        "margin": [*NUMBER, None],
        "combine": [*WORD, None],
        "best_share": [*NUMBER, 0, -0.1, 1.1],
        "least_score": NUMBER,
    },
    GenerateConfig: {**SAMPLING, "batch_size": COUNT},
    CollectConfig: {
        **SAMPLING,
        "method": [3, None],
        "redenoise_steps": MAYBE_COUNT,
        "denoise_guidance_scale": NUMBER,
        "invert_guidance_scale": NUMBER,
        "scored_share": SHARE,
        "invert_at": [*WORD, None],
        "seed": SEED,
        "seed_range": SEED_RANGE,
        "seeds_per_prompt": COUNT,
        "batch_size": COUNT,
        "shard_size": COUNT,
        "store_source": FLAG,
        "pictures": [*TEXT, None],
        "fit": [*WORD, None],
    },
    EvaluateConfig: {
        **SAMPLING,
        "seeds": [[-1], [2**63], [1.0], [True], "0-7", 3, None],
        "num_seeds": COUNT,
        "seed": SEED,
        "seed_range": SEED_RANGE,
        "batch_size": COUNT,
        "save_images": [-1, 2.0, True, "some", None],
        "filter_scorers": NAMES,
        "features": TEXT,
        "reference": [*TEXT, None],
    },
    TrainConfig: {
        "architecture": [*WORD, None],
        "sizes": [3, "depth", [1], {"depth": None}, {"gain": NAN}, None],
        "filter_scorers": NAMES,
        "margin": [*NUMBER, None],
        "combine": [*WORD, None],
        "epochs": COUNT,
        "batch_size": COUNT,
        "lr": POSITIVE,
        "weight_decay": FROM_0,
        "warmup_steps": NATURAL,
        "grad_clip": POSITIVE,
        "ema_decay": DECAY,
        "validation_share": [*SHARE, 0, 1],
        "checkpoint_every": COUNT,
        "validate_every": COUNT,
        "mixed_precision": [*WORD, None],
        "max_pairs": NATURAL,
        "seed": [*SEED, 2**32],
        "init": [*TEXT, None],
        "tensorboard": FLAG,
        "objective": [*WORD, None],
        "coupling": [*WORD, None],
        "accumulate": COUNT,
        "keep_text": [2, "maybe"],
        "checkpoint_seconds": FROM_0,
        "patience": NATURAL,
        "reward": NAMES,
        "reward_hinge": [*NUMBER, None],
        "reward_clip": POSITIVE,
        "anchor_weight": FROM_0,
        "validation_scorers": NAMES,
        "validation_images": [*COUNT, 1],
        "chain_steps": COUNT,
        **SAMPLING,
        "coupling_sharpness": FROM_0,
        "low_pass": COUNT,
        "nearest_noises": [*COUNT, 1],
        "pictures_per_prompt": NATURAL,
        "best_share": [*NUMBER, 0, -0.1, 1.1],
        "least_score": NUMBER,
    },
    WorldConfig: {
        **WORLD_TRAINING,
        "num_scenes": COUNT,
        "vae_steps": COUNT,
        "vae_batch_size": COUNT,
        "vae_lr": POSITIVE,
        "phases": [[], [3], "none", 3, None],
        "empty": SHARE,
    },
    PreferenceConfig: {
        **WORLD_TRAINING,
        "steps": COUNT,
        "lr": POSITIVE,
        "width": [*COUNT, 10, 10**6],
        "blocks": [*COUNT, 10**6],
    },
    FeatureConfig: {**WORLD_TRAINING, "steps": COUNT, "lr": POSITIVE},
    ModelOptions: {
        **dict.fromkeys(("scheduler", "unet", "controlnet", "control_image", "revision", "variant"), TEXT),
        "schedule": WORD,
        "lora": [3, True],
        "long_prompts": [*WORD, None],
        "dtype": [*WORD, None],
        "device": [3, True, None],
        "offload": WORD,
    },
    Phase: {
        **dict.fromkeys(("steps",), COUNT),
        **dict.fromkeys(("warmup", "decay_steps", "layout_only"), NATURAL),
        **dict.fromkeys(("clean_share", "unrelated", "altered"), SHARE),
        **dict.fromkeys(("snr_floor", "layout_weight"), FROM_0),
        "lr": POSITIVE,
    },
}
NEEDED: dict[Any, dict[str, Any]] = {
    Phase: {"steps": 1, "lr": 1e-3, "warmup": 0, "clean_share": 0.5, "unrelated": 0.1, "altered": 0.1}
}
PYTHON = [(cls, name, value) for cls, table in RECORDS.items() for name, values in table.items() for value in values]


def words_of(cls: Any) -> list[str]:
    """The command whose settings a record is, with what it needs."""
    needed = {"collect": ["--prompts=p"], "train": ["--npd=n"], "generate": ["a cat"]}
    for name, command in COMMANDS.items():
        for inner, one in command.items() if isinstance(command, dict) else [("", command)]:
            if isinstance(one, Command) and one.settings and resolve(one.settings) is cls:
                return [*filter(None, (name, inner)), *needed.get(name, []), "--out=o"]
    return ["generate", "a cat", "--out=o"] if cls is ModelOptions else []


NUMERALS = ("1", "2")
"""Texts, and so no numbers, in Python; as options they are numbers."""
LISTED = ("a,b", "0-7", 3)
"""No list in Python; as options names and seeds may be written so."""


def is_option(case: tuple[Any, str, Any]) -> bool:
    cls, name, value = case
    listed = name in ("seeds", "filter_scorers", "reward", "validation_scorers") and value in LISTED
    return bool(words_of(cls)) and value is not None and value not in NUMERALS and not listed


OPTIONS = [case for case in PYTHON if is_option(case)]


@pytest.fixture(autouse=True)
def nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No command gets as far as its work, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "load_model", lambda *_: pytest.fail("a model was loaded"))
    yield
    assert not [path for path in tmp_path.rglob("*") if path.suffix != ".yaml"]


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
def test_every_field_is_tried_and_every_default_taken(cls: Any) -> None:
    assert set(RECORDS[cls]) == {field.name for field in dataclasses.fields(cls)}
    made = cls(**NEEDED.get(cls, {}))
    assert cls(**{name: getattr(made, name) for name in RECORDS[cls]}) == made


def named(cases: list[tuple[Any, str, Any]]) -> Any:
    return pytest.mark.parametrize(
        ("cls", "name", "value"), [pytest.param(*one, id=f"{one[0].__name__}-{one[1]}-{one[2]!r:.12}") for one in cases]
    )


def refused(message: str, *words: str) -> None:
    """In one line, with these words and none of Python's."""
    assert all(word in message for word in words), message
    assert not [word for word in ("<class", "Parser key", "None", "True", "indices", "\n") if word in message], message


@named(PYTHON)
def test_a_record_refuses(cls: Any, name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        cls(**{**NEEDED.get(cls, {}), name: value})
    refused(str(caught.value), f"{name} {shown(value)}", "Expected")


@named(OPTIONS)
def test_an_option_refuses(cls: Any, name: str, value: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """On the command line and, unless a text is a text there too, in a file; nothing is loaded or written."""
    file = Path("options.yaml")
    file.write_text(json.dumps({name: value}).replace("NaN", ".nan").replace("Infinity", ".inf"))
    words = words_of(cls)
    roads = [[*words, "--config", str(file)]]
    any_word = value in TEXT and TEXT[0] in RECORDS[cls][name] and not isinstance(value, str)
    if not (any_word and not limits_of(cls)[name].words) and value != "true":
        roads.append([*words, f"--{name}={value if isinstance(value, str) else json.dumps(value)}"])
    for road in roads:
        assert main(road) == 2, road
        error = capfd.readouterr().err.strip()
        refused(error, name)
        assert "\n" not in error


METHOD_OPTIONS = [
    *[f"{name}:n={n}" for name in ("best_of_n", "prune", "search") for n in (0, -1)],
    *["prune:keep=0", "prune:share=0.2", "prune:share=1.5", "search:rounds=0", "search:radius=0", "search:radius=2"],
    *["nlg:rounds=0", "nlg:step=0", "nlg:max_move=-1", "nlg:num_inference_steps=0"],
    *["redenoise:steps=0", "redenoise:rounds=-3", "closed_form:steps=0", "repaint:steps=-1", "repaint:rounds=0"],
    *["initno:rounds=0", "initno:iterations=0", "initno:final_iterations=-1", "initno:lr=0", "initno:kl_limit=-1"],
    *["initno:kl_weight=-1", "reward_gradient:iterations=0", "reward_gradient:num_inference_steps=0"],
    *["reward_gradient:lr=0", "reward_gradient:momentum=1", "reward_gradient:momentum=0"],
    *["reward_gradient:grad_clip=0", "reward_gradient:norm_weight=-1"],
]


@pytest.mark.parametrize("spec", METHOD_OPTIONS)
def test_an_option_of_a_method_is_refused_when_it_is_read(spec: str, capfd: pytest.CaptureFixture[str]) -> None:
    name, _, given = spec.partition(":")
    with pytest.raises(ConfigError) as caught:
        MethodSpec.parse(spec)
    refused(str(caught.value), name, given.partition("=")[0], "Expected")
    assert main(["generate", "a cat", "--out=o", f"--methods={spec}"]) == 2
    refused(capfd.readouterr().err.strip(), str(caught.value))


@pytest.mark.parametrize("strength", ["1e39", "-1000001", "1e7"])
def test_a_strength_that_no_noise_survives_is_refused(strength: str, capfd: pytest.CaptureFixture[str]) -> None:
    for words in ([f"--methods=redenoise:strength={strength}"], [f"--strength={strength}", "--methods=redenoise"]):
        assert main(["generate", "a cat", "--out=o", *words]) == 2
        refused(capfd.readouterr().err.strip(), "strength", "from -1,000,000 to 1,000,000")


@pytest.mark.parametrize("names", [[], "aes", [3], None])
def test_scorers_are_a_list_of_names(names: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load_scorers(names)
    refused(str(caught.value), f"scorers {shown(names)}", "a list of at least one")


def test_all_mistakes_of_a_file_are_told_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    Path("o.yaml").write_text("epochs: 2.0\nlr: .nan\ncheckpoint_every: -1\nema_decay: 2\n")
    assert main(["train", "--npd=n", "--out=o", "--config=o.yaml"]) == 2
    error = capfd.readouterr().err.strip()
    refused(
        error,
        "epochs: 2.0",
        "lr: NaN (",
        "checkpoint_every: -1 (",
        "ema_decay: 2 (expected a number from 0 to below 1)",
    )
