"""The pack's example workflows and their pictures, drawn from the few lines below: python integrations/workflows.py

comfyui/example_workflows/NAME.json    in ComfyUI's own format (0.4)
comfyui/example_workflows/NAME.jpg     the graph; ComfyUI shows it in its browser of templates
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).parent / "comfyui" / "example_workflows"

KINDS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "CheckpointLoaderSimple": ({}, {"MODEL": "MODEL", "CLIP": "CLIP", "VAE": "VAE"}),
    "CLIPTextEncode": ({"clip": "CLIP"}, {"CONDITIONING": "CONDITIONING"}),
    "EmptyLatentImage": ({}, {"LATENT": "LATENT"}),
    "RandomNoise": ({}, {"NOISE": "NOISE"}),
    "BasicScheduler": ({"model": "MODEL"}, {"SIGMAS": "SIGMAS"}),
    "KSamplerSelect": ({}, {"SAMPLER": "SAMPLER"}),
    "CFGGuider": (
        {"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING"},
        {"GUIDER": "GUIDER"},
    ),
    "SamplerCustomAdvanced": (
        {"noise": "NOISE", "guider": "GUIDER", "sampler": "SAMPLER", "sigmas": "SIGMAS", "latent_image": "LATENT"},
        {"output": "LATENT", "denoised_output": "LATENT"},
    ),
    "VAEDecode": ({"samples": "LATENT", "vae": "VAE"}, {"IMAGE": "IMAGE"}),
    "SaveImage": ({"images": "IMAGE"}, {}),
    "NoisepromptLoadNPNet": ({}, {"npnet": "NPNET"}),
    "NoisepromptNPNetNoise": (
        {"noise": "NOISE", "npnet": "NPNET", "conditioning": "CONDITIONING", "model": "MODEL", "sigmas": "SIGMAS"},
        {"noise": "NOISE"},
    ),
    "NoisepromptTrainingFreeNoise": (
        {
            "noise": "NOISE",
            "model": "MODEL",
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "sigmas": "SIGMAS",
        },
        {"noise": "NOISE"},
    ),
    "NoisepromptMixNoise": ({"first": "NOISE", "second": "NOISE"}, {"noise": "NOISE"}),
    "NoisepromptNoiseDoctor": (
        {"noise": "NOISE", "latent": "LATENT", "source": "NOISE", "model": "MODEL"},
        {"picture": "IMAGE", "figures": "STRING"},
    ),
}
"""Type of a node -> its sockets, inputs and outputs, each with its type."""

COLOURS = {
    "MODEL": "#b39ddb", "CLIP": "#ffd500", "VAE": "#ff6e6e", "CONDITIONING": "#ffa931", "LATENT": "#ff9cf9",
    "NOISE": "#b0b0b0", "SIGMAS": "#cdffcd", "SAMPLER": "#ecb4b4", "GUIDER": "#66ffff", "IMAGE": "#64b5f6",
    "NPNET": "#7ccf8a", "STRING": "#9fd49f",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One node of a graph.

    Fields:
        kind: of `KINDS`.
        place: column and row.
        widgets: their values, in ComfyUI's order.
        sockets: input -> (name of a node, output).
    """

    kind: str
    place: tuple[int, int]
    widgets: list[Any] = field(default_factory=list)
    sockets: dict[str, tuple[str, str]] = field(default_factory=dict)


Graph = dict[str, Node]

SEED = [0, "fixed"]  # and what ComfyUI does with it after a run
PROMPT = "a photo of a red fox on a blue bicycle, morning light"


def common(noise: str, steps: int = 30) -> Graph:
    """Text to image in ComfyUI's own nodes, with the noise of a node of that name."""
    model, clip = ("model", "MODEL"), ("model", "CLIP")
    sockets = {"noise": (noise, output_of(noise)), "guider": ("guider", "GUIDER"), "sampler": ("sampler", "SAMPLER")}
    sockets |= {"sigmas": ("sigmas", "SIGMAS"), "latent_image": ("latent", "LATENT")}
    conds = {"positive": ("prompt", "CONDITIONING"), "negative": ("negative", "CONDITIONING")}
    return {
        "model": Node("CheckpointLoaderSimple", (0, 0), ["sd_xl_base_1.0.safetensors"]),
        "latent": Node("EmptyLatentImage", (0, 1), [1024, 1024, 1]),
        "random": Node("RandomNoise", (0, 2), SEED),
        "prompt": Node("CLIPTextEncode", (1, 0), [PROMPT], {"clip": clip}),
        "negative": Node("CLIPTextEncode", (1, 1), [""], {"clip": clip}),
        "sigmas": Node("BasicScheduler", (1, 2), ["normal", steps, 1.0], {"model": model}),
        "sampler": Node("KSamplerSelect", (2, 1), ["euler"]),
        "guider": Node("CFGGuider", (2, 0), [5.5], {"model": model, **conds}),
        "sample": Node("SamplerCustomAdvanced", (3, 0), [], sockets),
        "decode": Node("VAEDecode", (3, 1), [], {"samples": ("sample", "output"), "vae": ("model", "VAE")}),
        "save": Node("SaveImage", (3, 2), ["noiseprompt"], {"images": ("decode", "IMAGE")}),
    }


def output_of(name: str) -> str:
    """Output of a noise: ComfyUI's own says NOISE, the pack's noise."""
    return "NOISE" if name == "random" else "noise"


def npnet_noise() -> Graph:
    """One pass of an NPNet."""
    noise = {"noise": ("random", "NOISE"), "npnet": ("npnet", "npnet"), "conditioning": ("prompt", "CONDITIONING")}
    noise |= {"model": ("model", "MODEL"), "sigmas": ("sigmas", "SIGMAS")}
    return {
        **common("better"),
        "npnet": Node("NoisepromptLoadNPNet", (1, 3), ["sdxl.pth", "default"]),
        "better": Node("NoisepromptNPNetNoise", (2, 2), [1.0, False, False, "truncate"], noise),
    }


def training_free() -> Graph:
    """Re-denoise on a grid of ten steps, whatever the sampler's."""
    noise = {"noise": ("random", "NOISE"), "model": ("model", "MODEL"), "sigmas": ("ten", "SIGMAS")}
    noise |= {"positive": ("prompt", "CONDITIONING"), "negative": ("negative", "CONDITIONING")}
    return {
        **common("better"),
        "ten": Node("BasicScheduler", (1, 3), ["normal", 10, 1.0], {"model": ("model", "MODEL")}),
        "better": Node("NoisepromptTrainingFreeNoise", (2, 2), ["re-denoise", 5.5, 1.0, 1.0, False], noise),
    }


def mix_and_look() -> Graph:
    """A variation between two seeds, and what its noise looks like."""
    latent, model = ("latent", "LATENT"), ("model", "MODEL")
    look = {"noise": ("better", "noise"), "latent": latent, "source": ("random", "NOISE"), "model": model}
    return {
        **common("better"),
        "other": Node("RandomNoise", (0, 3), [1, "fixed"]),
        "better": Node(
            "NoisepromptMixNoise", (2, 2), [0.25], {"first": ("random", "NOISE"), "second": ("other", "NOISE")}
        ),
        "look": Node("NoisepromptNoiseDoctor", (3, 3), [], look),
    }


WORKFLOWS = {"npnet_noise": npnet_noise, "training_free_noise": training_free, "mix_and_look": mix_and_look}

WIDTH, GAP, TITLE, SLOT = 300, 70, 30, 22
THUMBNAIL = (1100, 1100)
ROWS = (40, 260, 480, 740)


def box(node: Node) -> tuple[int, int, int, int]:
    """Left, top, width and height in ComfyUI's units."""
    slots = max(len(side) for side in KINDS[node.kind])
    column, row = node.place
    return 40 + column * (WIDTH + GAP), ROWS[row], WIDTH, SLOT * (slots + len(node.widgets)) + 12


def links(graph: Graph) -> list[list[Any]]:
    """[id, from, its output, to, its input, type], counted from 1 as ComfyUI counts."""
    ids, found = {name: i for i, name in enumerate(graph, 1)}, []
    for name, node in graph.items():
        inputs = KINDS[node.kind][0]
        for socket, (source, output) in node.sockets.items():
            outputs = KINDS[graph[source].kind][1]
            assert inputs[socket] == outputs[output], f"{name}.{socket} takes no {outputs[output]}"
            ends = [ids[source], list(outputs).index(output), ids[name], list(inputs).index(socket)]
            found.append([len(found) + 1, *ends, inputs[socket]])
    return found


def workflow(graph: Graph) -> dict[str, Any]:
    """What ComfyUI loads."""
    wires = links(graph)
    nodes = []
    for number, node in enumerate(graph.values(), 1):
        inputs, outputs = KINDS[node.kind]
        left, top, width, height = box(node)
        into = {wire[4]: wire[0] for wire in wires if wire[3] == number}
        out = {i: [wire[0] for wire in wires if wire[1] == number and wire[2] == i] for i in range(len(outputs))}
        nodes.append(
            {
                "id": number,
                "type": node.kind,
                "pos": [left, top],
                "size": [width, height],
                "flags": {},
                "order": number - 1,
                "mode": 0,
                "inputs": [{"name": n, "type": t, "link": into.get(i)} for i, (n, t) in enumerate(inputs.items())],
                "outputs": [{"name": n, "type": t, "links": out[i]} for i, (n, t) in enumerate(outputs.items())],
                "properties": {"Node name for S&R": node.kind},
                "widgets_values": node.widgets,
            }
        )
    counts = {"last_node_id": len(nodes), "last_link_id": len(wires)}
    return {**counts, "nodes": nodes, "links": wires, "groups": [], "config": {}, "extra": {}, "version": 0.4}


def picture(graph: Graph) -> Image.Image:
    """The graph, about as ComfyUI draws it."""
    boxes = [box(node) for node in graph.values()]
    size = (max(b[0] + b[2] for b in boxes) + 40, max(b[1] + b[3] for b in boxes) + 40)
    image = Image.new("RGB", size, "#1f1f1f")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for left, top, width, height in boxes:
        draw.rounded_rectangle([left, top - TITLE, left + width, top + height], 8, fill="#353535")
    for _, source, output, target, socket, kind in links(graph):
        x0, y0 = boxes[source - 1][0] + WIDTH, boxes[source - 1][1] + SLOT * output + 16
        x1, y1 = boxes[target - 1][0], boxes[target - 1][1] + SLOT * socket + 16
        draw.line(curve((x0, y0), (x1, y1)), fill=COLOURS[kind], width=3)
    for node, (left, top, width, _) in zip(graph.values(), boxes, strict=True):
        draw.text((left + 10, top - TITLE + 6), node.kind, fill="#ffffff", font=font)
        inputs, outputs = KINDS[node.kind]
        for i, (name, kind) in enumerate(inputs.items()):
            dot(draw, left, top + SLOT * i + 16, kind)
            draw.text((left + 12, top + SLOT * i + 7), name, fill="#cccccc", font=font)
        for i, (name, kind) in enumerate(outputs.items()):
            dot(draw, left + width, top + SLOT * i + 16, kind)
            draw.text((left + width - 12, top + SLOT * i + 7), name, fill="#cccccc", font=font, anchor="ra")
        below = top + SLOT * max(len(inputs), len(outputs)) + 7
        for i, value in enumerate(node.widgets):
            text = str(value) if len(str(value)) < 36 else f"{str(value)[:33]}..."
            draw.text((left + 20, below + SLOT * i), text, fill="#8fb4ff", font=font)
    return image


def dot(draw: ImageDraw.ImageDraw, x: int, y: int, kind: str) -> None:
    """A socket."""
    draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=COLOURS[kind])


def curve(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[float, float]]:
    """A cubic Bezier curve that leaves and arrives sideways."""
    reach = max(abs(end[0] - start[0]) / 2, 40)
    points = [start, (start[0] + reach, start[1]), (end[0] - reach, end[1]), end]
    weights = [((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3) for t in (i / 24 for i in range(25))]
    return [tuple(sum(w * p[axis] for w, p in zip(at, points, strict=True)) for axis in (0, 1)) for at in weights]


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in WORKFLOWS.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(workflow(make()), indent=1) + "\n")
        drawn = picture(make())
        drawn.thumbnail(THUMBNAIL)
        drawn.save(FOLDER / f"{name}.jpg", quality=75, optimize=True)


if __name__ == "__main__":
    main()
