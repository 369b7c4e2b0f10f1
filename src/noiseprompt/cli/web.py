"""`noiseprompt web`: a page in the browser, on this machine unless told otherwise."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from noiseprompt.cli.net import account
from noiseprompt.core.errors import MissingDependencyError
from noiseprompt.core.ranges import Limits, check_value
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.pipelines.options import ModelOptions

PORTS = Limits(least=1, most=65535)
QUEUE = Limits(least=1, most=1000)


def web(
    models: list[str] | None = None,
    methods: str | None = None,
    scorers: list[str] | None = None,
    reports: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    queue: int = 16,
    loading: ModelOptions | None = None,
) -> None:
    """A page in the browser: draw with several methods from the same seeds, compare them, look at the noise.

    Args:
        models: that visitors may choose from, folders, hub ids or "shapes"; the first is loaded at the start. The
            embedded world unless given.
        methods: that visitors may choose from, with options, or "all"; those that take no longer than a few pictures
            unless given.
        scorers: that judge the pictures; the world's own unless given, none for other models.
        reports: folder whose evaluations may be opened.
        host: address to serve at; 0.0.0.0 is every network of this machine, without a password.
        port: of the address.
        queue: requests that may wait; more are refused.
    """
    check_value("--port", int, port, PORTS)
    check_value("--queue", int, queue, QUEUE)
    try:
        from noiseprompt.web import page, serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("gradio", "gradio_client"):
            raise
        came = "the page needs the package gradio, which is not installed"
        raise MissingDependencyError(came, "", 'install it: pip install "noiseprompt[web]"') from error
    from noiseprompt.pipelines.loading import silence
    from noiseprompt.pipelines.options import ModelOptions
    from noiseprompt.web.desk import Desk
    from noiseprompt.web.folders import Reports
    from noiseprompt.web.studio import Studio

    serve.check_address(host, port)
    silence()
    studio = Studio(models or [world.NAME], methods, scorers, loading or ModelOptions())
    desk = Desk(studio, Reports(reports), lambda error: account(error, "noiseprompt web"))
    print(f"loading {studio.models[0]} ...", flush=True)
    with serve.serving(page.build(desk), desk, host, port, queue) as address:
        print(f"noiseprompt is at {address} (Ctrl-C ends it)", flush=True)
        wait()


def wait() -> None:
    """Until a signal ends it."""
    threading.Event().wait()
