"""Parts by hand, by Slurm and by torchrun."""

from __future__ import annotations

import re
from typing import Any

import pytest

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.part import Part, parse_part


def test_parts_cover_everything_once() -> None:
    for of in range(1, 6):
        parts = [parse_part(f"{number}/{of}") for number in range(1, of + 1)]
        assert sorted(k for part in parts for k in range(17) if k in part) == list(range(17))
        assert sorted(k for part in parts for k in part.take(range(17))) == list(range(17))
        assert all(part.take(range(17)) == [k for k in range(17) if k in part] for part in parts)
    assert parse_part(None).whole and parse_part(" 2 / 8 ") == Part(2, 8) and str(Part(2, 8)) == "2/8"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "0/0", "-1/4", "1", "a/b", "", "1/2/3", "1.0/2", "Auto", "٣/4"])
def test_what_is_out_of_range_or_no_part_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="I from 1 to N"):
        parse_part(text, {})


@pytest.mark.parametrize(("number", "of"), [(1.5, 2), ("1", 2), (1, 2.0), (1, True)])
def test_a_part_is_made_of_whole_numbers(number: Any, of: Any) -> None:
    with pytest.raises(ConfigError, match=r"the number of .*Expected a whole number"):
        Part(number, of)


def test_numbers_of_parts_have_an_end() -> None:
    with pytest.raises(InputError, match="each of at most 9 digits"):
        parse_part("1/9999999999", {})


SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        (SLURM, "3/4"),
        ({**SLURM, "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_ID": "0"}, "1/4"),
        ({**SLURM, "SLURM_ARRAY_TASK_STEP": "2"}, "2/4"),  # --array=5-11:2
        ({"RANK": "0", "WORLD_SIZE": "2"}, "1/2"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "2/2"),
        ({**SLURM, "RANK": "1", "WORLD_SIZE": "2"}, "6/8"),
    ],
)
def test_auto_counts_from_one(environment: dict[str, str], part: str) -> None:
    assert str(parse_part("auto", environment)) == part


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "RANK and WORLD_SIZE"),
        ({"RANK": "1"}, "RANK and WORLD_SIZE"),
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "9"}, "numbers in a row"),
        ({**SLURM, "SLURM_ARRAY_TASK_STEP": "3"}, "numbers in a row"),
        ({**SLURM, "SLURM_ARRAY_TASK_STEP": "0"}, "numbers in a row"),
        ({"SLURM_ARRAY_TASK_ID": "9"}, "SLURM_ARRAY_TASK_MIN=''"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK='x'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "with RANK=2 and WORLD_SIZE=2 in the environment"),
    ],
)
def test_auto_where_nothing_numbers_the_process(environment: dict[str, str], told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        parse_part("auto", environment)
