"""The commands: conductors that load, call one stage, and print. `entry.py` turns their signatures into options.

Arguments that several commands share are described where they are defined, and nowhere else: `settings` in the stage's
own record, `loading` in `ModelOptions`, flags such as `verbose` in `table.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.cli import common
from noiseprompt.cli.progress import Bar, say, say_next
from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.core.places import Address, check_folder, is_address
from noiseprompt.core.ranges import check_value
from noiseprompt.core.specs import split_specs
from noiseprompt.core.stores import store_of
from noiseprompt.core.texts import visible
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.npd import Npd
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.options import ModelOptions


def train(
    out: Path,
    npd: list[Address | Path] | None = None,
    prompts: str | None = None,
    model: str | None = None,
    settings: Any = None,
    column: str | None = None,
    n: int | None = None,
    loading: ModelOptions | None = None,
) -> None:
    """Train an NPNet on a noise prompt data set (stage II), or by the scores of images (--objective reward). OUT/best
    is the network to use. On several GPUs: torchrun --nproc_per_node N -m noiseprompt train ...

    Args:
        out: folder of the run; the same command continues an interrupted one.
        npd: folder that `noiseprompt collect` made, or s3://BUCKET/FOLDER; of pictures also several, "a,b", one a size:
            the network then takes any size.
        prompts: with --objective reward, in place of a data set: a txt, csv, json, jsonl or parquet file, or
            "shapes:train".
        model: folder or hub id of the pipeline the data set was collected with, for its text encoder; found by the name
            that the data set records unless given. With --objective reward the pipeline that draws, "shapes" unless
            given.
        column: of a csv, json or parquet file of prompts.
        n: take the first n prompts.
    """
    from noiseprompt.cli import rewards
    from noiseprompt.cli.together import hush
    from noiseprompt.engines.processes import joined
    from noiseprompt.npd import Npd
    from noiseprompt.stages.train.settings import TrainConfig
    from noiseprompt.stages.train.train import check_pairs

    check_folder(out)
    config = settings or TrainConfig()
    device = loading.device if loading else "auto"
    with joined(device, speak=lambda speaks: hush(not speaks)) as processes:
        if config.objective == "reward":
            name = model or world.NAME
            listed, judges = rewards.prepared(config, name, npd, prompts, column=column, n=n)
            rewards.train(listed, common.load_model(name, loading), config, out, judges, processes)
            return
        data = [Npd(folder) for folder in rewards.data_sets(config, npd, prompts, column, n)]
        for one in data:
            check_pairs(one, config)
        pipeline = _load_recorded(data[0], loading) if model is None else common.load_model(model, loading)
        rewards.train_on(data, pipeline, config, out, processes)


def _load_recorded(data: Npd, loading: ModelOptions | None) -> Pipeline:
    """The model a data set was collected with.

    Raises:
        InputError: it records none that loads by its name.
    """
    from noiseprompt.stages.train.data import collected_with

    name, wanted = collected_with(data.settings), ("the folder or hub id of that model", "pass it as --model")
    if not name:
        raise InputError(f"{data.folder} does not tell with which model it was collected", *wanted)
    try:
        return common.load_model(name, loading)
    except ModelLoadError as error:
        came = f"{data.folder} was collected with {name}, which does not load by that name ({error.came})"
        raise InputError(came, *wanted) from error


def generate(
    prompt: str,
    out: Address | Path,
    model: str = world.NAME,
    methods: str = "standard,redenoise,npnet",
    seeds: str | int | None = None,
    strength: float = 1.0,
    renormalize: bool = False,
    no_text: bool = False,
    part: str | None = None,
    settings: Any = None,
    verbose: bool = False,
    loading: ModelOptions | None = None,
) -> None:
    """Draw a prompt with several methods from the same seeds, side by side (stage III).

    Args:
        prompt: the text, a file of prompts, a published set such as "drawbench:FILE", or "shapes:test".
        out: folder for the images, grid.png and run.json, or s3://BUCKET/FOLDER; the same command continues an
            interrupted one.
        model: folder or hub id of a diffusers pipeline, or "shapes".
        methods: names with options, e.g. "standard,redenoise:denoise_guidance_scale=7,npnet:path=FOLDER,strength=1.5".
        seeds: of every prompt, e.g. "0-7" or "1,5,9", each drawn once; unless given the one that a file of prompts
            names in its column `seed`, and 0-3 for a prompt without.
        strength: of every method that does not name its own: 0 is the source noise, 1 what the method makes.
        no_text: leave out the text term of every NPNet (table 6), as for one of another family.
        part: "I/N", I from 1 to N: this process draws that part of the batches, others draw the rest into the same
            folder; or "auto", as Slurm numbers the tasks of an array and torchrun its processes.
    """
    from noiseprompt.core.part import parse_part
    from noiseprompt.core.types import Prompt
    from noiseprompt.methods.base import STRENGTH, MethodSpec
    from noiseprompt.methods.table import METHODS
    from noiseprompt.noise.guard import Guard
    from noiseprompt.pipelines.long_prompts import warn_cut
    from noiseprompt.prompts import load_prompts
    from noiseprompt.prompts.load import refuse_path, source_kind
    from noiseprompt.prompts.looks import refuse_damaged
    from noiseprompt.stages.generate.folder import units
    from noiseprompt.stages.generate.generate import generate as run
    from noiseprompt.stages.generate.settings import GenerateConfig, check, parse_seeds, plan

    store = store_of(out)
    store.check()
    check_value("--strength", float, strength, STRENGTH)
    specs = [MethodSpec.parse(text) for text in split_specs(methods, METHODS)]
    specs = common.with_options(specs, strength, renormalize, no_text)
    chosen, share = None if seeds is None else parse_seeds(str(seeds)), parse_part(part)
    if not prompt.strip():
        raise InputError("an empty prompt", "a text to draw")
    refuse_path(prompt)
    refuse_damaged(prompt, "the prompt")
    listed = load_prompts(prompt).prompts if source_kind(prompt) else (Prompt(prompt.strip()),)
    check(listed, chosen, specs)
    pipeline = common.load_model(model, loading)
    warn_cut(pipeline.text_limits, [p.text for p in listed])
    config, guard = settings or GenerateConfig(), Guard()
    mine = units(plan(listed, chosen), specs, config.batch_size, share)
    total = sum(len(unit.jobs) for unit in mine)
    done = total - sum(len(unit.missing(store)) for unit in mine)
    labels = common.some_of([spec.label for spec in specs])
    told = f"{total:,} images, {total // len(specs):,} by each of {labels}, into {out}"
    with Bar("generate", "image", told) as bar:
        for pictures in run(pipeline, listed, chosen, specs, config, out, guard, share):
            done += len(pictures)
            bar.show(done, total)
    common.tell_noise_of(guard, verbose)
    whole = share.whole or "grid.png" in store.names()
    done = f"images and grid.png in {out}" if whole else f"part {share} in {out}; grid.png comes with the last part"
    print(visible(done))
    if whole:
        say_next(f"look at {store.where('grid.png')}; `noiseprompt evaluate` measures what it shows")


def report(folders: list[str], out: Address | Path | None = None) -> None:
    """Write the figures, report.html and report.md of an evaluation again; of several evaluations together in one page.

    Args:
        folders: that `noiseprompt evaluate` made.
        out: for the page; the evaluation's own folder where there is one, else "report".
    """
    from noiseprompt.stages.evaluate.evaluate import summarize_run
    from noiseprompt.stages.report.report import report as write_report

    if out is not None and not is_address(out):
        check_folder(out)
    elsewhere = out is not None or len(folders) > 1
    for folder in folders:
        if elsewhere and not is_address(folder) and Path(folder).is_dir() and not os.access(folder, os.W_OK):
            say(f"{folder} may not be written: its figures are taken as they are")
        else:
            summarize_run(folder)
    target = out if out is not None or len(folders) == 1 else Path("report")
    print(visible(f"report: {write_report(folders, target)}"))
