"""The command line: options, progress, and commands that load, run one stage and print; `score`; `demo`."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> int:
    """Entry point: runs one command, as `start.main` does. Ctrl-C before that is told in one line too; after it, while
    Python takes down what was imported, it ends the process without a word.

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
    finally:
        if arguments is None:  # the process ends with this
            import signal

            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
