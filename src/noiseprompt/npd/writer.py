"""A writer that has a noise prompt data set (NPD) to itself and takes pairs as they come.

Those who share one, each making other shards of a plan, are `npd/sharing.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseprompt.core.arguments import held, told
from noiseprompt.core.errors import StoreError, StoreLockedError
from noiseprompt.core.types import ScoredPair
from noiseprompt.npd.claim import Claim
from noiseprompt.npd.format import shard_numbers
from noiseprompt.npd.home import Home, Writer


@told
class NpdWriter(Writer):
    """The one writer of a folder. Use it as a context manager; leaving it commits what was added.

    Args:
        folder: made if missing; continued if it was made with the same settings.
        settings: everything that decides what the pairs are; `settings["scorers"]` names the scorers, in order.
        latent_shape: (C, H, W) of one noise.
        store_source: keep the source noise too instead of regenerating it from its seed; doubles the size.
        shard_size: pairs a shard.
        recorded: what the user calls a setting -> its name in `settings`, where they differ; for messages.

    A shard that is short (the last one, or one committed early by `flush`) is filled up before the next begins, and a
    missing shard is written again, so that the files depend only on the pairs and their order.

    Raises:
        StoreLockedError: another process writes to the folder.
        ConfigError: the folder was made with other settings.
        StoreError: a shard is damaged (of a short one every byte is checked), or the folder cannot be written.
    """

    @held
    def __init__(
        self,
        folder: str | Path,
        settings: dict[str, Any],
        latent_shape: Sequence[int],
        *,
        store_source: bool = False,
        shard_size: int = 64,
        recorded: Mapping[str, str] | None = None,
    ) -> None:
        self._home = Home(
            folder, settings, latent_shape, store_source=store_source, shard_size=shard_size, recorded=recorded
        )
        self.folder, self.shard_size = self._home.folder, shard_size
        self._claim, self._closed = Claim(self._home), False
        self._claim.alone()
        try:
            self._home.refresh()
            self._next()
        except BaseException:
            self.close()
            raise

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that is recorded in each shard."""
        return self._home.settings

    @property
    def done(self) -> set[str]:
        """Ids of the pairs added, those committed earlier included."""
        return {*self._home.homes}

    @property
    def kept(self) -> Counter[str]:
        """Scorer -> number of pairs whose target scores higher than their source."""
        return self._home.kept

    @property
    def rejected(self) -> int:
        """How many pairs have no target."""
        return self._home.rejected

    @property
    def room(self) -> int:
        """How many pairs the current shard still takes."""
        return self._shard.room

    @held
    def add(self, pair: ScoredPair) -> None:
        """Take a pair; the shard is committed when it is full.

        Raises:
            StoreError: the id is there already, the pair is incomplete, the disk is full, or the writer is closed.
            InputError: a field of another kind.
            ShapeError: noise of another shape.
        """
        self._open()
        self._shard.add(pair)
        if not self.room:
            self.flush()
            self._shard.close()
            self._next()

    def flush(self) -> None:
        """Commit what was added, as a short shard if need be.

        Raises:
            StoreError: the disk is full; nothing committed is lost.
            StoreLockedError: another process took over, as in object storage from one that was suspended for long.
        """
        self._open()
        if not self._shard.flush():
            came = f"another process has written the same shard of {self.folder} meanwhile"
            raise StoreLockedError(came, "one writer a folder", "begin again: what it wrote is there")

    def close(self) -> None:
        """Release the folder without committing; nothing can be added then."""
        self._closed = True
        self._claim.free()

    def _open(self) -> None:
        """Refuse a writer that is closed: it has no right to the folder any more."""
        if self._closed:
            raise StoreError(f"a pair for {self.folder} after its writer was closed", "a writer that is open")

    def _next(self) -> None:
        numbers = shard_numbers(self._home.store)
        full = {n for n, tally in self._home.tallies.items() if len(tally.ids) >= self.shard_size}
        number = next(n for n in range(max(numbers, default=-1) + 2) if n not in full)
        self._shard = self._home.open(number)
