"""What is wrong with the columns of a shard, in words."""

from __future__ import annotations

import pyarrow as pa


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
    return f"its columns in the order {', '.join(came.names)}, or empty ones allowed", f"{', '.join(expected.names)}"
