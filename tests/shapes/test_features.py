"""Training of the world's feature network, at toy size: its questions, resuming, what is exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseprompt.core.averages import Average
from noiseprompt.core.errors import ConfigError, DivergedError, ModelLoadError
from noiseprompt.scorers.sets.extractors import ShapesFeatures, load_features
from noiseprompt.shapes import features, scenes

TOY = features.FeatureConfig(steps=4, batch_size=3, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "VALIDATION_SCENES", 4)
        records = list(features.train_features(folder, TOY))
        features.export(folder, folder / "out")
    assert records[0]["step"] == 4 and set(records[-1]) == {"stage", *features.GROUPS}
    return folder


def test_answers_are_what_the_scene_shows() -> None:
    things = (scenes.Object("red", "star", 10, 50, 8), scenes.Object("white", "circle", 63, 1, 8))
    row = features.answers(scenes.Scene(things, 0.1))
    parts = dict(zip(features.GROUPS, np.split(row, np.cumsum(list(features.GROUPS.values()))[:-1]), strict=True))
    colours, shapes = list(scenes.COLOURS), list(scenes.SHAPES)
    assert [colours[i] for i in np.flatnonzero(parts["colours"])] == ["red", "white"]
    assert [shapes[i] for i in np.flatnonzero(parts["shapes"])] == ["circle", "star"]
    assert [(colours[i // 6], shapes[i % 6]) for i in np.flatnonzero(parts["things"])] == [
        ("red", "star"),
        ("white", "circle"),
    ]
    assert np.flatnonzero(parts["cells"]).tolist() == [3, 12]  # rows of four from the top: right above, left below
    assert np.flatnonzero(parts["count"]).tolist() == [2] and not parts["damage"].any()
    assert features.answers(scenes.Scene((), 0.1))[-features.COUNTS - 2] == 1


def test_wear_blurs_and_grains_by_the_amounts_it_tells() -> None:
    rng = np.random.default_rng(0)
    pictures = [scenes.render(scenes.random_scene(rng, scenes.random_request(rng))) for _ in range(40)]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) * 2 - 1
    worn, amounts = features.wear(np.random.default_rng(1), images)
    assert worn.shape == images.shape and amounts.min() == 0 and 0.8 < amounts.max() <= 1

    def roughness(x: torch.Tensor) -> torch.Tensor:
        return (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3))

    untouched = (amounts == 0).all(1)
    assert untouched.any()
    level = (worn - images)[untouched].flatten(2)
    inside = (images[untouched].flatten(2).abs() < 0.9).float()
    spread = ((level - (level * inside).sum(2, keepdim=True) / inside.sum(2, keepdim=True)) * inside).abs().amax()
    assert spread < 1e-5  # a colour cast only
    blurred, grained = (amounts[:, 0] > 0.5) & (amounts[:, 1] == 0), (amounts[:, 1] > 0.5) & (amounts[:, 0] == 0)
    assert (roughness(worn)[blurred] < roughness(images)[blurred]).all() and blurred.any()
    assert (roughness(worn)[grained] > roughness(images)[grained]).all() and grained.any()


def test_an_interrupted_training_ends_with_the_same_weights(run: Path, tmp_path: Path) -> None:
    original, calls = features.make_batch, []

    def dies(rng: np.random.Generator, size: int, split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(rng, size, split)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(features, "make_batch", dies)
        list(features.train_features(tmp_path, TOY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "VALIDATION_SCENES", 4)
        list(features.train_features(tmp_path, TOY))
    whole, again = (torch.load(p / "features.pt", weights_only=True)["model"] for p in (run, tmp_path))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    with pytest.raises(ConfigError, match="other settings"):
        list(features.train_features(tmp_path, features.FeatureConfig(steps=5)))


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Average, "finite", lambda _: False)
    with pytest.raises(DivergedError, match=r"average of the weights of step 1 .*lower learning rate"):
        list(features.train_features(tmp_path, TOY))
    assert not (tmp_path / "features.pt").exists()


def test_exported_folder_is_complete_or_refused(run: Path, tmp_path: Path) -> None:
    out = run / "out"
    assert {p.name for p in out.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert json.loads((out / "config.json").read_text())["steps"] == 4
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    found = load_features(f"shapes-features:folder={out}").features(images)
    network = features.FeatureNet()
    average = features.average_of(network, TOY.ema_decay)
    average.load_state_dict(torch.load(run / "features.pt", weights_only=True)["ema"])
    average.apply()
    with torch.no_grad():
        exact = network.features(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
    np.testing.assert_allclose(found, exact, atol=0.02 * exact.abs().max())  # rounded to fp16
    with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
        ShapesFeatures(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelLoadError, match="is a text"):
        ShapesFeatures(str(tmp_path))
    with pytest.raises(ConfigError, match=r"config\.json"):
        features.export(tmp_path, tmp_path / "out")
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    with pytest.raises(ConfigError, match=r"features\.pt"):
        features.export(tmp_path, tmp_path / "out")


def test_shipped_network_is_small_and_sees() -> None:
    """Scenes of the validation split, never seen: the shares its card tells, roughly."""
    extractor = load_features("shapes-features")
    assert isinstance(extractor, ShapesFeatures)
    folder = features.__file__.rsplit("/", 1)[0] + "/weights/features"
    assert (Path(folder) / "model.safetensors").stat().st_size < 2**20
    result = features.validate(extractor.network, 200, seed=1)
    assert result["colours"] > 0.8 and result["count"] > 0.8 and result["cells"] > 0.6, result  # chance: 0, 0.4, 0
