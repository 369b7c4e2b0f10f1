"""Which shards of a data set are there, which somebody makes just now, and which are still to be made."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import NoisepromptWarning
from noiseprompt.core.store import Store
from noiseprompt.core.stores import store_to_read
from noiseprompt.npd.claim import PRESENT, read_claim
from noiseprompt.npd.format import CLAIM_FILE, shard_name, shard_numbers

UNIT = "shard-{:06d}"
"""The unit of the lease on a shard."""


@dataclass(frozen=True)
class State:
    """The shards of a folder by number.

    Fields:
        committed: that are there; of these the last may be short.
        leased: shard -> who makes it, in words; one that is there is being filled up.
        missing: neither there nor leased, of those the collection is to have in the end.
        planned: how many that is; where no collection told, as many as there are.
        writers: how many processes collect.
    """

    committed: tuple[int, ...]
    leased: dict[int, str]
    missing: tuple[int, ...]
    planned: int
    writers: int

    def __str__(self) -> str:
        parts = [f"{len(self.committed)} of {self.planned} shards are there"]
        if self.leased:
            parts.append(f"{len(self.leased)} in work ({_names(self.leased)} by {next(iter(self.leased.values()))})")
        if self.missing:
            parts.append(
                f"{len(self.missing)} to be made ({_names(self.missing)}): the same collect command makes them"
            )
        return ", ".join(parts)


def state(folder: str | Path) -> State:
    """As it is now; leases of processes that are known to have ended do not count. A damaged plan is told."""
    store = store_to_read(folder)
    warn_claim(store)
    return state_of(store)


def warn_claim(store: Store, settings: Mapping[str, Any] | None = None) -> None:
    """Tell that what was planned is damaged, or of another data set: what is missing then stays unknown.

    Args:
        settings: of the shards.
    """
    if CLAIM_FILE not in store.names():
        return
    said = read_claim(store)
    wrong = "" if said else "cannot be read, or is damaged"
    if said and settings is not None and said["settings"].keys() != settings.keys():
        wrong = "is of another data set"
    if wrong:
        told = f"{store.where(CLAIM_FILE)} {wrong}: how many shards were planned is not known"
        warnings.warn(f"{told}. The same collect command writes it again", NoisepromptWarning, stacklevel=3)


def state_of(store: Store) -> State:
    """As `state`."""
    holders = {unit: holder for unit, holder in store.leases().holders().items() if not holder.ended}
    numbers, said = shard_numbers(store), read_claim(store)
    planned = max([said.get("shards", 0), *(number + 1 for number in numbers)])
    units = {UNIT.format(number): number for number in range(planned)}
    leased = {units[unit]: str(holder) for unit, holder in sorted(holders.items()) if unit in units}
    missing = sorted({*range(planned)} - {*numbers} - {*leased})
    writers = sum(unit.startswith(PRESENT) for unit in holders)
    return State(tuple(numbers), leased, tuple(missing), planned, writers)


def gaps(store: Store, numbers: list[int]) -> dict[str, str]:
    """The shards that are missing before the last one: name of the file -> " (process 7 on HOST makes it)" or ""."""
    lacking = sorted({*range(numbers[-1])} - {*numbers})
    leased = state_of(store).leased if lacking else {}
    return {shard_name(number): f" ({leased[number]} makes it)" if number in leased else "" for number in lacking}


def _names(numbers: dict[int, str] | tuple[int, ...]) -> str:
    names = [UNIT.format(number) for number in numbers]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
