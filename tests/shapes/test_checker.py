"""The exact checker against the renderer, which knows the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from noiseprompt.core.errors import ShapeError
from noiseprompt.shapes import captions, checker, scenes
from noiseprompt.shapes.scenes import COLOURS, KINDS, SHAPES, Object, Request, Scene, parse

COUNT = 600


def _drawn(index: int) -> tuple[np.random.Generator, Request, np.ndarray]:
    rng = np.random.default_rng((11, index))
    request = scenes.random_request(rng, KINDS[index % 5], ("train", "validation", "test")[index // 5 % 3])
    return rng, request, scenes.render(scenes.random_scene(rng, request))


def _smeared(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    blurred = gaussian_filter(image, (0.7, 0.7, 0)) + rng.normal(0, 0.03, 3)
    return np.clip(blurred + rng.normal(0, 0.03, image.shape), 0, 1)


def _picture(*objects: Object) -> np.ndarray:
    return scenes.render(Scene(objects, 0.15))


@pytest.mark.parametrize(("smear", "least"), [(False, 0.98), (True, 0.95)])
def test_agrees_with_rendered_scenes_and_rejects_other_prompts(smear, least):
    agreed = rejected = 0
    for index in range(COUNT):
        rng, request, image = _drawn(index)
        image = _smeared(rng, image) if smear else image
        image = (255 * image).round().astype(np.uint8)
        agreed += checker.check(image, request).correct
        other = request
        while other == request:
            other = scenes.random_request(rng, KINDS[int(rng.integers(5))], ("train", "test")[index % 2])
        rejected += not checker.check(image, other).correct
    assert agreed >= least * COUNT
    assert rejected >= least * COUNT


def test_rejects_near_misses():
    rejected = total = 0
    for index in range(0, 500):
        rng = np.random.default_rng((12, index))
        request = scenes.random_request(rng, KINDS[index % 5])
        near = captions.alter(rng, request)
        if (request.kind, near.kind) == ("size", "single"):
            continue  # a small red circle is a red circle
        total += 1
        result = checker.check(scenes.render(scenes.random_scene(rng, request)), near)
        rejected += not result.correct
        assert result.correct == (result.score == 1.0)
    assert rejected >= 0.98 * total


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_finds_each_colour_and_shape_where_it_is(colour, shape):
    for radius in (6.5, 11.0, 17.0):
        (found,) = checker.find_objects(_picture(Object(colour, shape, 30.4, 33.7, radius)))
        assert (found.colour, found.shape) == (colour, shape)
        assert abs(found.x - 30.4) < 1 and abs(found.y - 33.7) < 1 and abs(found.radius - radius) < 0.8
        assert found.confidence > 0.85


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (80, 80), (128, 64)])
def test_pictures_of_other_sizes_show_what_their_scenes_do(size):
    rng = np.random.default_rng(5)
    for i in range(15):
        request = scenes.random_request(rng, KINDS[i % 5])
        scene = scenes.random_scene(rng, request, size)
        image = scenes.render(scene, size)
        result = checker.check(image, request)
        assert result.correct, result.reason
        seen, made = (sorted((o.x, o.y) for o in objects) for objects in (result.found, scene.objects))
        np.testing.assert_allclose(seen, made, atol=1.2)
    far = (Object("red", "star", size[1] - 10.0, size[0] - 10.0, 8.0),)
    (found,) = checker.find_objects(scenes.render(Scene(far, 0.15), size))
    assert abs(found.x - size[1] + 10) < 1 and abs(found.y - size[0] + 10) < 1


def test_float_and_bytes_see_the_same():
    image = _drawn(1)[2]
    whole = checker.find_objects((255 * image).round().astype(np.uint8))
    assert [(f.colour, f.shape) for f in whole] == [(f.colour, f.shape) for f in checker.find_objects(image)]


def test_an_empty_picture_and_a_wrong_shape():
    result = checker.check(np.full((64, 64, 3), 40, np.uint8), parse("a red circle"))
    assert result.found == () and result.score == 0.0 and "nothing" in result.reason
    for shape in ((2, 64, 64, 3), (64, 64), (64, 64, 4), (0, 64, 3)):
        with pytest.raises(ShapeError, match=r"\(H, W, 3\)"):
            checker.find_objects(np.zeros(shape, np.uint8))


def test_extra_objects_and_junk_make_a_picture_wrong():
    right = Object("red", "circle", 18, 18, 10)
    request = parse("a red circle")
    assert checker.check(_picture(right), request).score == 1.0
    twice = checker.check(_picture(right, Object("red", "circle", 46, 46, 10)), request)
    assert not twice.correct and 0.5 < twice.score < 1
    malformed = _picture(right)
    malformed[44:60, 20:24] = malformed[44:48, 8:48] = COLOURS["red"]
    result = checker.check(malformed, request)
    assert not result.correct and "unrecognisable" in result.reason


def test_a_broken_or_off_colour_object_is_junk():
    image = _picture(Object("blue", "circle", 32, 32, 12))
    image[32:, 32:] = 0.15
    assert not checker.check(image, parse("a blue circle")).correct
    grey = _picture(Object("white", "circle", 32, 32, 12)) * 0.4
    assert checker.find_objects(grey)[0].colour == ""


def test_touching_objects_of_two_colours_are_two():
    found = checker.find_objects(_picture(Object("yellow", "square", 21, 32, 10), Object("red", "square", 39, 32, 10)))
    assert sorted(f.colour for f in found) == ["red", "yellow"]


def test_partial_credit_is_ordered():
    request = parse("a red circle left of a blue square")
    circle, square = Object("red", "circle", 16, 32, 9), Object("blue", "square", 48, 32, 9)
    other_way = _picture(Object("red", "circle", 48, 32, 9), Object("blue", "square", 16, 32, 9))
    scores = [
        checker.check(_picture(circle, square), request).score,
        checker.check(other_way, request).score,
        checker.check(_picture(circle), request).score,
        checker.check(_picture(Object("green", "star", 16, 32, 9)), request).score,
    ]
    assert scores[0] == 1.0 and scores == sorted(scores, reverse=True) and len(set(scores)) == 4 and scores[-1] == 0.0
    assert checker.check(other_way, request).reason == "not left of"


def test_size_is_told_by_the_radius():
    small, large = _picture(Object("cyan", "star", 30, 30, 7.5)), _picture(Object("cyan", "star", 30, 30, 15))
    assert (
        checker.check(small, parse("a small cyan star")).correct
        and not checker.check(small, parse("a large cyan star")).correct
    )
    assert (
        checker.check(large, parse("a large cyan star")).correct and checker.check(large, parse("a cyan star")).correct
    )
