"""The command line: options, progress, and commands that load, run one stage and print; `score`; `demo`."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> int:
    """Entry point: runs one command, as `start.main` does. Ctrl-C before and after that is told in one line too.

    Args:
        arguments: the words after "noiseprompt", those of the process unless given.

    Returns:
        the exit status, as of `start.main`.
    """
    try:
        from noiseprompt.cli.start import main as start

        return start(arguments)
    except KeyboardInterrupt as stop:  # also before `start` listens, and after
        import os

        os.write(2, b"noiseprompt: stopped; the same command continues where it was\n")
        return getattr(stop, "status", 130)
