"""What a visitor may ask for, and what each mistake is told."""

from __future__ import annotations

import pytest

from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.methods.base import MethodSpec
from noiseprompt.web.ask import PICTURES, Form, few_seeds, many_seeds, read

OFFERED = [MethodSpec.parse(text) for text in ("standard", "redenoise", "npnet:strength=2")]
PROMPT = "a red circle above a blue square"


def test_the_baseline_is_drawn_first_and_never_moved() -> None:
    ask = read(Form(PROMPT, ("npnet:strength=2", "redenoise"), 0.5, 3.5, 10), "shapes", OFFERED, (1, 2))
    assert [spec.label for spec in ask.specs] == ["standard", "redenoise:strength=0.5", "npnet:strength=2"]
    assert (ask.seeds, ask.sampling.guidance_scale, ask.sampling.num_inference_steps) == ((1, 2), 3.5, 10)


@pytest.mark.parametrize(
    ("changes", "model", "told"),
    [
        ({"prompt": " \n"}, "shapes", "there is no prompt"),
        ({"prompt": "a cat"}, "shapes", "the world of shapes cannot read 'a cat'. Expected a sentence such as"),
        ({"prompt": "x" * 2000}, "model", "a prompt of 2,000 letters. Expected at most 1,000"),
        ({"prompt": "a\0b"}, "model", "NUL"),
        ({"methods": ()}, "shapes", "no method beside standard"),
        ({"methods": ("npnet:path=/etc",)}, "shapes", "method 'npnet:path=/etc'. Expected some of standard, redenoise"),
        ({"strength": 1e9}, "shapes", "strength 1000000000.0. Expected a number from -2 to 3"),
        ({"strength": float("nan")}, "shapes", "strength nan"),
        (
            {"num_inference_steps": 100000},
            "shapes",
            "num_inference_steps 100000. Expected a whole number from 1 to 150",
        ),
        (
            {"num_inference_steps": 2.5, "guidance_scale": -1.0},
            "shapes",
            "guidance_scale -1.0, num_inference_steps 2.5",
        ),
    ],
)
def test_mistakes_are_told(changes: dict, model: str, told: str) -> None:
    fields = {"prompt": PROMPT, "methods": ("redenoise",), "strength": 1.0, "guidance_scale": 3.5}
    with pytest.raises(NoisepromptError) as caught:
        read(Form(**{**fields, "num_inference_steps": 10, **changes}), model, OFFERED, (0,))
    assert told in str(caught.value)


def test_another_model_draws_any_text() -> None:
    assert read(Form("  a   cat ", ("redenoise",)), "model", OFFERED, (0,)).prompt.text == "a cat"


def test_seeds_are_few_for_a_click_and_many_for_a_comparison() -> None:
    assert few_seeds("0-2,9", 3) == (0, 1, 2, 9)
    assert many_seeds(5, 3) == (5, 6, 7)
    for wrong in (lambda: few_seeds(f"0-{PICTURES}", 1), lambda: few_seeds("0-9", 7), lambda: few_seeds("no", 2)):
        with pytest.raises(InputError, match=r"pictures|seeds 'no'"):
            wrong()
    for first, count in ((-1, 3), (0, 1), (0, 10**6), (2**63 - 1, 2), (None, 3), (0, None)):
        with pytest.raises(InputError, match="seed"):
            many_seeds(first, count)  # type: ignore[arg-type]
