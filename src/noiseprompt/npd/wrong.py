"""What is wrong with a shard, in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa

from noiseprompt.core.errors import ConfigError, StoreError
from noiseprompt.core.places import is_pointer, no_file

AGAIN = "delete what is there and run the same collect command again: it refills the gap"
RESTORE = "if it cannot be restored, delete this file and run the same collect command again: it refills the gap"

_OUT_OF_REACH = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE)
"""What a system says that tells nothing of what is in a file."""


def difference(came: pa.Schema, expected: pa.Schema) -> tuple[str, str]:
    """What is wrong with the columns of a shard, and what was expected."""
    names = {one.name: one.type for one in came}
    lacking = [one.name for one in expected if one.name not in names]
    surplus = [name for name in names if name not in expected.names]
    if lacking or surplus:
        parts = [f"{word} {', '.join(found)}" for word, found in (("no", lacking), ("also", surplus)) if found]
        return f"{' and '.join(parts)} among its columns", f"{', '.join(expected.names)}"
    other = next((one for one in expected if names[one.name] != one.type), None)
    if other is not None:
        return f"{names[other.name]} in the column {other.name}", f"{other.type}"
    loose = [one.name for one in came if one.nullable and not expected.field(one.name).nullable]
    if loose and came.names == expected.names:
        return f"the column {loose[0]} with empty values allowed", "a value in each row"
    return f"its columns in the order {', '.join(came.names)}", f"{', '.join(expected.names)}"


def unread(path: str, error: Exception) -> StoreError:
    """The refusal of a shard that cannot be read: damaged, or out of reach and maybe whole."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _OUT_OF_REACH:
        came = f"cannot read {path}: {os.strerror(number)}"
        return StoreError(came, "a file that this process may read", "it may be whole: leave it where it is")
    if os.path.lexists(path) and not os.path.isfile(path):
        return StoreError(
            no_file(Path(path)), "a whole Arrow IPC shard", f"put the shard back in its place, or {AGAIN}"
        )
    if os.path.isfile(path) and is_pointer(Path(path)):
        came = f"{path} holds no pairs, only the note of Git LFS where they are"
        return StoreError(came, "the shard itself", "run `git lfs pull`, or download it again")
    if isinstance(error, KeyError):
        return StoreError(f"the settings in {path} do not tell {error.args[0]}", "those of its run", RESTORE)
    if isinstance(error, ConfigError):
        return StoreError(f"the settings in {path} tell {error.came}", error.expected, RESTORE)
    return StoreError(f"{path} is damaged: {error}", "a whole Arrow IPC shard", RESTORE)


def twice(pair: str, one: str, other: str, folder: object) -> StoreError:
    """The refusal of a pair that is there twice.

    Args:
        pair: its id.
        one, other: the shards that hold it, or the one.
        folder: of the data set.
    """
    there = f"twice in {one}" if one == other else f"in {one} and in {other}"
    fix = "restore that shard" if one == other else "take the copied shard away"
    return StoreError(
        f"pair {pair} is {there} of {folder}", "each pair once", f"see `noiseprompt npd verify`, and {fix}"
    )
