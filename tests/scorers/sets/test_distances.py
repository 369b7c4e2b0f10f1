"""Set metrics: Frechet distance against scipy, precision and recall by brute force, the world's feature network."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from noiseprompt.core.errors import InputError, MissingDependencyError, ModelLoadError, ShapeError, UnknownNameError
from noiseprompt.scorers.sets import distances
from noiseprompt.scorers.sets.distances import FeatureStore, diversity, fid, frechet_distance, group, precision_recall
from noiseprompt.scorers.sets.extractors import FeatureExtractor, load_features
from noiseprompt.shapes import scenes


def _features(count: int, seed: int, width: int = 5, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + shift).astype(np.float32)


def test_fid_is_the_formula_with_scipy_s_root() -> None:
    from scipy.linalg import sqrtm

    a, b = _features(40, 0), _features(60, 1, shift=1.0)
    first, second = np.cov(a.T.astype(np.float64)), np.cov(b.T.astype(np.float64))
    root = sqrtm(first @ second)
    distance = ((a.astype(np.float64).mean(0) - b.astype(np.float64).mean(0)) ** 2).sum()
    expected = distance + np.trace(first + second - 2 * root.real)
    assert fid(a, b) == pytest.approx(expected, rel=1e-9) and fid(b, a) == pytest.approx(expected, rel=1e-9)
    assert fid(a, a[::-1]) == pytest.approx(0, abs=1e-9)


def test_a_store_gives_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "ROWS", 7)
    rows = _features(50, 2) + np.float32(1000)
    store = FeatureStore(5)
    for part in np.split(rows, [3, 4, 30]):
        store.add(part)
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(store.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(store.covariance, np.cov(exact.T), rtol=1e-9)
    np.testing.assert_array_equal(store.rows(), rows)
    assert len(store) == 50 and fid(store, rows) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ShapeError, match=r"\(n, 5\)"):
        store.add(rows[:, :4])
    with pytest.raises(InputError, match="finite"):
        store.add(np.full((1, 5), np.nan, np.float32))
    with pytest.raises(InputError, match="at least 2"):
        _ = FeatureStore(5).covariance


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_by_brute_force(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "ROWS", 8)
    a, b = _features(30, 4), _features(45, 4, shift=0.7)[5:]

    def share(points: np.ndarray, around: np.ndarray) -> float:
        near = 0
        for x in points:
            for i, y in enumerate(around):
                others = sorted(float(np.linalg.norm(y - z)) for j, z in enumerate(around) if j != i)
                if np.linalg.norm(x - y) <= others[k - 1]:
                    near += 1
                    break
        return near / len(points)

    exact_a, exact_b = a.astype(np.float64), b.astype(np.float64)
    precision, recall = precision_recall(a, b, k)
    assert (precision, recall) == (share(exact_a, exact_b), share(exact_b, exact_a))
    assert 0 < precision < 1 and precision != recall
    assert precision_recall(a, a, k) == (1.0, 1.0)
    assert precision_recall(a, b + 100, k) == (0.0, 0.0)


def test_precision_and_recall_tell_collapse_from_nonsense() -> None:
    rng = np.random.default_rng(5)
    real = rng.normal(size=(200, 4)).astype(np.float32)
    collapsed = (0.1 * rng.normal(size=(200, 4))).astype(np.float32)
    wide = (5 * rng.normal(size=(200, 4))).astype(np.float32)
    one, other = precision_recall(collapsed, real), precision_recall(wide, real)
    assert one.precision > 0.9 and one.recall < 0.3
    assert other.precision < 0.3 and other.recall > 0.8
    same = np.ones((10, 4), np.float32)
    assert precision_recall(same, same) == (1.0, 1.0)


def test_bad_sets_are_refused() -> None:
    a = _features(10, 6)
    with pytest.raises(InputError, match="k = 3 with 3 images"):
        precision_recall(a[:3], a)
    with pytest.raises(ShapeError, match="one extractor"):
        precision_recall(a, a[:, :3])
    with pytest.raises(ShapeError, match="one extractor"):
        fid(a, a[:, :3])
    with pytest.raises(InputError, match="at least 2"):
        fid(a[:1], a)
    with pytest.raises(InputError, match="finite"):
        fid(a, a * np.float32("nan"))


def test_diversity_is_the_mean_distance_between_seeds() -> None:
    features = np.array([[0, 0], [3, 4], [0, 0], [7, 7], [1, 0], [1, 0]], np.float32)
    found = diversity(group(features, ["a", "a", "a", "alone", "b", "b"]))
    assert found == {"a": pytest.approx((5 + 0 + 5) / 3), "b": 0.0}
    with pytest.raises(InputError, match="two images"):
        diversity({"alone": features[:1]})
    with pytest.raises(ShapeError, match="one prompt a row"):
        group(features, ["a"])


# ------------------------------------------------------------------------------------------------- the world's network


def _scenes(count: int, seed: int) -> np.ndarray:
    """uint8 (N, 64, 64, 3)."""
    rng = np.random.default_rng((99, seed))
    drawn = [scenes.random_scene(rng, scenes.random_request(rng, "", "validation")) for _ in range(count)]
    return np.stack([(255 * scenes.render(scene)).round().astype(np.uint8) for scene in drawn])


@pytest.fixture(scope="module")
def world() -> FeatureExtractor:
    return load_features("shapes-features")


def test_extractor_is_the_shipped_network(world: FeatureExtractor) -> None:
    images = _scenes(9, 0)
    found = world.features(images)
    assert isinstance(world, FeatureExtractor)
    assert found.shape == (9, world.width) == (9, 64) and found.dtype == np.float32
    np.testing.assert_allclose(load_features("shapes-features:batch_size=2").features(images), found, atol=1e-4)
    with pytest.raises(ShapeError, match=r"\(N, 64, 64, 3\)"):
        world.features(images[:, :32])
    with pytest.raises(InputError, match="uint8"):
        world.features(images / 255)


def test_distance_of_scenes_grows_with_what_is_wrong(world: FeatureExtractor) -> None:
    from scipy.ndimage import gaussian_filter

    images, other = _scenes(300, 1), _scenes(300, 2)
    reference = world.features(images)
    floor = fid(world.features(other), reference)

    def blurred(sigma: float) -> float:
        return fid(world.features(gaussian_filter(other, (0, sigma, sigma, 0))), reference)

    def recoloured(share: float) -> float:
        wrong = other.copy()
        count = int(share * len(wrong))
        wrong[:count] = wrong[:count, :, :, [2, 0, 1]]
        return fid(world.features(wrong), reference)

    blur = [floor, *(blurred(sigma) for sigma in (1.0, 2.0, 3.0))]
    colour = [floor, *(recoloured(share) for share in (0.25, 0.5, 1.0))]
    for values in (blur, colour):
        assert all(a < b for a, b in pairwise(values)), values
        assert values[-1] > 2 * floor, values
    scale = np.trace(np.cov(reference.T))
    assert floor < 0.05 * scale, (floor, scale)  # two samples of the same scenes: near 0


def test_precision_and_diversity_of_scenes(world: FeatureExtractor) -> None:
    images, other = world.features(_scenes(200, 3)), world.features(_scenes(200, 4))
    near = precision_recall(other, images)
    noise = world.features(np.random.default_rng(0).integers(0, 256, (200, 64, 64, 3), np.uint8))
    far = precision_recall(noise, images)
    assert near.precision > 0.6 and near.recall > 0.6
    assert far.precision < 0.5 * near.precision and far.recall < 0.05
    one = world.features(np.repeat(_scenes(1, 5), 4, 0))
    assert diversity({"a": one})["a"] == 0
    assert diversity({"a": images[:4]})["a"] > 0


# ------------------------------------------------------------------------------------------------------------ inception

FAKE = """
import torch
class FeatureExtractorInceptionV3(torch.nn.Module):
    def __init__(self, name, features_list, feature_extractor_weights_path=None):
        super().__init__()
        assert features_list == ["2048"]
        self.scale = torch.load(feature_extractor_weights_path, weights_only=True)["scale"]
    def forward(self, x):
        assert x.dtype == torch.uint8 and x.shape[1] == 3
        return (x.float().mean((1, 2, 3))[:, None] * self.scale,)
"""


def test_inception_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "torch_fidelity", raising=False)
    with pytest.raises(MissingDependencyError, match=r"noiseprompt\[inception\]"):
        load_features("inception")
    with pytest.raises(UnknownNameError, match="feature extractor"):
        load_features("inceptoin")


def test_inception_does_without_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's first line imports torchvision; only its one file is imported, and nothing of it stays behind."""
    package = tmp_path / "torch_fidelity"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('torchvision is broken')\n")
    (package / "feature_extractor_inceptionv3.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [n for n in sys.modules if n.startswith("torch_fidelity")]:
        monkeypatch.delitem(sys.modules, name)
    torch.save({"scale": torch.arange(2048.0)}, tmp_path / "weights.pth")
    extractor = load_features(f"inception:path={tmp_path / 'weights.pth'},batch_size=2,device=cpu")
    images = np.full((3, 20, 30, 3), [[[[10, 20, 30]]]], np.uint8)
    np.testing.assert_allclose(extractor.features(images), np.tile(20 * np.arange(2048.0), (3, 1)), rtol=1e-6)
    assert not [name for name in sys.modules if name.startswith("torch_fidelity")]
    with pytest.raises(ModelLoadError, match="inception:path=FILE"):
        load_features(f"inception:path={tmp_path / 'nowhere.pth'}")


def test_frechet_of_one_dimension() -> None:
    assert frechet_distance([1.0], [[4.0]], [3.0], [[9.0]]) == pytest.approx((1 - 3) ** 2 + (2 - 3) ** 2)


def test_frechet_is_scipys_square_root() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)), rng.normal(size=(300, 12)) + 0.3
    m1, m2, c1, c2 = a.mean(0), b.mean(0), np.cov(a.T), np.cov(b.T)
    root = np.asarray(scipy.linalg.sqrtm(c1 @ c2)).real
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * root)
    assert frechet_distance(m1, c1, m2, c2) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_singular_covariances() -> None:
    c = np.diag([1.0, 0.0, 2.0])
    assert frechet_distance(np.zeros(3), c, np.zeros(3), c) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(np.zeros(3), c, np.zeros(3), 4 * c) == pytest.approx(3.0)
