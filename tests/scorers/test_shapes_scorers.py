"""Scorers: names, the protocol, the world's two."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError, ModelLoadError, ShapeError, UnknownNameError
from noiseprompt.core.types import Prompt
from noiseprompt.scorers import Scorer, load_scorers
from noiseprompt.scorers.shapes_checker import ShapesChecker
from noiseprompt.scorers.shapes_preference import ShapesPreference
from noiseprompt.shapes import checker, preference, scenes, spoiling

TINY = preference.PreferenceConfig(steps=3, batch_size=2, width=32, blocks=1, checkpoint_seconds=0.0)


def _drawn(count: int) -> tuple[np.ndarray, list[Prompt]]:
    rng = np.random.default_rng(5)
    requests = [scenes.random_request(rng, scenes.KINDS[i % 5], "validation") for i in range(count)]
    images = [scenes.render(scenes.random_scene(rng, request)) for request in requests]
    return (255 * np.stack(images)).round().astype(np.uint8), [Prompt(r.text, r.kind) for r in requests]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A preference scorer after three steps, exported, and the folder it was trained in."""
    folder = tmp_path_factory.mktemp("preference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preference, "VALIDATION_PAIRS", 2)
        records = list(preference.train_preference(folder, TINY))
    assert records[0]["step"] == 3 and set(records[-1]) == {"stage", *spoiling.TYPES}
    preference.export(folder, folder / "out")
    return folder


def test_scorers_load_by_name_once():
    (only,) = load_scorers(["shapes-checker", "shapes-checker"])
    assert isinstance(only, ShapesChecker) and isinstance(only, Scorer)
    with pytest.raises(UnknownNameError, match="Did you mean 'shapes-checker'"):
        load_scorers(["shape-checker"])


def test_checker_scores_equal_the_checks():
    images, prompts = _drawn(10)
    scores = ShapesChecker().score(images, prompts[::-1])
    expected = [checker.check(i, scenes.parse(p.text)).score for i, p in zip(images, prompts[::-1], strict=True)]
    assert scores.dtype == np.float64 and scores.tolist() == expected
    assert ShapesChecker().score(images, prompts).tolist() == [1.0] * 10


@pytest.mark.parametrize("make", [ShapesChecker, None])
def test_bad_input_is_refused(make, tiny):
    scorer = make() if make else ShapesPreference(tiny / "out")
    images, prompts = _drawn(2)
    with pytest.raises(InputError, match="a photo of a cat"):
        scorer.score(images, [prompts[0], Prompt("a photo of a cat")])
    with pytest.raises(ShapeError, match="one prompt an image"):
        scorer.score(images, prompts[:1])
    with pytest.raises(ShapeError, match=r"\(2, 64, 64, 2\)" if make else r"\(2, 32, 32, 3\)"):
        scorer.score(images[..., :2] if make else images[:, ::2, ::2], prompts)
    with pytest.raises(InputError, match="uint8"):
        scorer.score(images / 255, prompts)


def test_preference_is_the_same_in_any_batch_and_case(tiny):
    images, prompts = _drawn(5)
    together = ShapesPreference(tiny / "out").score(images, prompts)
    alone = ShapesPreference(tiny / "out", batch_size=1).score(images, [Prompt(p.text.upper()) for p in prompts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert together.dtype == np.float64 and together.shape == (5,) and len(set(together.round(6))) > 1


def test_preference_continues_where_it_stopped(tiny, tmp_path):
    whole, cut = torch.load(tiny / "preference.pt", weights_only=True), tmp_path / "cut"
    original = preference.make_batch

    def dies(rng, size, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(rng, size)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(preference, "make_batch", dies)
        list(preference.train_preference(cut, TINY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preference, "VALIDATION_PAIRS", 2)
        list(preference.train_preference(cut, TINY))
    again = torch.load(cut / "preference.pt", weights_only=True)
    assert all(torch.equal(whole["model"][name], again["model"][name]) for name in whole["model"])
    with pytest.raises(ConfigError, match="other settings"):
        list(preference.train_preference(cut, preference.PreferenceConfig(steps=4)))


def test_preference_folder_is_complete_or_refused(tiny, tmp_path):
    out = tiny / "out"
    assert {p.name for p in out.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert json.loads((out / "config.json").read_text())["width"] == 32
    with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
        ShapesPreference(tmp_path)
    (tmp_path / "config.json").write_text((out / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelLoadError):
        ShapesPreference(tmp_path)
    with pytest.raises(ConfigError, match=r"preference\.pt"):
        preference.export(tmp_path, tmp_path / "out")


def test_near_misses_are_wrong_by_the_checker():
    rng = np.random.default_rng(6)
    for name in (
        "swap",
        "relation",
        "count",
        "size",
        "drop",
        "missing",
        "extra",
        "recoloured",
        "reshaped",
        "unrelated",
    ):
        pairs = [spoiling.pair(rng, name) for _ in range(10)]
        good = [checker.check(p.good, scenes.parse(p.good_text)).correct for p in pairs]
        bad = [checker.check(p.bad, scenes.parse(p.bad_text)).correct for p in pairs]
        assert sum(good) >= 9 and sum(bad) <= 1, name


def test_no_held_out_combination_is_drawn_for_training():
    rng = np.random.default_rng(7)
    for i in range(100):
        request = scenes.random_request(rng, scenes.KINDS[i % 5])
        scene = scenes.random_scene(rng, request)
        for edit in spoiling.EDITS:
            if edit == "two-coloured":
                continue
            spoiled = spoiling.spoil(rng, scene, edit)
            assert not {(o.colour, o.shape) for o in spoiled.objects} & scenes.HELD_OUT


def test_shipped_preference_scorer_tells_right_from_wrong():
    (scorer,) = load_scorers(["shapes-preference"])
    rng = np.random.default_rng(8)
    pairs = [
        spoiling.pair(rng, name) for name in (*spoiling.TEXT_MOVES, *spoiling.EDITS, "unrelated") for _ in range(12)
    ]
    images = (255 * np.stack([p.good for p in pairs] + [p.bad for p in pairs])).round().astype(np.uint8)
    good, bad = np.split(
        scorer.score(images, [Prompt(p.good_text) for p in pairs] + [Prompt(p.bad_text) for p in pairs]), 2
    )
    assert np.mean(good > bad) >= 0.85
