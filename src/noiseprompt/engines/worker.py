"""A process of the engine "local": python -m noiseprompt.engines.worker

A job comes as one line of JSON on standard input, reports go as lines of JSON to standard output. The end of standard
input asks it to finish the batch at hand, commit and end; it comes too when the process that started it dies.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
import warnings
from typing import Any

from noiseprompt.core.errors import NoisepromptError, NoisepromptWarning
from noiseprompt.engines.job import Job


def main() -> None:
    """Do the job; what goes wrong is reported, too."""
    for number in {"SIGINT", "SIGHUP"} & set(dir(signal)):  # Ctrl-C, and a terminal that closes, are for who started it
        signal.signal(getattr(signal, number), signal.SIG_IGN)
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no report

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=reports, flush=True)

    def warned(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, NoisepromptWarning):
            tell(warning=str(message))

    job, stop = Job(**json.loads(_line())), threading.Event()
    threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", NoisepromptWarning)
    warnings.showwarning = warned
    try:
        for report in job.work(stop.is_set):
            tell(report=report)
        tell(ended=True)
    except NoisepromptError as error:
        tell(error=str(error))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        tell(error=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")


def _line() -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            break
        data += more
    return data


def _wait_for_end(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()


if __name__ == "__main__":
    main()
