"""The page of `noiseprompt web`: its picture for the documentation, and what many visitors at once do to it.

python benchmarks/web.py picture [--out docs/web.png]      needs Playwright and a Chromium
python benchmarks/web.py load [--visitors 50] [--rounds 6]  requests accepted and refused, memory before and after
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUEUE = 16
FIELDS = ["shapes", "a red circle above a blue square", ["npnet"], 1, 3.5, 2, "0-3"]


@contextmanager
def served() -> Iterator[tuple[str, Any]]:
    """The page on the embedded world at a free port: its address and its blocks."""
    from noiseprompt.pipelines.loading import silence
    from noiseprompt.pipelines.options import ModelOptions
    from noiseprompt.web import page, serve
    from noiseprompt.web.desk import Desk
    from noiseprompt.web.folders import Reports
    from noiseprompt.web.studio import Studio

    silence()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    desk = Desk(Studio(["shapes"], None, None, ModelOptions()), Reports(None), repr)
    blocks = page.build(desk)
    with serve.serving(blocks, desk, "127.0.0.1", port, QUEUE) as address:
        yield address, blocks


def picture(out: Path, prompt: str, seeds: str) -> None:
    """The tab Draw after a click, 1,200 pixels wide."""
    from playwright.sync_api import sync_playwright

    with served() as (address, _), sync_playwright() as api:
        browser = api.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 800}, color_scheme="light")
        page.goto(address)
        page.get_by_label("Prompt").fill(prompt)
        page.get_by_label("Seeds").fill(seeds)
        page.click("#np-draw")
        page.wait_for_function(
            "/pictures, /.test(document.querySelector('#np-draw-status').innerText)", timeout=300_000
        )
        page.mouse.click(5, 5)
        page.wait_for_timeout(500)
        page.screenshot(path=out, full_page=True)
        browser.close()
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


def load(visitors: int, rounds: int) -> None:
    """`visitors` clicks on Draw at once: how many are taken, and the memory of the server once they are done."""
    with served() as (address, blocks):
        number = next(i for i, work in blocks.fns.items() if work.name == "draw")

        def click(visitor: int) -> int:
            data = {"data": FIELDS, "fn_index": number, "session_hash": f"visitor{visitor}"}
            url, head = f"{address}gradio_api/queue/join", {"Content-Type": "application/json"}
            try:
                with urllib.request.urlopen(urllib.request.Request(url, json.dumps(data).encode(), head)) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        click(-1)
        wait(blocks)
        before = memory()
        for round_ in range(rounds):
            started = time.perf_counter()
            with ThreadPoolExecutor(visitors) as pool:
                codes = list(pool.map(click, range(round_ * visitors, (round_ + 1) * visitors)))
            answered = time.perf_counter() - started
            wait(blocks)
            taken, refused = codes.count(200), codes.count(503)
            print(
                f"{visitors} at once: {taken} taken, {refused} refused, {visitors - taken - refused} lost, "
                f"all answered in {answered:.2f} s, drawn in {time.perf_counter() - started:.1f} s, "
                f"memory {(memory() - before) / 1e6:+.1f} MB over {before / 1e6:.0f} MB"
            )


def wait(blocks: Any) -> None:
    """Until nothing waits and nothing is drawn."""
    queue = blocks._queue
    time.sleep(1)
    while len(queue) or any(job for job in queue.active_jobs if job):
        time.sleep(0.2)


def memory() -> int:
    """Of this process, in bytes, as Linux tells it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("picture")
    one.add_argument("--out", type=Path, default=Path("docs/web.png"))
    one.add_argument("--prompt", default="a white triangle above a white ring")
    one.add_argument("--seeds", default="0-1")
    many = commands.add_parser("load")
    many.add_argument("--visitors", type=int, default=50)
    many.add_argument("--rounds", type=int, default=6)
    args = parser.parse_args()
    if args.command == "picture":
        picture(args.out, args.prompt, args.seeds)
    else:
        load(args.visitors, args.rounds)


if __name__ == "__main__":
    main()
