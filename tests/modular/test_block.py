"""The block in tiny modular pipelines of real classes: against the standard pipelines with `winning_noise`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    ClassifierFreeGuidance,
    FluxAutoBlocks,
    ModularPipelineBlocks,
    QwenImageAutoBlocks,
    StableDiffusion3AutoBlocks,
    StableDiffusionXLAutoBlocks,
    ZImageAutoBlocks,
)
from diffusers.modular_pipelines import PipelineState, SequentialPipelineBlocks

from noiseprompt.core.errors import ConfigError, InputError, ShapeError
from noiseprompt.modular import NoiseBlock, with_noise
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.stages.generate.winning import winning_noise
from tests import tiny, tiny_flow
from tests.devices import DEVICE, accelerator

HUB = Path(__file__).parents[2] / "integrations" / "modular"
CASES = {
    "sdxl": (tiny.stable_diffusion_xl, StableDiffusionXLAutoBlocks),
    "flux": (tiny_flow.flux, FluxAutoBlocks),
    "z-image": (tiny_flow.z_image, ZImageAutoBlocks),
    "stable-diffusion-3": (tiny_flow.stable_diffusion_3, StableDiffusion3AutoBlocks),
    "qwen-image": (tiny_flow.qwen_image, QwenImageAutoBlocks),
}
PROMPTS = ["a red cat", "two blue dogs"]
HOW: dict[str, Any] = {"num_inference_steps": 2, "height": 64, "width": 64}


class Case:
    """A standard pipeline, the modular one of the same components, and a network made for them."""

    def __init__(self, name: str, predicts: str = "noise", **options: Any) -> None:
        build_pipe, blocks = CASES[name]
        # Qwen-Image's modular pipeline asks for as many negative prompts as there are prompts
        self.more = {"negative_prompt": [" "] * len(PROMPTS)} if name == "qwen-image" else {}
        self.pipe = build_pipe()
        pipeline = Pipeline(self.pipe)
        text = tuple(pipeline.encode(["a"]).prompt_embeds.shape[1:])
        shape = pipeline.latent_shape(64, 64)
        config = tokens_config(shape, *text, family=pipeline.family.name, predicts=predicts)
        torch.manual_seed(1)
        self.npnet = build(replace(config, width=8, depth=1, heads=1))
        with torch.no_grad():
            for parameter in self.npnet.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        self.npnet.eval()
        self.plain, self.modular = self.of(blocks()), self.of(with_noise(blocks(), **options))
        self.modular.update_components(npnet=self.npnet)

    def of(self, blocks: Any) -> Any:
        made = blocks.init_pipeline()
        held = {name: part for name, part in self.pipe.components.items() if name in made.component_names}
        made.update_components(**held)
        made.set_progress_bar_config(disable=True)
        return made

    def images(self, pipe: Any, **changed: Any) -> torch.Tensor:
        given = {"prompt": list(PROMPTS), "output_type": "pt", "generator": generator(), **HOW, **self.more, **changed}
        return pipe(**given, output="images")

    def noise(self, **changed: Any) -> torch.Tensor:
        return winning_noise(self.pipe, self.npnet, PROMPTS, generator=generator(), **{**HOW, **changed})


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_the_block_gives_the_latents_of_winning_noise(case: Case) -> None:
    made = case.images(case.modular)
    assert torch.equal(case.images(case.plain, latents=case.noise()), made)
    assert not torch.equal(case.images(case.plain), made)


def test_strength_zero_is_the_plain_pipeline(case: Case) -> None:
    assert torch.equal(case.images(case.modular, noise_strength=0.0), case.images(case.plain))


def test_images_per_prompt_are_neighbours(case: Case) -> None:
    made = case.images(case.modular, num_images_per_prompt=2, noise_strength=1.5)
    expected = case.noise(num_images_per_prompt=2, strength=1.5)
    assert torch.equal(made, case.images(case.plain, latents=expected, num_images_per_prompt=2))


@pytest.mark.parametrize(("name", "guidance"), [("sdxl", 5.0), ("flux", 3.5), ("z-image", 4.0)])
def test_the_standard_pipeline_agrees(name: str, guidance: float) -> None:
    """The modular pipeline draws what the standard one draws: the block is `pipe(latents=winning_noise(...))`."""
    case = Case(name)
    if name != "flux":  # Z-Image counts from 0 where the guider counts from 1
        guider = ClassifierFreeGuidance(guidance_scale=guidance + (name == "z-image"))
        case.modular.update_components(guider=guider)
    how = {"latents": case.noise(), "guidance_scale": guidance, "output_type": "pt", **HOW}
    expected = case.pipe(list(PROMPTS), **how).images
    torch.testing.assert_close(case.images(case.modular), expected, atol=1e-4, rtol=1e-4)


def test_a_network_of_pictures_asks_for_the_level_of_the_call() -> None:
    case = Case("sdxl", predicts="picture", renormalize=False)
    made = case.images(case.modular, num_inference_steps=3)
    assert torch.equal(made, case.images(case.plain, latents=case.noise(num_inference_steps=3), num_inference_steps=3))


def test_options_of_the_block_are_those_of_winning_noise() -> None:
    case = Case("sdxl", strength=2.0, renormalize=True)
    expected = case.noise(strength=2.0, renormalize=True)
    assert torch.equal(case.images(case.modular), case.images(case.plain, latents=expected))


def test_the_block_moves_with_the_pipeline() -> None:
    case = Case("sdxl")
    case.modular.to(torch.bfloat16)
    assert next(case.modular.npnet.parameters()).dtype == torch.bfloat16
    case.pipe.to(torch.bfloat16)
    made = case.modular(prompt=list(PROMPTS), generator=generator(), output_type="latent", **HOW)
    assert made.images.dtype == torch.bfloat16


def test_the_noise_is_made_where_the_pipeline_runs() -> None:
    case = Case("sdxl")
    expected = case.noise()
    with accelerator():
        case.modular.to(DEVICE)
        state = PipelineState()
        given = {"prompt_embeds": Pipeline(case.pipe).encode(PROMPTS).prompt_embeds, "generator": generator(), **HOW}
        for name, value in given.items():
            state.set(name, value)
        _, state = NoiseBlock()(case.modular, state)
        assert state.get("latents").device == DEVICE
        torch.testing.assert_close(state.get("latents").cpu(), expected, atol=1e-4, rtol=1e-3)


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ["latents", "image_latents"])
def test_latents_of_the_users_own_are_refused(case: Case, name: str) -> None:
    if name not in case.modular.blocks.input_names:
        pytest.skip(f"no {name} in this pipeline")
    with pytest.raises(InputError, match=f"{name} with a NoiseBlock"):
        case.images(case.modular, **{name: torch.zeros(2, 4, 8, 8)})


def test_a_pipeline_without_a_network_is_refused() -> None:
    case = Case("sdxl")
    bare = case.of(with_noise(StableDiffusionXLAutoBlocks()))
    with pytest.raises(InputError, match="without npnet"):
        case.images(bare)
    case.modular.update_components(npnet=Case("flux").npnet)
    with pytest.raises(InputError, match="flux"):
        case.images(case.modular)


def test_what_is_not_made_for_noise_is_refused() -> None:
    with pytest.raises(InputError, match="blocks: a UNet2DConditionModel"):
        with_noise(tiny.unet())
    with pytest.raises(InputError, match="one named 'denoise'"):
        with_noise(SequentialPipelineBlocks())
    with pytest.raises(ConfigError, match="strength"):
        NoiseBlock(strength="much")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="renormalize"):
        NoiseBlock(renormalize="yes")  # type: ignore[arg-type]
    case = Case("sdxl")
    with pytest.raises(ShapeError):
        case.images(case.modular, height=96)
    with pytest.raises(ConfigError, match="strength"):
        case.images(case.modular, noise_strength=float("nan"))


# -------------------------------------------------------------------------------------------------------- on the hub


def test_the_hub_repository_is_three_lines(tmp_path: Path, monkeypatch) -> None:
    """What is uploaded only names the block of the installed package."""
    import diffusers.utils.dynamic_modules_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    block = ModularPipelineBlocks.from_pretrained(str(HUB), trust_remote_code=True, strength=0.5)
    assert type(block) is NoiseBlock and block.strength == 0.5
    code = [line for line in (HUB / "block.py").read_text().splitlines() if line.strip()]
    assert len(code) == 3


def test_a_network_is_a_component_that_is_loaded_by_its_name(tmp_path: Path) -> None:
    case = Case("sdxl")
    case.npnet.save_pretrained(tmp_path)
    spec = case.modular.get_component_spec("npnet")
    assert issubclass(spec.type_hint, NPNet)
    case.modular.update_components(npnet=NPNet.from_pretrained(tmp_path))
    assert torch.equal(case.images(case.modular), case.images(case.plain, latents=case.noise()))


def test_a_second_block_is_refused() -> None:
    """It would stand behind "denoise", and its noise be decoded."""
    from diffusers import StableDiffusionXLAutoBlocks

    blocks = with_noise(StableDiffusionXLAutoBlocks())
    with pytest.raises(InputError, match="have a NoiseBlock already"):
        with_noise(blocks)
    assert list(blocks.sub_blocks).index("noise") < list(blocks.sub_blocks).index("denoise")
