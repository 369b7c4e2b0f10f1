"""`import`, `npnet push`, `npd push` and `pull` on the command line: what is shown, and what is refused in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseprompt.cli import main
from noiseprompt.core.cards import head_of
from tests import npd_fakes
from tests.cli.messages import one_message
from tests.hub_server import Hub
from tests.npnet.test_published import published_file
from tests.npnet.test_share import CARD, pth, small


def test_import_shows_and_keeps_licence_and_digest(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content, out = pth(published_file()), tmp_path / "net"
    repo = hub.add("a/golden", {"README.md": CARD, "weights/sdxl.pth": content})
    assert main(["import", "a/golden", str(out)]) == 0
    said = capsys.readouterr()
    sha256 = hashlib.sha256(content).hexdigest()
    source = f"a/golden, weights/sdxl.pth, commit {repo.head}"
    assert said.out == f"from {source}\nsha256 {sha256}\nlicence apache-2.0\nNPNet in {out}\n"
    assert said.err.startswith('noiseprompt: next: noiseprompt generate "a prompt"') and said.err.count("\n") == 1
    told = head_of((out / "README.md").read_text())
    assert told["license"] == "apache-2.0" and told["noiseprompt"] == {"source": source, "sha256": sha256}


def test_import_without_a_licence_says_so(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    hub.add("b/saved", {name: (small().save_pretrained(tmp_path / "n") / name).read_bytes()
                        for name in ("config.json", "model.safetensors", "README.md")})  # fmt: skip
    assert main(["import", "b/saved", str(tmp_path / "out")]) == 0
    assert "licence none stated: ask its authors before you share it" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (tmp_path / "n" / "model.safetensors").read_bytes()


def test_push_and_the_card_with_figures(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The figures are those of these weights in the evaluation, with n, interval and command."""
    from tests.results.test_card import evaluation

    net = small(denoiser="shapes").save_pretrained(tmp_path / "net")
    folder = evaluation(tmp_path / "evaluation", net)
    words = ["npnet", "push", str(net), "writer/npnet", "--license", "mit", "--dataset", "writer/npd"]
    assert main([*words, "--evaluation", str(folder), "--prompts", "shapes:test"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"NPNet in {hub.url}/writer/npnet\n") and "next: " in said.err
    files = hub.repos["models", "writer/npnet"].files
    assert files["model.safetensors"] == (net / "model.safetensors").read_bytes()
    card = files["README.md"].decode()
    told = head_of(card)
    assert (told["license"], told["datasets"]) == ("mit", ["writer/npd"])
    assert told["model-index"][0]["results"][0]["dataset"]["name"] == "shapes:test"
    assert "npnet:path=writer/npnet" in card and str(tmp_path) not in card


def test_what_is_refused(hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    net = small().save_pretrained(tmp_path / "net")
    npd = npd_fakes.write(tmp_path / "npd")
    other = small(width=32).save_pretrained(tmp_path / "other")
    from tests.results.test_card import evaluation

    measured = evaluation(tmp_path / "evaluation", other)
    for words, says in (
        (f"import nobody/none {tmp_path / 'o'}", "the hub has no model nobody/none"),
        (f"import {net} {tmp_path / 'o'}", "is a folder"),
        (f"npnet push {net} no-id", "'no-id' is no id of a repository"),
        (f"npnet push {tmp_path / 'none'} writer/n", "none"),
        (f"npnet push {net} writer/n --card {tmp_path / 'none.md'}", "there is no file"),
        (f"npnet push {net} writer/n --evaluation {measured}", "did not measure this network"),
        (f"npd push {tmp_path / 'none'} writer/n", "holds no noise prompt data set"),
        (f"npd push {npd} {tmp_path}", "no id of a repository"),
        (f"npd pull {npd} writer/n", "exists"),
        ("npd pull writer/n npd", "the folder first, then the repository. Turn them around"),
        (f"npd pull {tmp_path / 'back'} writer/n", "the hub has no data set writer/n"),
    ):
        assert says in one_message(capfd, words), words
    assert not hub.repos and not (tmp_path / "o").exists()


def test_a_method_takes_a_hub_id(hub: Hub, model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    changes: dict[str, Any] = {"denoiser": "", "family": "stable-diffusion"}
    small(**changes).push_to_hub("writer/npnet")
    words = f"generate circle --model {model} --out {tmp_path / 'o'} --num_inference_steps 1 --seeds 0"
    assert main([*words.split(), "--methods", "standard,npnet:path=writer/npnet"]) == 0
    assert len(list((tmp_path / "o").glob("*npnet*.png"))) == 1


def test_data_sets_there_and_back(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    npd = npd_fakes.write(tmp_path / "npd")
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\n# mine\n")
    assert main(["npd", "push", str(npd), "writer/npd", "--private", "true", "--card", str(tmp_path / "card.md")]) == 0
    assert hub.repos["datasets", "writer/npd"].private
    assert main(["npd", "pull", str(tmp_path / "back"), "writer/npd"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith(f"6 pairs in {tmp_path / 'back'}\n") and said.err.count("next: ") == 2
    assert (tmp_path / "back" / "README.md").read_text().endswith("# mine\n")
