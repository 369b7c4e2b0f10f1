"""The commands: conductors that load, call one stage, and print. `entry.py` turns their signatures into options.

Arguments that several commands share are described where they are defined, and nowhere else: `settings` in the stage's
own record, `loading` in `ModelOptions`, flags such as `verbose` in `table.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.cli.progress import Bar, stopping
from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.core.places import check_folder
from noiseprompt.core.specs import split_specs
from noiseprompt.core.texts import visible
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.methods.base import MethodSpec
    from noiseprompt.noise.guard import Guard
    from noiseprompt.npd import Npd
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.options import ModelOptions


def _load(model: str, loading: ModelOptions | None) -> Pipeline:
    """The model, with the libraries' loading bars and remarks switched off."""
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.loading import silence
    from noiseprompt.pipelines.options import ModelOptions

    silence()
    return Pipeline.load(model, loading or ModelOptions())


def _with(
    specs: Sequence[MethodSpec], strength: float = 1.0, renormalize: bool = False, no_text: bool = False
) -> list[MethodSpec]:
    """The methods with the command's options where they do not name their own; the baseline stays the source noise."""
    from noiseprompt.results.summary import BASELINE

    given: dict[str, Any] = {"strength": strength, "renormalize": renormalize}
    if no_text:  # an option of few methods, and part of their label once it is named
        given["no_text"] = True
    return [spec if spec.name == BASELINE else spec.with_defaults(**given) for spec in specs]


def _tell(guard: Guard, verbose: bool) -> None:
    for line in guard.lines() if verbose else ():
        print(visible(f"noise of {line}"))


def collect(
    out: Path,
    prompts: str | None = None,
    model: str = world.NAME,
    settings: Any = None,
    scorers: list[str] | None = None,
    column: str | None = None,
    n: int | None = None,
    verbose: bool = False,
    loading: ModelOptions | None = None,
) -> None:
    """Collect a noise prompt data set (stage I): pairs of source and target noise with the scores of both images; or
    pictures to aim at (--pictures).

    Args:
        out: folder of the data set; the same command continues an interrupted one.
        prompts: a txt, csv, json, jsonl or parquet file, or "shapes:train"; pictures with captions bring their own.
        model: folder or hub id of a diffusers pipeline, or "shapes".
        scorers: names; "shapes-preference" for the shapes world unless given. Pictures that are not the model's own
            need none.
        column: of a csv, json or parquet file.
        n: take the first n prompts.
    """
    from functools import partial

    from noiseprompt.noise.guard import Guard
    from noiseprompt.npd.info import write_noise_figures
    from noiseprompt.pipelines.long_prompts import warn_cut
    from noiseprompt.scorers.base import load_scorers
    from noiseprompt.stages.collect.collect import collect as collect_pairs
    from noiseprompt.stages.collect.pictures import collect_pictures
    from noiseprompt.stages.collect.settings import DRAWN, CollectConfig
    from noiseprompt.stages.collect.sources import read_source, texts_of

    check_folder(out)
    config, guard = settings or CollectConfig(), Guard()
    listed = read_source(prompts, config, column=column, n=n, model=model)
    if duplicates := getattr(listed, "duplicates", 0):
        print(f"{duplicates} duplicate prompts left out")
    bare = config.pictures not in ("", DRAWN) and not scorers
    judges = [] if bare else load_scorers(_scorers(scorers, model, world.PREFERENCE))
    pipeline = _load(model, loading)
    warn_cut(pipeline.text_limits, texts_of(listed))
    run: Any = collect_pictures if config.pictures else partial(collect_pairs, guard=guard)
    with stopping() as should_stop, Bar("collect", "picture" if config.pictures else "pair") as bar:
        for progress in run(pipeline, listed, judges, config, out, should_stop=should_stop):
            share = {name: f"{kept / max(progress.done, 1):.0%}" for name, kept in progress.kept_by_scorer.items()}
            kept = {} if config.pictures else {"kept": share}
            bar.show(progress.done, progress.total, **kept, rejected=progress.rejected)
        write_noise_figures(out)  # also of what was made until it was stopped
    _tell(guard, verbose)
    print(f"noise prompt data set in {out}")


def _scorers(given: list[str] | None, model: str, *of_the_world: str) -> list[str]:
    """The scorers to use: those given, or the world's own.

    Raises:
        InputError: none given, and another model.
    """
    if given is None and not world.is_world(model):
        raise InputError("no scorers", "names of scorers", "pass for example --scorers NAME")
    return list(of_the_world) if given is None else given


def train(
    out: Path,
    npd: Path | None = None,
    prompts: str | None = None,
    model: str | None = None,
    settings: Any = None,
    column: str | None = None,
    n: int | None = None,
    loading: ModelOptions | None = None,
) -> None:
    """Train an NPNet on a noise prompt data set (stage II), or by the scores of images (--objective reward). OUT/best
    is the network to use.

    Args:
        out: folder of the run; the same command continues an interrupted one.
        npd: folder that `noiseprompt collect` made.
        prompts: with --objective reward, in place of a data set: a txt, csv, json, jsonl or parquet file, or
            "shapes:train".
        model: folder or hub id of the pipeline the data set was collected with, for its text encoder; found by the name
            that the data set records unless given. With --objective reward the pipeline that draws, "shapes" unless
            given.
        column: of a csv, json or parquet file of prompts.
        n: take the first n prompts.
    """
    from noiseprompt.cli import rewards
    from noiseprompt.npd import Npd
    from noiseprompt.stages.train.settings import TrainConfig
    from noiseprompt.stages.train.train import train as run

    check_folder(out)
    config = settings or TrainConfig()
    if config.objective == "reward":
        name = model or world.NAME
        listed, judges = rewards.prepared(config, name, npd, prompts, column=column, n=n)
        rewards.train(listed, _load(name, loading), config, out, judges)
        return
    npd = rewards.data_set(config, npd, prompts, column, n)
    data = Npd(npd)
    pipeline = _load_recorded(data, loading) if model is None else _load(model, loading)
    whole = "the pictures" if config.objective == "picture" else "the perturbation"
    with Bar("train", "step") as bar:
        for progress in run(data, pipeline, config, out):
            explained = f"{progress.best:.1%}" if progress.best > -1e9 else "?"
            bar.show(progress.step, progress.steps, loss=f"{progress.loss:.3f}", explained=explained)
            if progress.explained is not None:
                bar.say(f"step {progress.step}: {progress.explained:.1%} of {whole} explained (nothing learned: 0)")
    rewards.tell(out)


def _load_recorded(data: Npd, loading: ModelOptions | None) -> Pipeline:
    """The model a data set was collected with.

    Raises:
        InputError: it records none that loads by its name.
    """
    from noiseprompt.stages.train.data import collected_with

    name, wanted = collected_with(data), ("the folder or hub id of that model", "pass it as --model")
    if not name:
        raise InputError(f"{data.folder} does not tell with which model it was collected", *wanted)
    try:
        return _load(name, loading)
    except ModelLoadError as error:
        came = f"{data.folder} was collected with {name}, which does not load by that name ({error.came})"
        raise InputError(came, *wanted) from error


def generate(
    prompt: str,
    out: Path,
    model: str = world.NAME,
    methods: str = "standard,redenoise,npnet",
    seeds: str | None = None,
    strength: float = 1.0,
    renormalize: bool = False,
    no_text: bool = False,
    settings: Any = None,
    verbose: bool = False,
    loading: ModelOptions | None = None,
) -> None:
    """Draw a prompt with several methods from the same seeds, side by side (stage III).

    Args:
        prompt: the text, a file of prompts, a published set such as "drawbench:FILE", or "shapes:test".
        out: folder for the images, grid.png and run.json.
        model: folder or hub id of a diffusers pipeline, or "shapes".
        methods: names with options, e.g. "standard,redenoise:denoise_guidance_scale=7,npnet:path=FOLDER,strength=1.5".
        seeds: of every prompt, e.g. "0-7" or "1,5,9"; unless given the one that a file of prompts names in its column
            `seed`, and 0-3 for a prompt without.
        strength: of every method that does not name its own: 0 is the source noise, 1 what the method makes.
        no_text: leave out the text term of every NPNet (table 6), as for one of another family.
    """
    from noiseprompt.core.types import Prompt
    from noiseprompt.methods.base import MethodSpec
    from noiseprompt.methods.table import METHODS
    from noiseprompt.noise.guard import Guard
    from noiseprompt.pipelines.long_prompts import warn_cut
    from noiseprompt.prompts import load_prompts
    from noiseprompt.prompts.load import source_kind
    from noiseprompt.stages.generate.generate import GenerateConfig, check, parse_seeds, plan
    from noiseprompt.stages.generate.generate import generate as run

    check_folder(out)
    specs = [MethodSpec.parse(text) for text in split_specs(methods, METHODS)]
    specs = _with(specs, strength, renormalize, no_text)
    chosen = None if seeds is None else parse_seeds(seeds)
    if not prompt.strip():
        raise InputError("an empty prompt", "a text to draw")
    listed = load_prompts(prompt).prompts if source_kind(prompt) else (Prompt(prompt.strip()),)
    check(listed, chosen, specs)
    pipeline = _load(model, loading)
    warn_cut(pipeline.text_limits, [p.text for p in listed])
    config, guard = settings or GenerateConfig(), Guard()
    total, done = len(plan(listed, chosen)) * len(specs), 0
    with Bar("generate", "image") as bar:
        for pictures in run(pipeline, listed, chosen, specs, config, out, guard):
            done += len(pictures)
            bar.show(done, total)
    _tell(guard, verbose)
    print(f"images and grid.png in {out}")


def evaluate(
    out: Path = Path("evaluation"),
    prompts: str = world.TEST_PROMPTS,
    model: str = world.NAME,
    methods: str = "standard,redenoise,npnet",
    scorers: list[str] | None = None,
    settings: Any = None,
    n: int | None = None,
    column: str | None = None,
    seed_file: Path | None = None,
    report: bool = True,
    no_text: bool = False,
    verbose: bool = False,
    loading: ModelOptions | None = None,
) -> None:
    """Compare methods on the same prompts and seeds, with paired statistics and a report.

    Args:
        out: folder of the run; the same command continues an interrupted one.
        prompts: a file of prompts, a published set such as "drawbench:FILE" or "hpdv2:FOLDER", or "shapes:test" ("test"
            will do where the model is the shapes world).
        model: folder or hub id of a diffusers pipeline, or "shapes".
        methods: names with options; "redenoise:swap" is the control made for a wrong prompt; "all" is every method
            there is, less those that refuse this model.
        scorers: names; checker and preference scorer for the shapes world unless given.
        n: take the first n prompts.
        column: of a csv, json or parquet file.
        seed_file: a seed for each prompt, one a line, or a table with a column `seed`.
        report: print the table and write report.html.
        no_text: leave out the text term of every NPNet (table 6), as for one of another family.
    """
    from noiseprompt.methods.base import MethodSpec
    from noiseprompt.methods.table import METHODS
    from noiseprompt.noise.guard import Guard
    from noiseprompt.pipelines.long_prompts import warn_cut
    from noiseprompt.prompts import load_prompts
    from noiseprompt.scorers.base import load_scorers
    from noiseprompt.stages.evaluate.evaluate import evaluate as run
    from noiseprompt.stages.evaluate.plan import EvaluateConfig, all_methods
    from noiseprompt.stages.report.report import report as write_report

    check_folder(out)
    every = methods.strip() == "all"
    specs = all_methods() if every else [MethodSpec.parse(text) for text in split_specs(methods, METHODS)]
    specs = _with(specs, no_text=no_text)
    optional = [spec.label for spec in specs if every and spec.name != "standard"]
    listed = load_prompts(prompts, column=column, limit=n, model=model, seeds=seed_file)
    judges = load_scorers(_scorers(scorers, model, world.PREFERENCE, world.CHECKER))
    pipeline = _load(model, loading)
    warn_cut(pipeline.text_limits, [prompt.text for prompt in listed.prompts])
    config, guard = settings or EvaluateConfig(), Guard()
    with Bar("evaluate", "image") as bar:
        for progress in run(pipeline, listed.prompts, judges, specs, config, out, optional=optional, guard=guard):
            bar.show(progress.done, progress.total, method=progress.method)
    _tell(guard, verbose)
    if report:
        page = write_report(out)
        print((out / "results.md").read_text(encoding="utf-8"))
        print(f"report: {page}")


def report(folders: list[str], out: Path | None = None) -> None:
    """Write the figures, report.html and report.md of an evaluation again; of several evaluations together in one page.

    Args:
        folders: that `noiseprompt evaluate` made.
        out: for the page; the evaluation's own folder where there is one, else "report".
    """
    from noiseprompt.stages.evaluate.evaluate import summarize_run
    from noiseprompt.stages.report.report import report as write_report

    for folder in folders:
        summarize_run(folder)
    target = out if out is not None or len(folders) == 1 else Path("report")
    print(f"report: {write_report(folders, target)}")


def import_npnet(file: Path, out: Path) -> None:
    """Turn a published NPNet checkpoint (.pth or flattened .safetensors) into a folder `NPNet.from_pretrained` loads.

    Args:
        file: the checkpoint; loaded without executing anything in it.
        out: the folder to write.
    """
    from noiseprompt.npnet import import_published

    import_published(Path(file), Path(out))
    print(f"NPNet in {out}")
