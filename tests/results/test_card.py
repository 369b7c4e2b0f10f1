"""Figures for the card of a network: those of its own weights, as the evaluation's results.json says them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from noiseprompt.core.errors import InputError
from noiseprompt.methods.npnet import NpnetMethod
from noiseprompt.npnet import NPNet
from noiseprompt.results.card import measured
from tests.evaluation_runs import run


def digest(net: Path) -> str:
    method = NpnetMethod(str(net))
    method.net = NPNet.from_pretrained(net)
    return method.describe()["weights"]


def evaluation(folder: Path, net: Path) -> Path:
    """An evaluation of re-denoise, told as one of that network: the figures are an evaluation's own."""
    for _ in run(folder, methods=("standard", "redenoise", "redenoise:swap")):
        pass
    for name in ("settings.json", "results.json"):
        text = (folder / name).read_text()
        data = json.loads(re.sub(r'"redenoise(:?)(\w*)"', rf'"npnet:path={net}' r',\2"', text).replace(',"', '"'))
        if name == "settings.json":
            data["methods"] = {k: {"weights": digest(net)} if "npnet" in k else v for k, v in data["methods"].items()}
        (folder / name).write_text(json.dumps(data))
    return folder


def test_figures_with_n_interval_and_command(tmp_path: Path) -> None:
    from tests.npnet.test_share import small

    net = small().save_pretrained(tmp_path / "net")
    found = measured(evaluation(tmp_path / "e", net), digest(net), "me/npnet", "shapes:test")
    data = json.loads((tmp_path / "e" / "results.json").read_text())
    label = next(name for name in data["methods"] if "npnet" in name and "swap" not in name)
    for metric, row in data["methods"][label]["metrics"].items():
        gain = row["gain"]
        line = next(line for line in found.text.splitlines() if line.startswith(f"| NPNet | {metric} |"))
        assert f"| {row['baseline_mean']:.3f} | {row['mean']:.3f} |" in line
        assert f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" in line and line.endswith("| 7 |")
        told = next(one for one in found.results[0]["metrics"] if one["type"] == metric)
        assert told["value"] == pytest.approx(gain["mean"], abs=1e-6)
    assert "NPNet (swap), a control: no gain is wanted" in found.text
    command = found.text.splitlines()[-1]
    assert command.startswith("    noiseprompt evaluate --model fake --methods")
    assert "npnet:path=me/npnet,npnet:path=me/npnet,swap" in command and "--prompts shapes:test --n 7" in command
    assert str(tmp_path) not in found.text


def test_another_network_or_none(tmp_path: Path) -> None:
    from tests.npnet.test_share import small

    net = small().save_pretrained(tmp_path / "net")
    folder = evaluation(tmp_path / "e", net)
    with pytest.raises(InputError, match="did not measure this network"):
        measured(folder, "0" * 12, "me/npnet")
    with pytest.raises(InputError, match="no evaluation in"):
        measured(tmp_path, digest(net), "me/npnet")
