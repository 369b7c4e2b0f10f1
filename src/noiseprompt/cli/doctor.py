"""`noiseprompt doctor`: what is installed, what computes, what each extra would add, whether the hub answers, and what
of a model's folder is missing."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from noiseprompt.core import hub, machine
from noiseprompt.core.environment import environment
from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.model_files import check_config
from noiseprompt.core.part_files import WEIGHTS, check_network, files_in, refuse_damaged
from noiseprompt.core.places import expanded, no_file, refuse_closed
from noiseprompt.core.texts import visible
from noiseprompt.core.tokenizer_files import check_tokenizer
from noiseprompt.shapes import world

EXTRAS = {
    "comfy": "what a checkout of ComfyUI asks for, to try the nodes in it",
    "inception": "Frechet distance and precision / recall by the published Inception network",
    "lora": "LoRA adapters of the pipeline (--lora)",
    "ray": "collection on many machines",
    "s3": "data sets in object storage (s3://)",
    "tensorboard": "curves of a training in TensorBoard",
    "web": "a page in the browser",
}
"""Extra of this package -> what it adds. Those of contributors (dev, docs) are not named."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?([^;]*)(?:;\s*(.*))?")

Line = tuple[str, str, bool]
"""What, how it is, and whether that is well."""


def doctor(model: str | None = None) -> int:
    """Say what is installed and what is missing; exit status 2 where something that is needed is.

    Args:
        model: folder of a diffusers pipeline or NPNet to look at too, "shapes", or a hub id in the hub's cache.
    """
    if model is not None and not model.strip():
        raise InputError(f"--model {model!r}", 'a folder, "shapes" or a hub id')
    needed = [*_packages(), *_devices()]
    found = [] if model is None else _model(model)
    parts = [("needed", needed, "MISSING"), ("extras", _extras(), "-"), ("hub", _hub(), "-")]
    parts += [] if model is None else [(model, found, "MISSING")]
    for title, lines, mark in parts:
        print(f"{title}:")
        for what, how, well in lines:
            print(visible(f"  {'ok' if well else mark:8}{what}{f': {how}' if how else ''}"))
    return 0 if all(well for _, _, well in [*needed, *found]) else 2


def _packages() -> Iterator[Line]:
    """Python, and every package that this one cannot do without."""
    known = environment()
    yield "python", known["python"], True
    yield "noiseprompt", known["noiseprompt"], True
    for package, wanted, extra in _requirements():
        if not extra:
            version = _version(package)
            well = bool(version) and _is_within(version, wanted)
            yield package, version + ("" if well else f" {wanted} is wanted".lstrip()), well


def _requirements() -> Iterator[tuple[str, str, str]]:
    """(package, versions, extra or "") of this package."""
    for text in metadata.requires("noiseprompt") or ():
        if found := _REQUIREMENT.match(text):
            extra = re.search(r"extra == ['\"]([\w-]+)['\"]", found[3] or "")
            yield found[1], found[2].strip(), extra[1] if extra else ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _is_within(version: str, wanted: str) -> bool:
    """Whether a version meets ">=1.2,<3"; what cannot be read is let pass, for pip has judged it."""
    for rule in filter(None, (part.strip() for part in wanted.split(","))):
        found = re.fullmatch(r"(>=|<)([\d.]+)", rule)
        if found:
            here, there = _numbers(version), _numbers(found[2])
            if (here < there) if found[1] == ">=" else (here >= there):
                return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """ "2.13.0+cpu" -> (2, 13): zeros at the end do not count."""
    found = [int(part) for part in (re.match(r"[\d.]*", version) or [""])[0].split(".") if part]
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def _extras() -> Iterator[Line]:
    by_extra: dict[str, list[str]] = {}
    for package, _, extra in _requirements():
        by_extra.setdefault(extra, []).append(package)
    for name, adds in EXTRAS.items():
        lacking = [package for package in by_extra.get(name, ()) if not _version(package)]
        how = f'pip install "noiseprompt[{name}]" adds {adds}' if lacking or name not in by_extra else adds
        yield name, how, not lacking and name in by_extra


def _devices() -> Iterator[Line]:
    """What computes, with its memory; a CPU will do."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    for number in range(torch.cuda.device_count()):
        told = torch.cuda.get_device_properties(number)
        yield f"cuda:{number}", f"{told.name}, {told.total_memory / 2**30:.0f} GiB", True
    if torch.backends.mps.is_available():
        yield "mps", "shares the machine's memory", True
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    memory = f", {pages / 2**30:.0f} GiB" if pages else ""
    yield "cpu", f"{os.cpu_count()} cores{memory}, {torch.get_num_threads()} threads", True


def _hub() -> list[Line]:
    why = hub.reach()
    login = "a token is there" if hub.logged_in() else "nobody is logged in: enough to fetch what is public"
    return [(hub.endpoint(), why or "it answers", not why), ("login", login, hub.logged_in())]


# -------------------------------------------------------------------------------------------------------------- models


def _model(model: str) -> list[Line]:
    """What of a folder is there and what is missing."""
    folder = world.weights_folder() if world.is_world(model) else expanded(model)
    if not folder.is_dir() and hub.is_id(model):
        try:
            folder = hub.cached(model)
        except NoisepromptError:
            return [(model, "neither a folder here nor in the hub's cache", False)]
    if os.path.lexists(folder / "model_index.json"):
        return list(_pipeline(folder))
    if (folder / "config.json").is_file():
        return list(_npnet(folder))
    if not folder.is_dir():
        return [(model, no_file(folder, "folder"), False)]
    return [(model, "no model_index.json (a diffusers pipeline) and no config.json (an NPNet)", False)]


def _npnet(folder: Path) -> Iterator[Line]:
    from noiseprompt.npnet import NPNet

    try:
        config = NPNet.from_pretrained(folder).config
        yield "NPNet", f"{config.architecture} for {config.denoiser or config.family or 'any model'}", True
    except NoisepromptError as error:
        yield "NPNet", f"{error} As a diffusers pipeline it lacks model_index.json.", False


def _pipeline(folder: Path) -> Iterator[Line]:
    """Each component that model_index.json names, and where they are well, whether they load together."""
    if wrong := _refused(lambda: check_config(folder / "model_index.json")):
        yield "model_index.json", wrong, False
        return
    index = read_json(folder / "model_index.json", infinite=True)
    parts = {name: value for name, value in index.items() if isinstance(value, list) and len(value) == 2}
    yield "pipeline", str(index.get("_class_name")), True
    from noiseprompt.pipelines.loading import check_index

    wrong = _refused(lambda: check_index(folder, index))
    well = not wrong
    if wrong:
        yield "model_index.json", wrong, False
    for name, (library, kind) in parts.items():
        if library is not None and name not in ("safety_checker", "feature_extractor"):
            wrong = _component(folder / name, str(kind))
            yield name, wrong or str(kind), not wrong
            well = well and not wrong
    if well:
        yield _loads(folder)


_ROOM = 2
"""Times the bytes of its weights that a model takes at most while it is loaded: in float32, of files in float16."""


def _loads(folder: Path) -> Line:
    """Whether the parts load as every command loads them, where the memory suffices."""
    size = sum(path.stat().st_size for path in folder.glob("*/*") if path.suffix in WEIGHTS and path.is_file())
    free = machine.free_memory()
    if free is not None and _ROOM * size > free:
        told = f"not tried: it may take {_ROOM * size / 2**30:.0f} GiB of memory, and {free / 2**30:.0f} are free"
        return "loads", told, True
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.loading import silence

    silence()
    variant = next(filter(None, map(_variant, sorted(filter(Path.is_dir, folder.iterdir())))), None)
    wrong = _refused(lambda: Pipeline.load(folder, device="cpu", variant=variant))
    told = f"names, shapes and values of all weights were looked at{f', with --variant {variant}' * bool(variant)}"
    return "loads", wrong or told, not wrong


def _component(folder: Path, kind: str) -> str:
    """What is wrong with a component's folder, or ""."""
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if wrong := _refused(lambda: refuse_closed(folder)):
        return wrong
    files = files_in(folder, "*")
    for path in sorted(folder.glob("[!.]*config.json")):
        if wrong := _refused(lambda path=path: check_config(path)):
            return wrong
    if not any(path.suffix == ".json" for path in files):
        return f"{folder} has no configuration (.json)"
    if any(word in kind for word in ("Scheduler", "Tokenizer", "Processor", "Extractor")):
        words = "Tokenizer" in kind
        return (words and _refused(lambda: check_tokenizer(folder, kind, _class(kind)))) or _refused(
            lambda: refuse_damaged(folder)
        )
    return _refused(lambda: check_network(folder, str(folder), _variant(folder)))


def _class(kind: str) -> Any:
    """Of transformers, None where it has none of that name."""
    import transformers

    return getattr(transformers, kind, None)


def _variant(folder: Path) -> str | None:
    """The first variant of a part's weights, where there are none without one."""
    whole = [path for path in files_in(folder, "*") if path.suffix in WEIGHTS]
    variants = [path.name.split(".")[1].split("-")[0] for path in whole if path.name.count(".") > 1]
    return variants[0] if variants and len(variants) == len(whole) else None


def _refused(check: Callable[[], object]) -> str:
    """What a check says, or "" where it passes."""
    try:
        check()
    except NoisepromptError as error:
        return f"{error.came}: {error.fix}" if error.fix else error.came
    return ""
