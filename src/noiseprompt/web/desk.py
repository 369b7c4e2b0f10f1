"""What happens at a click: the form is read, the studio works, and HTML comes back; errors come back as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import NoisepromptError
from noiseprompt.core.ranges import check_value
from noiseprompt.pipelines.long_prompts import reach
from noiseprompt.results.names import public_spec
from noiseprompt.results.summary import BASELINE
from noiseprompt.shapes import world
from noiseprompt.shapes.splits import prompts_of
from noiseprompt.web import ask, cards, charts
from noiseprompt.web.album import Album
from noiseprompt.web.ask import Ask, Form
from noiseprompt.web.folders import Reports
from noiseprompt.web.standings import Standings
from noiseprompt.web.studio import Loaded, Studio, public_names

PRESET = ("npnet", "redenoise")
"""Methods that are ticked at the start, where they are offered."""

EXAMPLES = (
    "a red cube on top of a blue sphere",
    "two cats and a dog on a wooden bench",
    "a lighthouse at dusk, oil painting",
    "a glass of water beside an open book",
)
"""For models that are not the embedded world; of the world, the first of its test prompts."""

WORDS = {
    "standard": "the noise of the seed, as it is",
    "npnet": "a trained network moves the noise in one pass; no call of the denoiser more",
    "redenoise": "one step down with guidance, one step up without; 3 calls more",
    "closed_form": "re-denoise in one formula; 2 calls more",
    "repaint": "one step down, then fresh noise back up; 2 calls a round",
    "nlg": "noise level guidance: 20 small steps along what the prompt changes; 2 calls each",
    "best_of_n": "several noises are drawn, and the one whose picture a scorer likes best stays",
    "prune": "several noises are begun, the weak ones are dropped early",
    "search": "neighbours of the best noise so far, round after round; slow",
    "initno": "the noise is optimised until every thing in the prompt is attended to; slow",
    "reward_gradient": "the noise follows the gradient of a scorer through a short sampler; very slow",
}
"""What visitors read of a method; of others the first sentence of their description."""


class View(NamedTuple):
    """What the page shows from now on.

    Fields:
        status: HTML of the status line.
        result: HTML below it.
        pictures: those that are new in it, by name.
    """

    status: str
    result: str = ""
    pictures: Mapping[str, bytes] = {}


@dataclass(frozen=True)
class Fields:
    """What the form offers for a model.

    Fields:
        methods: (short name, label), the baseline left out: it is drawn anyway.
        ticked: labels at the start.
        guidance_scale, num_inference_steps: the model's own.
        examples: prompts.
        about: HTML: what the methods are, which were left out and why, and who judges.
    """

    methods: tuple[tuple[str, str], ...]
    ticked: tuple[str, ...]
    guidance_scale: float
    num_inference_steps: int
    examples: tuple[str, ...]
    about: str


def _told(work: Callable[..., Iterator[View]]) -> Callable[..., Iterator[View]]:
    """Errors as a line of text beside what was made before; those that nobody foresaw through `account`."""

    @wraps(work)
    def run(self: Desk, *fields: Any) -> Iterator[View]:
        made = ""
        try:
            for view in work(self, *fields):
                made = view.result
                yield view
        except NoisepromptError as error:
            yield View(cards.status(str(error), wrong=True), made)
        except Exception as error:
            yield View(cards.status(self.unforeseen(error), wrong=True), made)

    return run


class Desk:
    """Everything the page does, without the page.

    Args:
        account: of an error that nobody foresaw: writes it down and gives one line.
    """

    def __init__(self, studio: Studio, reports: Reports, account: Callable[[Exception], str]) -> None:
        self.studio, self.reports, self._account = studio, reports, account
        self.album = Album()

    def unforeseen(self, error: Exception) -> str:
        """One line about an error that is none of ours."""
        if is_out_of_memory(error):
            return "The memory is full. Ask for fewer seeds, fewer methods or a smaller model."
        return self._account(error)

    def fields(self, model: str) -> Fields:
        """What the form offers for a model, which is loaded.

        Raises:
            NoisepromptError: as `Studio.open`.
        """
        loaded = self.studio.open(model)
        offered = tuple((loaded.names[s.label], s.label) for s in loaded.specs if s.label != BASELINE)
        labels = [label for _, label in offered]
        ticked = tuple(label for label in labels if label.partition(":")[0] in PRESET) or tuple(labels[:1])
        own = world.is_world(model)
        examples = tuple(p.text for p in prompts_of("test")[:6]) if own else EXAMPLES
        family = loaded.pipeline.family
        return Fields(offered, ticked, family.guidance_scale, family.num_inference_steps, examples, _about(loaded))

    @_told
    def draw(self, model: str, prompt: str, methods: Sequence[str], strength: float, guidance: float, steps: int,
             seeds: str) -> Iterator[View]:  # fmt: skip
        """Pictures of the methods from the same seeds, as they come."""
        form = _form(prompt, methods, strength, guidance, steps)
        yield View(cards.status(f"Loading {self.studio.called(model)} …"))
        loaded = self.studio.open(model)
        request = ask.read(form, model, loaded.specs, ask.few_seeds(seeds, 1))
        request = Ask(request.prompt, request.specs, ask.few_seeds(seeds, len(request.specs)), request.sampling)
        names, steered = _labelled(loaded, request)
        pictures, html, total = [], "", len(request.seeds) * len(request.specs)
        yield View(cards.status(f"Drawing {total} pictures …", 0, total))
        for batch in self.studio.draw(model, request):
            pictures += batch
            line, made = f"{len(pictures)} of {total} pictures", {p.png.name: p.png.data for p in batch}
            html = cards.gallery(pictures, names, form.prompt, steered)
            yield View(cards.status(line, len(pictures), total), html, made)
        line = f"{total} pictures, {sum(p.seconds for p in pictures):.1f} s.{_cut(loaded, request)}"
        yield View(cards.status(line), html)

    @_told
    def compare(self, model: str, prompt: str, methods: Sequence[str], strength: float, guidance: float, steps: int,
                first: int, count: int) -> Iterator[View]:  # fmt: skip
        """The methods over many seeds of one prompt, with the intervals of now after each batch."""
        form = _form(prompt, methods, strength, guidance, steps)
        yield View(cards.status(f"Loading {self.studio.called(model)} …"))
        loaded = self.studio.open(model)
        request = ask.read(form, model, loaded.specs, ask.many_seeds(_whole(first), _whole(count)))
        if not loaded.judges:
            yield View(cards.status("Nothing judges the pictures: start the page with --scorers NAME.", wrong=True))
            return
        names, steered = _labelled(loaded, request)
        found, done, total, html = Standings(), 0, len(request.seeds) * len(request.specs), ""
        command = _command(model, loaded, request)
        for batch in self.studio.draw(model, request):
            found.add(batch)
            done += len(batch)
            if batch[0].method == request.specs[-1].label:  # every method has met these seeds
                html = charts.standings(found, names, steered, command)
            yield View(cards.status(f"{done} of {total} pictures", done, total), html)
        yield View(cards.status(f"{len(request.seeds)} seeds, {total} pictures.{_cut(loaded, request)}"), html)

    @_told
    def look(self, model: str, prompt: str, methods: Sequence[str], strength: float, guidance: float, steps: int,
             seed: int) -> Iterator[View]:  # fmt: skip
        """The noise of one seed, what the methods make of it, and its figures."""
        form = _form(prompt, methods, strength, guidance, steps)
        yield View(cards.status("Making the noises …"))
        loaded = self.studio.open(model)
        request = ask.read(form, model, loaded.specs, ask.few_seeds(str(_whole(seed)), 1))
        names, _ = _labelled(loaded, request)
        found = self.studio.noises(model, request)
        yield View(cards.status("Done."), *charts.noises(found, names, form.prompt, request.seeds[0]))


def _form(prompt: str, methods: Sequence[str], strength: float, guidance: float, steps: float) -> Form:
    check_value("methods", list[str] | None, methods)
    return Form("" if prompt is None else prompt, tuple(methods or ()), strength, guidance, _whole(steps))


def _whole(value: Any) -> Any:
    """A number of a web form, where 3 may come as 3.0; everything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _labelled(loaded: Loaded, request: Ask) -> tuple[dict[str, str], dict[str, str]]:
    """Label with its strength -> the short name of what was ticked, and the scorer that steers it."""
    bare = {(spec.name, *sorted(spec.options.items())): spec.label for spec in loaded.specs}
    own = {spec.label: bare.get((spec.name, *sorted(spec.options.items())), spec.label) for spec in request.specs}
    names = {label: loaded.names.get(offered, offered) for label, offered in own.items()}
    return names, {label: loaded.steered.get(offered, "") for label, offered in own.items()}


def _cut(loaded: Loaded, request: Ask) -> str:
    """What the text encoder does not read of the prompt, as a sentence; "" where it reads all."""
    limits, prompt = loaded.pipeline.text_limits, request.prompt.text
    lost = prompt[reach(limits, prompt) :].strip()
    return f" The text encoder reads {min(limit for _, limit in limits)} tokens: “{lost[:80]}” is cut." if lost else ""


def _command(model: str, loaded: Loaded, request: Ask) -> str:
    """The evaluation that tests what Compare looks at, without folders of the machine."""
    methods = ",".join(public_spec(spec.label) for spec in request.specs)
    where = (
        "" if world.is_world(model) else f" --model {public_names([model])[model]} --scorers {loaded.judges[0].name}"
    )
    prompts = "shapes:test --n 500" if world.is_world(model) else "FILE"
    sampling = request.sampling
    how = f"--guidance_scale {sampling.guidance_scale:g} --num_inference_steps {sampling.num_inference_steps}"
    return f"noiseprompt evaluate{where} --prompts {prompts} --methods {methods} {how} --out evaluation"


def _about(loaded: Loaded) -> str:
    """What each method is, in the first words of its own description; who judges; who is left out."""
    rows = []
    for spec in loaded.specs:
        own = " ".join((type(spec.build()).__doc__ or "").split()).split(". ")[0]
        words = WORDS.get(spec.name, own).rstrip(".")
        rows.append(f"<dt>{cards.text(loaded.names[spec.label])}</dt><dd>{cards.text(words)}.</dd>")
    judges = ", ".join(judge.name for judge in loaded.judges) or "nobody (start with --scorers NAME)"
    lines = [f"<p>Judges: {cards.text(judges)}.</p>"]
    lines += [f"<p>{cards.text(f'{label} is left out. {why}')}</p>" for label, why in loaded.refused.items()]
    return f'<div class="np-about"><dl>{"".join(rows)}</dl>{"".join(lines)}</div>'
