"""A part of the work of a command: "2/8" is the second of eight, by hand or as a scheduler numbers its tasks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import check_value

T = TypeVar("T")

AUTO = "auto"
_FORM = 'I/N with I from 1 to N, such as 2/8, or "auto"'


@dataclass(frozen=True)
class Part:
    """Every `of`-th unit of the work, beginning with unit `number - 1`; all of it unless said otherwise.

    Fields:
        number: from 1 to `of`.
        of: how many parts there are.

    Raises:
        ConfigError: no whole numbers.
        InputError: out of range.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        check_value("the number of a part", int, self.number)
        check_value("the number of parts", int, self.of)
        if not 1 <= self.number <= self.of:
            zero = "parts are counted from 1: add 1 to a number from 0" if self.number == 0 else ""
            raise InputError(f"part {self.number}/{self.of}", _FORM, zero)

    def __contains__(self, unit: int) -> bool:
        """Whether a unit, counted from 0, is in this part."""
        return unit % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def whole(self) -> bool:
        """Whether it is all there is."""
        return self.of == 1

    def take(self, units: Sequence[T]) -> list[T]:
        """The units of this part, in order."""
        return list(units[self.number - 1 :: self.of])


WHOLE = Part()


def parse_part(text: str | None, environment: Mapping[str, str] | None = None) -> Part:
    """The part that a text names: "I/N" with I from 1 to N, or "auto".

    "auto" is task SLURM_ARRAY_TASK_ID of an array (whatever number it begins with and steps by), process RANK of
    WORLD_SIZE of torchrun, or both together: the processes of each task are parts of its part.

    Args:
        text: None is the whole.
        environment: that of the process unless given.

    Raises:
        InputError: another form, out of range, or "auto" where nothing numbers the process.
    """
    check_value("part", str | None, text)
    if text is None:
        return WHOLE
    if text.strip() == AUTO:
        return _numbered(os.environ if environment is None else environment)
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    if match is None:
        few = ", each of at most 9 digits" if re.fullmatch(r"[0-9\s]+/[0-9\s]+", text) else ""
        raise InputError(f"part {text!r}", _FORM + few)
    return Part(int(match[1]), int(match[2]))


def _numbered(environment: Mapping[str, str]) -> Part:
    task, rank = _of_slurm(environment), _of_torchrun(environment)
    if task is None and rank is None:
        expected = "SLURM_ARRAY_TASK_ID (sbatch --array=1-8) or RANK and WORLD_SIZE (torchrun) in the environment"
        raise InputError('part "auto"', expected, "or say which one it is, as in --part 2/8")
    task, rank = task or WHOLE, rank or WHOLE
    return Part((task.number - 1) * rank.of + rank.number, task.of * rank.of)


def _of_slurm(environment: Mapping[str, str]) -> Part | None:
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    task = _number(environment, "SLURM_ARRAY_TASK_ID")
    first, count = _number(environment, "SLURM_ARRAY_TASK_MIN"), _number(environment, "SLURM_ARRAY_TASK_COUNT")
    step = _number(environment, "SLURM_ARRAY_TASK_STEP", 1)
    index, rest = divmod(task - first, max(step, 1))
    if not step or rest or not 0 <= index < count:
        came = f'part "auto" in task {task} of an array of {count} that begins with {first}'
        raise InputError(came, "numbers in a row, such as --array=1-8", "or say which one it is, as in --part 2/8")
    return Part(index + 1, count)


def _of_torchrun(environment: Mapping[str, str]) -> Part | None:
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    rank, size = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    if rank >= size:
        came = f'part "auto" with RANK={rank} and WORLD_SIZE={size} in the environment'
        raise InputError(came, "a rank below the size", "or say which one it is, as in --part 2/8")
    return Part(rank + 1, size)


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise InputError(
            f"{name}={text!r} in the environment",
            "a whole number of at most 9 digits",
            "say which part it is: --part 2/8",
        )
    return int(text)
