"""What a stage asks of the processes that run it together. Alone by default; `engines/processes.py` joins several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Processes:
    """One process that runs a stage alone.

    Attributes:
        rank: of this process, from 0; the one of rank 0 is the main one.
        size: how many there are.
    """

    rank = 0
    size = 1

    @property
    def main(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def once(self, act: Callable[[], Any]) -> Any:
        """What `act` gives in the main process, plain data, for all; the others wait for it, however long it takes.

        Raises:
            ProcessLostError: another process failed or ended meanwhile.
        """
        return act()

    def sum(self, values: torch.Tensor) -> None:
        """Put the sum over all processes, the same to the last bit in each, in place of the values.

        Raises:
            ProcessLostError: another process failed or ended meanwhile.
        """


ALONE = Processes()
