"""Networks on the hub: published checkpoints of every layout, saved networks, cards, refusals."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save

from noiseprompt.core.cards import head_of
from noiseprompt.core.errors import HubError, ModelLoadError
from noiseprompt.npnet import NPNet, NPNetConfig, build
from noiseprompt.npnet.card import Facts, model_card
from tests.hub_server import READER, Hub
from tests.npnet.test_published import flat, published_file

SIZES: dict[str, Any] = {"latent_shape": (4, 16, 16), "text_length": 12, "text_width": 128, "denoiser": "a/base",
                         "width": 16, "depth": 1, "heads": 2}  # fmt: skip
CARD = b"---\nlicense: apache-2.0\n---\n"


def small(**changes: Any) -> NPNet:
    torch.manual_seed(0)
    net = build(
        NPNetConfig("tokens", **{**SIZES, "width": 16, "depth": 1, "heads": 2, "denoiser": "a/base", **changes})
    )
    for parameter in net.parameters():  # a fresh network changes nothing
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def same(one: NPNet, other: NPNet) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return published_file()


def pth(data: Any) -> bytes:
    file = io.BytesIO()
    torch.save(data, file)
    return file.getvalue()


def test_every_published_layout_loads_by_its_hub_id(hub: Hub, data: dict[str, Any]) -> None:
    """Nested .pth in a folder, and flat safetensors with `text_embedding.`: the tensors are the same."""
    hub.add("a/nested", {"README.md": CARD, "weights/sdxl.pth": pth(data), "weights/dit.pth": b"another"})
    hub.add("b/flat", {"sdxl.safetensors": save(flat(data))})
    nets = [NPNet.from_pretrained(one) for one in ("a/nested:weights/sdxl.pth", "b/flat")]
    assert same(*nets) and not nets[0].training
    assert torch.equal(nets[0].text.project.weight, data["embeeding"]["linear.weight"])  # type: ignore[union-attr]
    assert nets[0].config.denoiser == "stabilityai/stable-diffusion-xl-base-1.0"


def test_a_repository_with_several_checkpoints_is_not_guessed_at(hub: Hub) -> None:
    hub.add("a/many", {"weights/sdxl.pth": b"1", "weights/dreamshaper.pth": b"2", "notes.txt": b""})
    says = r"a/many holds 2 checkpoints \(weights/dreamshaper.pth, weights/sdxl.pth\).*Name the file: a/many:weights/"
    with pytest.raises(ModelLoadError, match=says):
        NPNet.from_pretrained("a/many")
    hub.add("a/none", {"notes.txt": b""})
    with pytest.raises(ModelLoadError, match="a/none holds no network"):
        NPNet.from_pretrained("a/none")
    with pytest.raises(ModelLoadError, match=r"there is no folder 'a/many:x.pth', and a/many has no file x\.pth"):
        NPNet.from_pretrained("a/many:x.pth")
    with pytest.raises(ModelLoadError, match=r"sdxl\.pth is a text"):
        NPNet.from_pretrained("a/many:weights/sdxl.pth")


def test_a_file_of_this_machine_loads_as_it_is(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "dreamshaper.pth").write_bytes(pth(data))
    assert NPNet.from_pretrained(tmp_path / "dreamshaper.pth").config.denoiser == "Lykon/dreamshaper-xl-v2-turbo"


def test_what_is_pushed_is_what_was_saved_and_loads_again(hub: Hub, tmp_path: Path, monkeypatch: Any) -> None:
    net = small()
    assert net.push_to_hub("writer/npnet", facts=Facts(license="mit")).startswith(hub.url)
    there, saved = hub.repos["models", "writer/npnet"], net.save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        assert there.files[name] == (saved / name).read_bytes()
    assert same(NPNet.from_pretrained("writer/npnet"), net)
    old = there.head
    small(gain=0.5).push_to_hub("writer/npnet")
    assert NPNet.from_pretrained("writer/npnet").config.gain == 0.5
    assert NPNet.from_pretrained("writer/npnet", revision=old).config.gain == 0.1
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert same(NPNet.from_pretrained("writer/npnet"), small(gain=0.5))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(HubError, match="your token may not do that with writer/npnet"):
        net.push_to_hub("writer/npnet")
    with pytest.raises(HubError, match="'npnet' is no id"):
        net.push_to_hub("npnet")


def test_the_folder_comes_before_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small().save_pretrained("me/npnet")
    NPNet.from_pretrained("me/npnet")
    assert hub.log == []


# -------------------------------------------------------------------------------------------------------------- cards


def test_a_card_holds_what_the_hub_reads() -> None:
    net = small(family="stable-diffusion-xl")
    facts = Facts("apache-2.0", "me/npd", "a/b, x.pth, commit 1", "ab" * 32, "| a table |", ({"task": {"type": "x"}},))
    text = model_card(vars(net.config), 1_500_000, "me/npnet", facts)
    told = yaml.safe_load(text.split("---\n")[1])
    assert told == head_of(text) == {
        "license": "apache-2.0",
        "library_name": "noiseprompt",
        "pipeline_tag": "text-to-image",
        "base_model": "a/base",
        "base_model_relation": "adapter",
        "datasets": ["me/npd"],
        "tags": ["noise-prompt", "npnet", "stable-diffusion-xl"],
        "noiseprompt": {"source": "a/b, x.pth, commit 1", "sha256": "ab" * 32},
        "model-index": [{"name": "NPNet for a/base", "results": [{"task": {"type": "x"}}]}],
    }  # fmt: skip
    for part in ('from_pretrained("me/npnet")', 'from_pretrained("a/base")', "| a table |", "npnet:path=me/npnet"):
        assert part in text
    assert "path/to/this/folder" not in text and f"SHA-256 of that file: `{'ab' * 32}`" in text


def test_a_card_says_what_is_not_known() -> None:
    text = model_card(vars(small(denoiser="shapes").config), 1, "me/npnet")
    assert "licence | none stated: ask its authors" in text and "None are stated. Measure it" in text
    assert not {"license", "base_model", "datasets", "model-index", "noiseprompt"} & head_of(text).keys()


def test_sections_of_ones_own_stay(hub: Hub, tmp_path: Path) -> None:
    from noiseprompt.npnet import share

    folder = small().save_pretrained(tmp_path / "net", Facts(license="mit"))
    path = folder / "README.md"
    path.write_text(path.read_text() + "\n## How it was made\n\nWith care.\n")
    share.push(folder, "writer/npnet")
    card = hub.repos["models", "writer/npnet"].files["README.md"].decode()
    assert card.endswith("## How it was made\n\nWith care.\n") and card.count("## Use") == 1
    assert head_of(card)["license"] == "mit" and 'from_pretrained("writer/npnet")' in card
    assert "path/to/this/folder" in path.read_text()


def test_the_snippet_of_a_card_runs(tmp_path: Path) -> None:
    """On the embedded world, whose pipeline the card cannot name by a hub id."""
    from noiseprompt.shapes import world

    text = model_card({**vars(small(denoiser="shapes").config)}, 1, str(world.npnet_folder()))
    code = text.split("```python\n")[1].split("```")[0].replace("path/to/the/model", str(world.weights_folder()))
    code = code.replace('.to("cuda")', ".to(torch.float32)").replace('"a prompt"', '"a red circle"')
    code = code.replace("latents=latents)", "latents=latents, num_inference_steps=1)")
    scope: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), scope)
    assert scope["image"].size == (64, 64)


def test_what_a_file_is_known_by(hub: Hub) -> None:
    from noiseprompt.npnet import share

    content = b"weights"
    repo = hub.add("a/nested", {"README.md": CARD, "weights/sdxl.pth": content})
    facts = share.facts_of(share.look_up("a/nested"))
    assert facts.sha256 == hashlib.sha256(content).hexdigest() and facts.license == "apache-2.0"
    assert facts.source == f"a/nested, weights/sdxl.pth, commit {repo.head}"
