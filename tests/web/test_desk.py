"""Every click without a page: what comes back, on the embedded world with two steps a picture."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.noise.seeds import initial_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.shapes.checker import check
from noiseprompt.shapes.scenes import parse
from noiseprompt.web import ask
from noiseprompt.web.desk import Desk, View
from noiseprompt.web.folders import Reports
from noiseprompt.web.studio import Studio

PROMPT = "a red circle above a blue square"
FORM = ("shapes", PROMPT, ["npnet"], 1.0, 3.5, 2)


def desk_of(*models: str, methods: str = "standard,npnet,redenoise") -> Desk:
    return Desk(Studio(models, methods, None, ModelOptions(device="cpu")), Reports(None), lambda e: f"unforeseen {e}")


@pytest.fixture(scope="module")
def desk() -> Desk:
    return desk_of("shapes")


def last(views: Iterator[View]) -> View:
    return list(views)[-1]


def test_the_form_offers_what_works(desk: Desk) -> None:
    fields = desk.fields("shapes")
    assert fields.methods == (("npnet", "npnet"), ("redenoise", "redenoise")) and fields.ticked == (
        "npnet",
        "redenoise",
    )
    assert (fields.guidance_scale, fields.num_inference_steps) == (3.5, 10)
    assert "shapes-checker" in fields.about and all(map(parse, fields.examples))


def test_pictures_are_those_of_the_pipeline_and_the_verdict_that_of_the_checker(desk: Desk) -> None:
    loaded = desk.studio.open("shapes")
    request = ask.read(ask.Form(PROMPT, ("npnet",), 0.0, 3.5, 3), "shapes", loaded.specs, (3, 4))
    pictures = [p for batch in desk.studio.draw("shapes", request) for p in batch]
    pipeline = loaded.pipeline
    for number, seed in enumerate((3, 4)):
        noise = initial_noise(seed, pipeline.latent_shape())[None]
        how = {"guidance_scale": 3.5, "num_inference_steps": 3, "output_type": "np"}
        expected = pipeline.pipe(PROMPT, latents=noise, **how).images[0] * 255  # diffusers itself
        own, moved = pictures[number], pictures[2 + number]
        assert np.abs(own.image.astype(float) - expected).max() < 1.5  # a batch of two rounds otherwise
        assert np.array_equal(own.image, moved.image) and moved.perturbation == 0  # strength 0
        found = check(own.image, parse(PROMPT))
        assert (own.verdicts[0].correct, own.verdicts[0].reason) == (found.correct, found.reason)


def test_a_click_draws_every_seed_with_every_method(desk: Desk) -> None:
    views = list(desk.draw(*FORM, "0-1,7"))
    status, html, _ = views[-1]
    assert "6 pictures" in status and "np-error" not in status and "<progress" in views[2][0]
    assert html.count("<figure") == 6 and html.count('data-base="1"') == 3 and html.count("np-pick") == 3
    named = re.findall(r'src="picture\?name=([0-9a-f]{64})"', html)
    made = {name: data for view in views for name, data in view.pictures.items()}
    assert len(named) == 6 + 2 and set(named) == set(made) and len(re.findall("(?:src|href)=", html)) == 8
    assert all(Image.open(io.BytesIO(data)).size == (64, 64) for data in made.values())
    assert sum(len(view.pictures) for view in views) == 6  # each is sent once


def test_intervals_come_with_every_batch_and_a_stop_keeps_them(desk: Desk) -> None:
    views = desk.compare(*FORM, 0, 20)
    first = next(view for view in views if view[1])
    assert "8 / " not in first[0] and "16 of 40 pictures" in first[0] and ">8</td>" in first[1]
    views.close()  # as a stop does
    assert "look, not a test" in first[1] and "noiseprompt evaluate --prompts shapes:test" in first[1]
    assert "1 pictures" not in last(desk.draw(*FORM, "5"))[0]  # the studio is free


def test_the_noise_and_what_was_added(desk: Desk) -> None:
    status, html, pictures = last(desk.look(*FORM, 2))
    assert len(pictures) == 3
    assert "Done" in status and html.count("<img") == 3 and html.count("<svg") == 2 and "16 × 16" in html
    moved = float(re.findall(r"<td>([\d.]+)%</td>", html)[0])
    loaded = desk.studio.open("shapes")
    source = initial_noise(2, (4, 16, 16))[None]
    noise = desk.studio.noises(
        "shapes", ask.read(ask.Form(PROMPT, ("npnet",), 1.0, 3.5, 2), "shapes", loaded.specs, (2,))
    )
    assert moved == pytest.approx(100 * float((noise.made["npnet"][None] - source).norm() / source.norm()), abs=0.06)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({1: "a cat"}, "the world of shapes cannot read"),
        ({1: None}, "there is no prompt"),
        ({2: []}, "no method beside standard"),
        ({2: ["npnet:path=/etc/passwd"]}, "method"),
        ({0: "/etc"}, "model"),
        ({0: ["shapes"]}, "model [&#x27;shapes&#x27;]"),
        ({0: None}, "model null"),
        ({1: {"a": 1}}, "prompt {"),
        ({2: 3}, "methods 3"),
        ({4: float("nan")}, "guidance_scale nan"),
        ({5: float("inf")}, "num_inference_steps inf"),
        ({3: "much"}, "strength"),
        ({5: 0}, "num_inference_steps 0"),
        ({6: "0-99"}, "at most 64 a click"),
        ({6: "1;2"}, "numbers and ranges"),
        ({6: None}, "seeds"),
    ],
)
def test_mistakes_come_back_as_text(desk: Desk, changes: dict, told: str) -> None:
    fields: list = [*FORM, "0"]
    for place, value in changes.items():
        fields[place] = value
    status, html, _ = last(desk.draw(*fields))
    assert told in status and 'role="alert"' in status and html == "" and "Traceback" not in status


def test_markup_of_a_prompt_stays_text(desk: Desk) -> None:
    assert "<script>" not in last(desk.draw("shapes", "<script>alert(1)</script>", ["npnet"], 1.0, 3.5, 2, "0"))[0]


def test_full_memory_and_errors_that_nobody_foresaw_are_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list(desk.draw(*FORM, "0"))[-1][1]
    for error, told in ((torch.OutOfMemoryError("x"), "The memory is full"), (KeyError("y"), "unforeseen")):
        monkeypatch.setattr(Pipeline, "sample", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        assert told in last(desk.draw(*FORM, "0"))[0]
    monkeypatch.undo()
    assert last(desk.draw(*FORM, "0"))[1][:200] == made[:200]


def test_models_are_those_of_the_start_and_one_is_in_memory(model: str) -> None:
    desk = desk_of("shapes", model, methods="standard,redenoise")
    desk.fields("shapes")
    before = desk.studio._loaded
    fields = desk.fields(model)
    assert desk.studio._loaded is not before and "nobody" in fields.about
    assert "np-error" not in last(desk.draw(model, "a cat", ["redenoise"], 1.0, 3.0, 1, "0"))[0]
    assert "--scorers NAME" in last(desk.compare(model, "a cat", ["redenoise"], 1.0, 3.0, 1, 0, 4))[0]
    with pytest.raises(InputError, match="Expected one of shapes, world"):
        desk.studio.open("/etc")


def test_methods_that_do_not_fit_are_left_out_unless_they_were_named(model: str) -> None:
    studio = Studio([model], None, None, ModelOptions(device="cpu"))
    assert "npnet" in studio.open(model).refused
    for methods, error in (("npnet", InputError), ("npnet:path=/none", ModelLoadError)):
        with pytest.raises(error):
            Studio([model], methods, None, ModelOptions(device="cpu")).open(model)
    for methods in ("standard", "redenoise,redenoise", "redenoise:swap"):
        with pytest.raises(InputError):
            Studio([model], methods, None, ModelOptions(device="cpu"))
