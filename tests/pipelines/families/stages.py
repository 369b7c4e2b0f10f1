"""The four commands a user types, run on a folder with a tiny pipeline, with a scorer that costs nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from noiseprompt.cli import main
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet
from noiseprompt.scorers.table import SCORERS

PROMPTS = [f"{count} {colour} cube" for count in ("a", "two", "1", "2") for colour in ("red", "blue", "green")]
NET = {"svd_hidden": 4, "svd_wide": 8, "svd_heads": 2, "swin_width": 8, "swin_depths": [1, 1], "swin_heads": [1, 2]}


class Brightness:
    """Mean of an image's pixels, 0 to 255."""

    name = "brightness"

    def score(self, images: np.ndarray, prompts: Sequence) -> np.ndarray:
        return images.reshape(len(images), -1).mean(1).astype(np.float64)


def run_stages(
    model: Path, out: Path, family: str, *, options: Sequence[str] = (), size: tuple[int, int] | None = None, net=NET
) -> NPNet:
    """collect, train, generate and evaluate with `--model model`; asserts what each leaves behind.

    Args:
        family: name that the network must carry.
        options: of all commands that load the model, e.g. a control image.
        size: height and width in pixels; the model's own if None.

    Returns:
        the trained network.
    """
    if "brightness" not in SCORERS:
        SCORERS.register("brightness", Brightness)
    prompts = out / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS))
    pixels = [] if size is None else [f"--height={size[0]}", f"--width={size[1]}"]
    common = [f"--model={model}", "--device=cpu", *options]
    scorer = ["--scorers+", "brightness"]

    npd = [
        f"--prompts={prompts}",
        f"--out={out / 'npd'}",
        "--num_inference_steps=2",
        "--batch_size=6",
        "--shard_size=6",
    ]
    assert main(["collect", *common, *npd, *scorer, *pixels]) == 0
    data = Npd(out / "npd")
    pairs = [data[i] for i in range(len(data))]
    assert len(data) == len(PROMPTS) and not any(pair.rejected for pair in pairs)
    assert min(float(np.abs(pair.target - pair.source).max()) for pair in pairs) > 1e-4, "re-denoise moves every noise"

    sizes = ["--sizes", json.dumps(net), "--epochs=1", "--batch_size=4", "--validation_share=0.3", "--warmup_steps=1"]
    assert main(["train", *common, f"--npd={out / 'npd'}", f"--out={out / 'npnet'}", *sizes]) == 0
    trained = NPNet.from_pretrained(out / "npnet" / "best")
    assert trained.config.family == family and trained.config.latent_shape == data.latent_shape

    methods = f"standard,redenoise,npnet:path={out / 'npnet' / 'best'}"
    drawing = ["--num_inference_steps=2", f"--methods={methods}", *pixels]
    assert main(["generate", "two red cube", *common, f"--out={out / 'images'}", "--seeds=0-1", *drawing]) == 0
    run = json.loads((out / "images" / "run.json").read_text())
    assert run["family"] == family and len(run["images"]) == 2 * 3
    pictures = [Image.open(out / "images" / image["file"]) for image in run["images"]]
    assert len({picture.size for picture in pictures}) == 1
    if size is not None:
        assert pictures[0].size == size[::-1]

    assert (
        main(["evaluate", *common, f"--prompts={prompts}", f"--out={out / 'evaluation'}", "--n=2", *drawing, *scorer])
        == 0
    )
    results = [json.loads(line) for line in (out / "evaluation" / "results.jsonl").read_text().splitlines()]
    assert len(results) == 2 * 3 and (out / "evaluation" / "report.html").exists()
    return trained
