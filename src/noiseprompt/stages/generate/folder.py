"""A folder of pictures: what is drawn together, what is there already, and the settings all of it has.

pictures.json           what the pictures depend on and its fingerprint; other settings are refused
NNN-seed-method.png     one picture of prompt NNN, whole or not there
noise.jsonl             what each method did to the noise, a line a batch
grid.png, run.json      of the last command that found all of its pictures there
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from noiseprompt.core.config import fingerprint
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import ConfigError, StoreError
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.files import differences, public_name, refuse_changes
from noiseprompt.core.json_files import read_json
from noiseprompt.core.kinds import PICTURES, refuse_other
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.core.parts import PARTS, as_recorded
from noiseprompt.core.pictures import has_sound_parts, is_whole_png, png_size
from noiseprompt.core.store import Store
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.results.names import slug
from noiseprompt.stages.generate.settings import GenerateConfig, Job

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline

FILE = "pictures.json"
_NEW = "draw into a new folder"
_BESIDE = ("grid.png", "run.json", "noise.jsonl")


@dataclass(frozen=True)
class Unit:
    """Pictures of one method that are drawn together, always the same: what a part has some of, and what is drawn whole
    if one of it is missing. So the bytes depend neither on the part nor on where a run was stopped.

    Fields:
        method: its place in the list of methods.
        label: of the method.
        jobs: what is drawn.
    """

    method: int
    label: str
    jobs: tuple[Job, ...]

    @property
    def files(self) -> list[str]:
        """Of its pictures."""
        return [f"{index:03d}-{seed}-{slug(self.label)}.png" for index, _, seed in self.jobs]

    def missing(self, out: Store) -> list[str]:
        """Those of its files that are not there; in object storage as of the last time that `names` was asked.

        Raises:
            StoreError: one is there and is no whole picture.
        """
        there = [name for name in self.files if out.stamp(name) is not None]
        for name in (name for name in there if out.torn and not is_whole_png(out.file(name))):
            fix = "delete it, and the same command draws it again"
            raise StoreError(f"{out.where(name)} is no whole picture", "PNG files as they were drawn", fix)
        return [name for name in self.files if name not in there]


def is_there(out: Store, name: str) -> bool:
    """Whether a picture is; on a disk one that is torn is none."""
    return out.stamp(name) is not None and (not out.torn or is_whole_png(out.file(name)))


def check_sizes(out: Store, files: Sequence[str]) -> None:
    """Refuse a picture that is damaged, or of another size than the first: something else took its place. In object
    storage nobody looks.

    Raises:
        StoreError: with both.
    """
    there = [name for name in files if out.torn and out.stamp(name) is not None and is_whole_png(out.file(name))]
    if (bad := next((name for name in there if not has_sound_parts(out.file(name))), None)) is not None:
        fix = "delete it, and the same command draws it again"
        raise StoreError(f"{out.where(bad)} is damaged: a checksum does not match", "PNG files as they were drawn", fix)
    sizes = {name: png_size(out.file(name)) for name in there}
    other = next((name for name in there if sizes[name] != sizes[there[0]]), None)
    if other is not None:
        (width, height), (w, h) = sizes[other], sizes[there[0]]
        came = f"{out.where(other)} has {width} x {height} pixels, {there[0]} {w} x {h}"
        raise StoreError(came, "pictures of one size, as they were drawn", "delete the one that is not as it was drawn")


def units(jobs: Sequence[Job], specs: Sequence[MethodSpec], batch_size: int, part: Part = WHOLE) -> list[Unit]:
    """What there is to draw, in order; of a part, its share."""
    batches = [tuple(jobs[start : start + batch_size]) for start in range(0, len(jobs), batch_size)]
    return part.take([Unit(i, spec.label, batch) for i, spec in enumerate(specs) for batch in batches])


def run_settings(pipeline: Pipeline, prompts: Sequence[Prompt], config: GenerateConfig) -> dict[str, Any]:
    """Everything that a picture depends on but its seed and its method: plain data, no path, no number of a device."""
    texts = [prompt.text for prompt in prompts]
    return {
        "pipeline": {
            "name": public_name(pipeline.name),
            "family": pipeline.family.name,
            "device": str(pipeline.device).partition(":")[0],
            "dtype": str(pipeline.dtype).removeprefix("torch."),
            "denoiser": weights_digest(pipeline.denoiser),
            **({"changes": pipeline.changes} if pipeline.changes else {}),
        },
        "prompts": {"count": len(texts), "fingerprint": fingerprint({"prompts": texts})},
        "sampling": asdict(Sampling.of(config).resolve(pipeline.family, pipeline.default_size)),
        PARTS: pipeline.parts(),
    }


def settle(out: Store, settings: dict[str, Any], methods: dict[str, dict[str, Any]], files: Sequence[str]) -> None:
    """Refuse a folder of other settings; else write pictures.json, with the methods it had before.

    Several processes may do so at once: what is written is read again.

    Args:
        methods: label -> what the label does not tell (`NoiseMethod.describe`).
        files: that will be drawn.

    Raises:
        InputError: the folder holds another kind of work.
        ConfigError: both fingerprints and what differs; files of the same names that are none of such a run.
    """
    refuse_other(out, PICTURES)
    out.edit(FILE, lambda: _settled(out, settings, methods, files))
    _settled(out, settings, methods, files)


def _settled(
    out: Store, settings: dict[str, Any], methods: dict[str, dict[str, Any]], files: Sequence[str]
) -> str | None:
    """What pictures.json is to say; None where it does."""
    path = out.file(FILE)
    if not path.is_file():
        there = out.names()
        strange = [name for name in (*files, *_BESIDE) if name in there]
        if strange:
            raise ConfigError(f"{out} holds {strange[0]} without {FILE}", "pictures whose settings are known", _NEW)
        return _text(settings, methods)
    there = _read(path)
    old, before = there["settings"], there["methods"]
    settings, methods = as_recorded(settings, old), as_recorded(methods, before)
    changes = differences(old, settings)
    changes += [f"method {change}" for change in differences(before, methods, [m for m in methods if m in before])]
    refuse_changes(out, changes, old, settings)
    if there.get("fingerprint") != fingerprint(old):
        raise ConfigError(f"the settings in {path} were changed after writing", "those of its pictures", _NEW)
    return _text(old, {**before, **methods}) if set(methods) - set(before) else None


def _text(settings: dict[str, Any], methods: dict[str, dict[str, Any]]) -> str:
    return json.dumps({"fingerprint": fingerprint(settings), "settings": settings, "methods": methods}, indent=1) + "\n"


def _read(path: AnyFile) -> dict[str, Any]:
    data = read_json(path, fix=_NEW)
    wrong = [name for name in ("settings", "methods") if not isinstance(data.get(name), dict)]
    if wrong:
        raise ConfigError(f"{path} is damaged: {wrong[0]} is {data.get(wrong[0])!r:.60}", "an object", _NEW)
    return data
