"""How the work of a command is shared, as the user says it."""

from __future__ import annotations

from dataclasses import dataclass

from noiseprompt.core.arguments import told
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.part import Part, parse_part
from noiseprompt.core.ranges import NAMED, NOT_NEGATIVE, Limits, check, setting

LOCAL, RAY = "local", "ray"

WORKERS = Limits(least=1, most=1024)


@told
@dataclass(frozen=True)
class Sharing:
    """How the work is shared with other processes. Whatever is chosen, the files are the same.

    Args:
        part: "I/N", I from 1 to N: this process makes that part alone, others make the others; or "auto", as Slurm
            numbers the tasks of an array and torchrun its processes. Without parts, all processes that run the same
            command on one folder share what there is to do.
        engine: "local" starts --workers processes on this machine, one for each GPU if there are several; "ray" as many
            actors on a Ray cluster (pip install "noiseprompt[ray]").
        workers: of the engine; as many as there are GPUs unless given.
        gpus_per_worker: of "ray"; 1 where the cluster has any, unless given. 0.5 puts two on one GPU.
        ray_address: of the cluster, such as "auto" (the one that runs here) or "ray://HOST:10001"; RAY_ADDRESS unless
            given, else a cluster on this machine for the time of the command.

    Raises:
        ConfigError: out of range, or of an engine that is not chosen.
        InputError: as `parse_part`.
    """

    part: str | None = None
    engine: str = setting("", Limits(words=("", LOCAL, RAY)))
    workers: int | None = setting(None, WORKERS)
    gpus_per_worker: float | None = setting(None, NOT_NEGATIVE)
    ray_address: str | None = setting(None, NAMED)

    def __post_init__(self) -> None:
        check(self)
        of_ray = [name for name in ("gpus_per_worker", "ray_address") if getattr(self, name) is not None]
        if of_ray and self.engine != RAY:
            raise ConfigError(f"{' and '.join(of_ray)} without engine ray", "settings of that engine alone")
        if self.workers is not None and not self.engine:
            raise ConfigError(f"workers {self.workers} without an engine", "--engine local or --engine ray")
        parse_part(self.part)

    @property
    def chosen(self) -> Part:
        """The part that this process, or its engine, makes."""
        return parse_part(self.part)
