"""What an evaluation draws: seeds, all methods, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.types import Prompt
from noiseprompt.methods.table import METHODS as REGISTRY
from noiseprompt.noise.seeds import prompt_seed
from noiseprompt.stages.evaluate.plan import EvaluateConfig, all_methods, seeds_of
from tests.evaluation_runs import PROMPTS, run


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"methods": ["redenoise"]}, InputError, "'standard' among them"),
        ({"methods": ["standard", "standard:strength=1"]}, InputError, "different methods"),
        ({"prompts": []}, InputError, "0 prompts"),
        ({"prompts": PROMPTS[:1]}, InputError, "two different prompts"),
        ({"prompts": [*PROMPTS, PROMPTS[0]]}, InputError, "repeat another"),
        ({"config": {"batch_size": 0}}, ConfigError, "batch_size 0"),
        ({"config": {"save_images": "some"}}, ConfigError, "save_images"),
        ({"config": {"num_seeds": 3, "seed_range": (1, 2)}}, ConfigError, "seed_range 1-2"),
    ],
)
def test_bad_input(tmp_path: Path, change: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        given = {key: EvaluateConfig(**value) if key == "config" else value for key, value in change.items()}
        list(run(tmp_path / "new", **given))
    assert words in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_seeds() -> None:
    prompt, named = Prompt("a"), Prompt("a", seed=40)
    assert seeds_of(named, EvaluateConfig(seeds=(5, 6))) == [5, 6]
    assert seeds_of(named, EvaluateConfig(num_seeds=2)) == [40, 41]
    assert seeds_of(prompt, EvaluateConfig(seed=3)) == [prompt_seed(3, prompt.id)]
    assert sorted(seeds_of(prompt, EvaluateConfig(num_seeds=5, seed_range=(10, 14)))) == [10, 11, 12, 13, 14]


def test_all_methods_are_every_registered_one_and_two_controls() -> None:
    labels = [spec.label for spec in all_methods()]
    assert labels[0] == "standard"
    assert sorted(labels) == sorted([*REGISTRY, "redenoise:swap", "npnet:swap"])
