"""The page in Gradio: fields, tabs and buttons, and which of the desk's answers goes where. No thinking here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any
from urllib.parse import quote

import gradio as gr

from noiseprompt.core.errors import NoisepromptError
from noiseprompt.web import ask, cards
from noiseprompt.web.desk import Desk
from noiseprompt.web.studio import public_names

HEADER = (
    '<header class="np-header"><h1>noiseprompt</h1>'
    "<p>One prompt, one seed, several starting noises: see which one suits the prompt.</p></header>"
)
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
"""Of what works with the model: one at a time, whoever asks."""
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
SHOW: dict[str, Any] = {"show_progress": "minimal"}


def build(desk: Desk, around: Callable[[Any], Any] = lambda work: work) -> gr.Blocks:
    """The page; the first model is loaded, and the queue is not set up.

    Args:
        around: put around every function that computes, such as the decorator that borrows a GPU for it.

    Raises:
        NoisepromptError: the first model cannot be loaded or a method does not work with it.
    """
    fields = desk.fields(desk.studio.models[0])
    with gr.Blocks(title="noiseprompt", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(HEADER)
        with gr.Row(elem_id="np-columns", equal_height=False):
            with gr.Column(scale=4, min_width=300, elem_id="np-form"):
                form = _form(desk, fields)
            with gr.Column(scale=9, min_width=320, elem_id="np-main"), gr.Tabs():
                with gr.Tab("Draw", id="draw"):
                    _draw(desk, form, around)
                with gr.Tab("Compare", id="compare"):
                    _compare(desk, form, around)
                with gr.Tab("The noise", id="noise"):
                    _noise(desk, form, around)
                with gr.Tab("Reports", id="reports"):
                    _reports(desk)
    return page


def _form(desk: Desk, fields: Any) -> list[Any]:
    """The fields that every tab shares, in the order the desk takes them."""
    models = public_names(desk.studio.models)
    prompt = gr.Textbox(
        fields.examples[0], label="Prompt", lines=2, max_lines=4, max_length=ask.LETTERS, elem_id="np-prompt"
    )
    examples = gr.Dataset(
        components=[gr.Textbox(visible=False)], samples=[[text] for text in fields.examples], label="Examples",
        elem_id="np-examples", type="values",
    )  # fmt: skip
    examples.click(lambda row: row[0], examples, prompt, queue=False, show_progress="hidden", **PRIVATE)
    model = gr.Dropdown(
        [(name, model) for model, name in models.items()], value=desk.studio.models[0], label="Model",
        visible=len(models) > 1, elem_id="np-model",
    )  # fmt: skip
    methods = gr.CheckboxGroup(
        list(fields.methods), value=list(fields.ticked), label="Methods", info="Standard is always drawn beside them.",
        elem_id="np-methods",
    )  # fmt: skip
    with gr.Accordion("How it draws", open=False):
        strength = gr.Slider(-1, 3, 1, step=0.05, label="Strength", info="0 is the seed's noise as it is.")
        guidance = gr.Slider(0, 30, fields.guidance_scale, step=0.1, label="Guidance scale")
        steps = gr.Slider(1, 150, fields.num_inference_steps, step=1, label="Inference steps")
    with gr.Accordion("What the methods are", open=False):
        about = gr.HTML(fields.about)
    line = gr.HTML(elem_classes="np-line")

    def choose(name: str) -> Any:
        try:
            new = desk.fields(name)
        except Exception as error:
            told = str(error) if isinstance(error, NoisepromptError) else desk.unforeseen(error)
            return (*[gr.skip()] * 6, cards.status(told, wrong=True))
        return (
            gr.update(samples=[[text] for text in new.examples]),
            new.examples[0],
            gr.update(choices=list(new.methods), value=list(new.ticked)),
            new.guidance_scale,
            new.num_inference_steps,
            new.about,
            "",
        )

    model.input(choose, model, [examples, prompt, methods, guidance, steps, about, line], **MODEL, **PRIVATE, **SHOW)
    return [model, prompt, methods, strength, guidance, steps]


def _kept(desk: Desk, work: Any) -> Any:
    """The work with its pictures put into the album, also where it runs in another process; what the page shows."""

    @wraps(work)
    def run(*fields: Any) -> Iterator[tuple[str, str]]:
        for status, result, pictures in work(*fields):
            desk.album.keep(pictures)
            yield status, result

    return run


def _runs(button: Any, stop: Any, work: Any, inputs: list[Any], outputs: list[Any], more: Any = None) -> None:
    """A button that starts a piece of work, and one that stops it."""
    running = button.click(work, inputs, outputs, **MODEL, **PRIVATE, **SHOW, show_progress_on=outputs[0])
    events = [running]
    if more is not None:
        events.append(more(work, inputs, outputs, **MODEL, **PRIVATE, **SHOW, show_progress_on=outputs[0]))
    stop.click(
        lambda: cards.status("Stopped. What was made stays."), None, outputs[0], cancels=events, queue=False,
        show_progress="hidden", **PRIVATE,
    )  # fmt: skip


def _buttons(start: str, name: str) -> tuple[Any, Any]:
    button = gr.Button(start, variant="primary", scale=0, min_width=110, elem_id=f"np-{name}")
    return button, gr.Button("Stop", variant="secondary", scale=0, min_width=80, elem_id=f"np-stop-{name}")


def _answer(name: str) -> list[Any]:
    """Where the status line and the result go."""
    return [
        gr.HTML(elem_id=f"np-{name}-status", elem_classes="np-line"),
        gr.HTML(elem_id=f"np-{name}-result", elem_classes="np-result"),
    ]


def _draw(desk: Desk, form: list[Any], around: Any) -> None:
    with gr.Row(elem_classes="np-bar"):
        seeds = gr.Textbox("0-1", label="Seeds", info="such as 0-3 or 1,5,9", max_lines=1, max_length=200, scale=1,
                           min_width=140, elem_id="np-seeds")  # fmt: skip
        button, stop = _buttons("Draw", "draw")
    _runs(button, stop, _kept(desk, around(desk.draw)), [*form, seeds], _answer("draw"), more=form[1].submit)


def _compare(desk: Desk, form: list[Any], around: Any) -> None:
    with gr.Row(elem_classes="np-bar"):
        first = gr.Number(0, label="First seed", precision=0, minimum=0, scale=1, min_width=110)
        count = gr.Number(24, label="How many seeds", precision=0, minimum=2, maximum=ask.SEEDS, scale=1, min_width=110)
        button, stop = _buttons("Compare", "compare")
    _runs(button, stop, _kept(desk, around(desk.compare)), [*form, first, count], _answer("compare"))


def _noise(desk: Desk, form: list[Any], around: Any) -> None:
    with gr.Row(elem_classes="np-bar"):
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, scale=1, min_width=110)
        button, stop = _buttons("Look", "noise")
    _runs(button, stop, _kept(desk, around(desk.look)), [*form, seed], _answer("noise"))


def _reports(desk: Desk) -> None:
    """The evaluations below the folder that the page was started with; the report is a page of its own in a frame."""
    if desk.reports.root is None:
        gr.HTML(
            '<p class="np-note">Start the page with <code>noiseprompt web --reports FOLDER</code> to open the reports '
            "of evaluations in that folder.</p>"
        )
        return
    with gr.Row(elem_classes="np-bar"):
        name = gr.Dropdown(desk.reports.names(), value=None, label="Evaluation", scale=1, elem_id="np-evaluation")
        again = gr.Button("Look again", scale=0, min_width=110)
    frame = gr.HTML(elem_id="np-report")

    def show(chosen: str | None) -> str:
        if not chosen:
            return ""
        where = f"report?name={quote(chosen, safe='')}"
        return (
            f'<p class="np-note"><a href="{where}" target="_blank" rel="noopener">Open it in a tab of its own</a></p>'
            f'<iframe class="np-frame" title="Report of {cards.text(chosen)}" src="{where}" sandbox></iframe>'
        )

    name.change(show, name, frame, queue=False, **PRIVATE)
    again.click(lambda: gr.update(choices=desk.reports.names()), None, name, queue=False, **PRIVATE)
