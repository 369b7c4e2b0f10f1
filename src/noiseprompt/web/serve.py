"""The server: one address, one queue, and a policy by which the browser itself fetches nothing from elsewhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported: it asks home about versions

import gradio as gr
import httpx
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.web.desk import Desk

HERE = Path(__file__).parent

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; frame-ancestors 'self'; form-action 'self'"
)
"""Of the page: its own address and what lies inside it."""

REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""Of a report, which needs no script."""

THEME = gr.themes.Base(
    primary_hue="teal",
    secondary_hue="teal",
    neutral_hue="stone",
    radius_size="md",
    font=["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "sans-serif"],
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
).set(  # Gradio's own are too faint to read: at least 4.5 to 1 here
    color_accent="*primary_700",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    button_primary_text_color="white",
    checkbox_background_color_selected="*primary_700",
    checkbox_border_color_selected="*primary_700",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    block_title_text_color="*neutral_700",
    block_title_text_color_dark="*neutral_200",
)

LAUNCH: dict[str, Any] = {
    "theme": THEME,
    "css_paths": [HERE / "page.css"],
    "head_paths": [HERE / "page.html"],
    "footer_links": [],
    "run_history": False,
    "enable_monitoring": False,
    "max_file_size": "1kb",  # nothing is uploaded
    "state_session_capacity": 100,
    "ssr_mode": False,
    "mcp_server": False,
    "pwa": False,
}
"""How the page is launched anywhere."""


def check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be served.

    Raises:
        InputError: the host is none of this machine's, or the port is taken or not allowed.
    """
    host = host.strip("[]")  # of an IPv6 address
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host!r} is no address", "127.0.0.1, or 0.0.0.0 for every network") from error
    with socket.socket(kind, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            came = f"cannot serve at {host}:{port} ({error.strerror})"
            raise InputError(
                came, "a free port of this machine", f"try --port {port + 1 if port < 65535 else 7860}"
            ) from error


def launch_anywhere(page: gr.Blocks, desk: Desk, queue: int = 16) -> None:
    """The page at the address that the environment names, as on a Space of the Hub; returns when it ends."""
    _limit(page, queue)
    page.launch(**LAUNCH, app_kwargs={"routes": _routes(desk)})


def _limit(page: gr.Blocks, queue: int) -> None:
    """So many clicks may wait; Gradio keeps what was said to visitors who left: to about as many, not to 2,000."""
    page.queue(max_size=queue, default_concurrency_limit=4)
    said = getattr(page._queue, "pending_messages_per_session", None)
    if hasattr(said, "max_size"):
        said.max_size = 2 * (queue + 8)  # type: ignore[union-attr]


@contextmanager
def serving(page: gr.Blocks, desk: Desk, host: str, port: int, queue: int) -> Iterator[str]:
    """The page at its address while it lasts; gives the address.

    Args:
        queue: requests that may wait; more are refused with a word.

    Raises:
        InputError: the address cannot be served.
    """
    host = host.strip("[]")
    check_address(host, port)
    _past_proxies(host)
    _limit(page, queue)
    extra: Any = {"routes": _routes(desk), "middleware": [Middleware(_Policy)]}
    try:
        _, address, _ = page.launch(
            **LAUNCH,
            server_name=f"[{host}]" if ":" in host else host,
            server_port=port,
            share=False,
            quiet=True,
            inbrowser=False,
            prevent_thread_lock=True,
            app_kwargs=extra,
        )
    except (OSError, ValueError, httpx.HTTPError) as error:  # taken meanwhile, or a firewall before its own address
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"cannot serve at {host}:{port} ({reason})", "a port that this machine reaches") from error
    try:
        yield address
    finally:
        page.close(verbose=False)


def _past_proxies(host: str) -> None:
    """Gradio asks its own server whether it is there: no proxy stands between a machine and itself."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [part for part in os.environ.get(name, "").split(",") if part]
        os.environ[name] = ",".join(dict.fromkeys([*known, "localhost", "127.0.0.1", "::1", host]))


def _routes(desk: Desk) -> list[Route]:
    """What is served beside the page itself."""
    return [Route("/report", _report(desk)), Route("/picture", _picture(desk))]


def _picture(desk: Desk) -> Any:
    """The route of a picture of the album."""

    async def answer(request: Request) -> Response:
        data = desk.album.get(request.query_params.get("name", ""))
        if data is None:
            return Response("this picture is not here any more", 404, media_type="text/plain")
        return Response(data, 200, {"Cache-Control": "private, max-age=3600, immutable"}, "image/png")

    return answer


def _report(desk: Desk) -> Any:
    """The route of a report: HTML that may do nothing; a word where there is none."""

    async def answer(request: Request) -> HTMLResponse:
        try:
            body = await run_in_threadpool(desk.reports.page, request.query_params.get("name", ""))
            status = 200
        except NoisepromptError as error:
            body, status = f"<!DOCTYPE html><title>No report</title><p>{escape(str(error))}</p>", 404
        return HTMLResponse(body, status, {"Content-Security-Policy": REPORT_POLICY})

    return answer


class _Policy:
    """Adds the policy to every answer that has none of its own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                own = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
                own += [] if b"content-security-policy" in names else [(b"content-security-policy", POLICY.encode())]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        await self.app(scope, receive, with_policy)
