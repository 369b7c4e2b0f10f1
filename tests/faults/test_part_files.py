"""Files of a network that are links, pipes, pages, halves or of another kind: each named before a library fails at it,
in models, in the scorers' folders and by the doctor alike."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from noiseprompt.cli import main
from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.part_files import check_network
from noiseprompt.pipelines import Pipeline
from noiseprompt.scorers.base import load_scorers
from tests import tiny
from tests.scorers import checkpoints

Change = Callable[[Path], object]
NOTE = "version https://git-lfs.github.com/spec/v1\n"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose U-Net lies in several files."""
    folder = tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("models") / "sound")
    unet = tiny.stable_diffusion().unet
    next((folder / "unet").glob("*.safetensors")).unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="400KB")
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/gone")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def note(path: Path) -> None:
    path.write_text(NOTE)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def another(path: Path) -> None:
    """A part of the weights in the place of the next, as of a mistaken copy."""
    path.write_bytes(path.with_name(path.name.replace("-00001-", "-00002-")).read_bytes())


def setting(**values: Any) -> Change:
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def first(pattern: str, change: Change) -> Change:
    return lambda model: change(min(model.glob(pattern)))


UNET, VAE = "unet/*.safetensors", "vae/*.safetensors"
MODELS: dict[str, tuple[Change, str]] = {
    "a blob that was not copied": (first(VAE, link), "vae/diffusion_pytorch_model.safetensors is a link that leads no"),
    "a pipe for weights": (first(VAE, pipe), "is a named pipe and no file"),
    "an index that was not copied": (first("model_index.json", link), "model_index.json is a link that leads nowhere"),
    "a pipe for a config": (first("vae/config.json", pipe), "vae/config.json is a named pipe"),
    "a note for a config": (first("vae/config.json", note), "config.json holds no settings, only the note of Git LFS"),
    "no config of the text encoder": (first("text_encoder/config.json", os.remove), "text_encoder of .* has no config"),
    "a pipe for words": (first("tokenizer/tokenizer.json", pipe), "tokenizer.json is a named pipe"),
    "a note for words": (first("tokenizer/tokenizer.json", note), "tokenizer.json holds no settings or words"),
    "words of nothing": (first("tokenizer/tokenizer.json", lambda p: p.write_text("{}")), "describes no tokenizer"),
    "no index": (first("unet/*.index.json", os.remove), "weights in 3 files without their index"),
    "half of the index": (first("unet/*.index.json", half), "index.json is damaged"),
    "an index of lists": (first("unet/*.index.json", setting(weight_map=[1])), "has weight_map"),
    "a place above": (first("unet/*.index.json", setting(weight_map={"a": "../x"})), "has weight_map"),
    "one of three": (first(UNET, os.remove), "lacks diffusion_pytorch_model-00001-of-00003.safetensors, which"),
    "one of three twice": (first(UNET, another), "files that .*index.json names lack .* of its tensors"),
    "a number in quotes": (first("unet/config.json", setting(in_channels="4")), "in_channels '4' in quotes"),
    "false in quotes": (first("scheduler/*.json", setting(clip_sample="false")), "clip_sample 'false' in quotes"),
    "yes for true": (first("scheduler/*.json", setting(set_alpha_to_one="yes")), "set_alpha_to_one 'yes' in quotes"),
    "no heads": (first("unet/config.json", setting(attention_head_dim=0)), "load with attention_head_dim 0"),
    "no blocks": (first("vae/config.json", setting(block_out_channels=[])), r"has block_out_channels \[\]"),
    "an unknown word": (first("text_encoder/config.json", setting(hidden_act="silly")), "load with hidden_act 'silly'"),
    "an endless shift": (first("vae/config.json", setting(shift_factor=float("inf"))), "shift_factor inf"),
    "too late a step": (first("scheduler/*.json", setting(steps_offset=5000)), "steps_offset 5,000"),
    "a sigma below 0": (first("scheduler/*.json", setting(sigma_min=-1)), "sigma_min -1"),
    "a shift that turns": (first("scheduler/*.json", setting(flow_shift=-3.0)), "flow_shift -3"),
    "no betas": (first("scheduler/*.json", setting(trained_betas=[])), "0 trained_betas"),
    "another kind": (first("scheduler/*.json", setting(_class_name="AutoencoderKL")), "describes a AutoencoderKL"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_file_of_a_model_is_named(kind: str, folder: Path) -> None:
    change, says = MODELS[kind]
    change(folder)
    with pytest.raises(ModelLoadError, match=says) as told:
        Pipeline.load(folder)
    assert "\n" not in str(told.value) and "Error" not in told.value.came


def test_a_list_in_place_of_weights_is_named(folder: Path) -> None:
    for path in (folder / "unet").glob("diffusion*"):
        path.unlink()
    torch.save([1], folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelLoadError, match=r"model\.bin holds a list"):
        Pipeline.load(folder)


def test_what_macos_leaves_beside_files_and_a_torn_variant_do_not_matter(folder: Path) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"torn")
    Pipeline.load(folder)


def as_before_diffusers_0_31(source: Path, out: Path) -> None:
    """The variant's shards and index under the names that diffusers gave them then."""
    shutil.copytree(source, out)
    (out / "diffusion_pytorch_model.safetensors.index.json").unlink()
    for path in out.glob("*.fp16-*"):
        path.rename(out / path.name.replace(".fp16-", "-").replace(".safetensors", ".fp16.safetensors"))
    index = out / "diffusion_pytorch_model.safetensors.index.fp16.json"
    names = index.read_text().replace(".fp16-", "-").replace(".safetensors", ".fp16.safetensors")
    (out / "diffusion_pytorch_model.safetensors.fp16.index.json").write_text(names)
    index.unlink()


def test_a_variant_as_older_releases_of_diffusers_named_it(tmp_path: Path) -> None:
    tiny.stable_diffusion().unet.save_pretrained(tmp_path / "now", max_shard_size="400KB", variant="fp16")
    (tmp_path / "now" / "diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    as_before_diffusers_0_31(tmp_path / "now", tmp_path / "before")
    check_network(tmp_path / "before", "unet", "fp16")
    with pytest.raises(ModelLoadError, match=r"of the variant fp16 alone .*Ask for it: --variant fp16"):
        check_network(tmp_path / "before", "unet")
    min((tmp_path / "before").glob("*.fp16.safetensors")).unlink()
    with pytest.raises(ModelLoadError, match=r"unet lacks .*-00001-of-00003.fp16.safetensors, which .*fp16.index.json"):
        check_network(tmp_path / "before", "unet", "fp16")


def test_an_index_of_weights_that_nobody_asked_for_does_not_matter(folder: Path) -> None:
    for path in (folder / "unet").glob("diffusion*"):
        path.unlink()
    unet = tiny.stable_diffusion().unet
    unet.save_pretrained(folder / "unet", max_shard_size="400KB", variant="fp16")
    index = {"metadata": {}, "weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    check_network(folder / "unet", "unet", "fp16")
    min((folder / "unet").glob(UNET.partition("/")[2])).unlink()
    with pytest.raises(
        ModelLoadError, match=r"unet lacks diffusion_pytorch_model.fp16-00001-of-.*index.fp16.json names"
    ):
        check_network(folder / "unet", "unet", "fp16")


def test_a_setting_that_fails_while_a_picture_is_drawn_is_named(folder: Path) -> None:
    setting(freq_shift=None)(folder / "unet" / "config.json")
    pipeline = Pipeline.load(folder)
    latents = torch.randn(1, *pipeline.latent_shape(64, 64))
    with pytest.raises(ModelLoadError, match="unet of the model fails with freq_shift null"):
        pipeline.sample(pipeline.encode(["a"]), latents, num_inference_steps=1)


# ------------------------------------------------------------------------------------------------------------- scorers


def values(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    def write(path: Path) -> None:
        save_file({k: change(v).contiguous() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})

    return write


SCORERS: dict[str, tuple[Change, str]] = {
    "half": (first("*.safetensors", half), "cannot read .*model.safetensors"),
    "a note": (first("*.safetensors", note), "only the note of Git LFS"),
    "a link": (first("*.safetensors", link), "is a link that leads nowhere"),
    "a pipe": (first("config.json", pipe), "config.json is a named pipe"),
    "not finite": (first("*.safetensors", values(lambda x: x * torch.nan)), "weights that are not finite"),
    "zeros": (first("*.safetensors", values(torch.zeros_like)), "lie in matrices of one value alone"),
    "whole numbers": (
        first("*.safetensors", values(lambda x: x.to(torch.int8))),
        "weights that are whole or complex",
    ),
    "half of the words": (first("tokenizer.json", half), "tokenizer.json is damaged"),
    "no patches": (
        first("config.json", lambda p: p.write_text(p.read_text().replace('"patch_size": 14', '"patch_size": 0'))),
        "load with patch_size 0",
    ),
}


@pytest.mark.parametrize("kind", SCORERS)
def test_the_file_of_a_scorer_is_named(kind: str, scorer: Path) -> None:
    change, says = SCORERS[kind]
    change(scorer)
    with pytest.raises(ModelLoadError, match=f"the scorer 'pickscore'.*{says}") as told:
        load_scorers([f"pickscore:path={scorer},device=cpu"])
    assert "\n" not in str(told.value)


def test_a_pickle_in_the_folder_of_a_scorer_is_told_in_words(scorer: Path) -> None:
    (scorer / "model.safetensors").unlink()
    torch.save({"a": torch.nn.Linear(2, 2)}, scorer / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="would execute what it says"):
        load_scorers([f"pickscore:path={scorer},device=cpu"])


def test_a_file_is_no_folder_of_a_scorer(scorer: Path) -> None:
    with pytest.raises(ModelLoadError, match="it is a file"):
        load_scorers([f"pickscore:path={scorer / 'config.json'}"])


@pytest.mark.parametrize("folder", [True, False])
def test_the_weights_of_one_scorer_are_not_taken_for_anothers(folder: bool, tmp_path: Path) -> None:
    file = checkpoints.save(checkpoints.open_clip_state(), tmp_path / "HPS_v2_compressed.pt")
    checkpoints.clip_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelLoadError, match=r"HPS_v2_compressed.pt is another scorer's.*HPS_v2.1_compressed"):
        load_scorers([f"hpsv2.1:path={tmp_path if folder else file},device=cpu"])


KINDS = [(torch.zeros_like, "one value alone"), (torch.Tensor.long, "whole or complex numbers")]


@pytest.mark.parametrize(("change", "says"), KINDS)
def test_weights_of_a_published_file_are_numbers(change: Any, says: str, tmp_path: Path) -> None:
    state = {name: change(value) for name, value in checkpoints.open_clip_state().items()}
    checkpoints.save(state, tmp_path / "HPS_v2_compressed.pt")
    with pytest.raises(ModelLoadError, match=f"the scorer 'hpsv2'.*{says}"):
        load_scorers([f"hpsv2:path={tmp_path},device=cpu"])


# -------------------------------------------------------------------------------------------------------------- doctor


@pytest.mark.parametrize(
    ("pattern", "change"),
    [(UNET, half), (VAE, link), ("text_encoder/config.json", half), ("tokenizer/tokenizer.json", half)],
)
def test_the_doctor_sees_what_loading_would(
    pattern: str, change: Change, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = min(folder.glob(pattern))
    change(path)
    assert main(["doctor", "--model", str(folder)]) == 2
    assert f"MISSING {path.parent.name}: " in (said := capsys.readouterr().out) and path.name in said


def test_the_doctor_lets_a_variant_alone_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = min(folder.glob(VAE))
    path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert main(["doctor", "--model", str(folder)]) == 0
    capsys.readouterr()
    with pytest.raises(ModelLoadError, match="--variant fp16"):
        check_network(folder / "vae", "vae")
    check_network(folder / "vae", "vae", "fp16")
