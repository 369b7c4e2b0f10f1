"""Scenes: grammar, splits, drawing at random, rendering against areas written out from geometry."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from noiseprompt.shapes import captions, scenes
from noiseprompt.shapes.scenes import COLOURS, HELD_OUT, KINDS, RELATIONS, SHAPES, Object, Request, Scene
from noiseprompt.shapes.splits import requests

UNIT_AREAS = {
    "circle": math.pi,
    "ring": math.pi * (1 - 0.48**2),
    "square": 1.8**2,
    "cross": 2 * (2 * 0.6) - 0.6**2,
    "triangle": 0.5 * 1.85 * 2 * (0.4724 * 1.85 / 0.8814),
    "star": 5 * 0.45 * math.sin(math.pi / 5),
}


def test_every_request_survives_its_text():
    everything = list(requests())
    assert len(everything) == 48 * 5 + 48 * 47 * 5
    assert all(scenes.parse(request.text) == request for request in everything)
    assert len({request.text for request in everything}) == len(everything)


def test_vocabulary_holds_every_word_once():
    words = scenes.vocabulary()
    assert len(set(words)) == len(words) and list(words) == sorted(words)
    assert {word for request in requests() for word in request.text.split()} == set(words)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red",
        "red circle",
        "a pink circle",
        "a red circle near a blue square",
        "two red circle and",
        "a huge red circle",
    ],
)
def test_parse_refuses_other_sentences(text):
    with pytest.raises(ValueError, match="not a sentence"):
        scenes.parse(text)


def test_texts_read_like_english():
    assert Request("count", (("red", "cross"),), count=3).text == "three red crosses"
    assert (
        Request("relation", (("red", "star"), ("blue", "ring")), relation="left of").text
        == "a red star left of a blue ring"
    )
    assert Request("size", (("white", "square"),), size="small").text == "a small white square"


def test_held_out_combinations_are_test_only():
    for request in requests():
        if set(request.things) & HELD_OUT:
            assert scenes.split_of(request) == "test"


def test_random_requests_belong_to_their_split():
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for kind in KINDS:
            drawn = [scenes.random_request(rng, kind, split) for _ in range(10)]
            assert {scenes.split_of(r) for r in drawn} == {split} and {r.kind for r in drawn} == {kind}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [7.0, 12.5, 17.0])
def test_coverage_has_the_area_of_the_figure(shape, radius):
    mask = scenes.coverage(Object("red", shape, 32.3, 31.6, radius))
    assert mask.min() >= 0 and mask.max() <= 1
    assert mask.sum() == pytest.approx(UNIT_AREAS[shape] * radius**2, rel=0.04)
    inside = np.argwhere(mask > 0.5) + 0.5 - (31.6, 32.3)
    assert np.abs(inside).max() <= radius + 0.5


def test_render_blends_colours_over_the_ground():
    scene = Scene((Object("orange", "square", 20, 20, 10), Object("cyan", "ring", 46, 40, 10)), 0.1)
    image = scenes.render(scene)
    assert image.shape == (64, 64, 3) and image.dtype == np.float32
    np.testing.assert_allclose(image[20, 20], COLOURS["orange"], atol=1e-6)
    np.testing.assert_allclose(image[40, 46], [0.1] * 3, atol=1e-6)  # the hole of the ring
    np.testing.assert_allclose(image[40, 46 + 7], COLOURS["cyan"], atol=1e-6)
    np.testing.assert_allclose(image[0, 0], [0.1] * 3, atol=1e-6)


def test_random_scenes_show_their_request_and_stay_inside():
    rng = np.random.default_rng(1)
    for i in range(200):
        request = scenes.random_request(rng, KINDS[i % 5])
        scene = scenes.random_scene(rng, request)
        wanted = list(request.things) * request.count
        assert Counter((o.colour, o.shape) for o in scene.objects) == Counter(wanted)
        for item in scene.objects:
            assert item.radius < min(item.x, item.y) and max(item.x, item.y) + item.radius < 64
            low, high = scenes.SIZES.get(request.size, scenes.PLAIN_RADIUS)
            assert low <= item.radius <= high
        if request.kind == "relation":
            assert [r for r in RELATIONS if scenes.holds(r, *scene.objects)] == [request.relation]


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (80, 128)])
def test_larger_scenes_use_all_the_ground_with_objects_of_the_same_sizes(size):
    rng = np.random.default_rng(3)
    drawn = []
    for i in range(100):
        request = scenes.random_request(rng, KINDS[i % 5])
        scene = scenes.random_scene(rng, request, size)
        assert scenes.render(scene, size).shape == (*size, 3)
        for item in scene.objects:
            assert item.radius < min(item.x, size[1] - item.x) and item.radius < min(item.y, size[0] - item.y)
            low, high = scenes.SIZES.get(request.size, scenes.PLAIN_RADIUS)
            assert low <= item.radius <= high
        drawn += scene.objects
    height, width = size
    assert max(item.x for item in drawn) > width - 16 and max(item.y for item in drawn) > height - 16
    assert min(item.x for item in drawn) < 16 and min(item.y for item in drawn) < 16


def test_relations_by_hand():
    a, b = Object("red", "star", 10, 30, 8), Object("red", "ring", 40, 34, 8)
    assert scenes.holds("left of", a, b) and scenes.holds("right of", b, a)
    assert not any(scenes.holds(r, a, b) for r in ("right of", "above", "below"))
    low = Object("red", "ring", 12, 60, 8)
    assert scenes.holds("above", a, low) and not scenes.holds("below", a, low)


def test_altered_requests_differ_and_stay_in_the_split():
    rng = np.random.default_rng(2)
    for i in range(200):
        request = scenes.random_request(rng, KINDS[i % 5])
        near = captions.alter(rng, request)
        assert near != request and scenes.split_of(near) == "train" and not set(near.things) & HELD_OUT


def test_caption_noise_has_its_shares():
    rng = np.random.default_rng(3)
    request = scenes.random_request(rng, "relation")
    texts = [captions.CaptionNoise(0.35, 0.10, 0.10).caption(rng, request) for _ in range(2000)]
    assert np.mean([c == "" for c in texts]) == pytest.approx(0.10, abs=0.03)
    assert np.mean([c == request.text for c in texts]) == pytest.approx(0.45, abs=0.04)
