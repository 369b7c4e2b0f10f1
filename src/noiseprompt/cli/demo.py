"""`noiseprompt demo`: from the shipped world and NPNet to pictures and a measured table, in minutes on two cores."""

from __future__ import annotations

import time
from pathlib import Path

from noiseprompt.cli import commands, evaluating
from noiseprompt.cli.progress import conducted, say, say_next
from noiseprompt.core.errors import InputError
from noiseprompt.core.files import make_folder, replace
from noiseprompt.core.ranges import COUNT, check_value
from noiseprompt.prompts import load_prompts
from noiseprompt.shapes.world import TEST_PROMPTS

METHODS = "standard,redenoise,npnet"


def demo(out: Path = Path("demo"), n: int = 200) -> None:
    """Draw a dozen held-out prompts with three methods side by side, then evaluate the three on `n` held-out prompts.

    The prompts are the first of the world's test split and the seeds are fixed: nothing is picked.

    Args:
        out: folder for pictures and report.
        n: prompts of the evaluation.
    """
    started = time.time()
    check_value("--n", int, n, COUNT)
    dozen = out / "prompts.txt"
    make_folder(out)
    text = "".join(f"{p.text}\n" for p in load_prompts(TEST_PROMPTS, limit=12).prompts)
    if dozen.is_file() and dozen.read_bytes() != text.encode():
        raise InputError(f"{dozen} is there and holds other prompts", "a new folder", "choose another --out")
    replace(dozen, text)
    say(f"demo: 12 prompts drawn by 3 methods, {n} more evaluated, into {out}; minutes on two cores, fewer with --n 20")
    with conducted():
        commands.generate(str(dozen), out / "pictures", methods=METHODS, seeds="0")
        evaluating.evaluate(out / "evaluation", methods=METHODS, n=n)
    print(f"side by side: {out / 'pictures' / 'grid.png'}")
    print(f"report:       {out / 'evaluation' / 'report.html'}")
    print(f"{time.time() - started:.0f} s in all")
    say_next('noiseprompt generate "two red circles" --out out, or README: three lines of Python for your own model')
