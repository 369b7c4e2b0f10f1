"""Which defaults a checkpoint gets, pipelines of no family, guidance gaps, DPM-Solver++'s grid, and loading."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, StableDiffusionPAGPipeline

from noiseprompt.cli import main
from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptError, NoisepromptWarning
from noiseprompt.noise.moves import move
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline, loading
from noiseprompt.pipelines.families import FAMILIES
from noiseprompt.pipelines.families.generic import unusable
from noiseprompt.pipelines.levels import dpm_solver_levels
from noiseprompt.pipelines.loading import weights_digest
from tests import tiny, tiny_flow

PROMPTS = ["a red cube", "nine green birds"]


@pytest.fixture(scope="module")
def xl():
    return tiny.stable_diffusion_xl()


def noise(pipeline, size=(64, 64)) -> torch.Tensor:
    return batch_noise([1, 2], pipeline.latent_shape(*size))


# ------------------------------------------------------------------------------------------------------------ defaults


def test_every_family_tells_its_defaults_and_where_they_stand():
    names = [family.name for family in FAMILIES]
    classes = [name for family in FAMILIES for name in family.pipeline_classes]
    assert len(classes) == len(set(classes)) and {"stable-diffusion-xl", "flux", "z-image"} <= set(names)
    for family in FAMILIES:
        assert family.source and family.guidance_scale >= 1 and family.num_inference_steps > 0
        assert family.denoise_guidance_scale > family.invert_guidance_scale == 1
        assert all(variant.source and (variant.pattern or variant.applies) for variant in family.variants)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stabilityai/stable-diffusion-xl-base-1.0", ("", 5.5, 50, 5.5, 10, "ddim")),
        ("RunDiffusion/Juggernaut-XL-v9", ("", 5.5, 50, 5.5, 10, "ddim")),
        ("Lykon/dreamshaper-xl-v2-turbo", ("DreamShaper-xl-v2-turbo", 3.5, 4, 3.5, 4, "dpm-solver")),
        ("/models/DreamShaper_XL_v2_Turbo", ("DreamShaper-xl-v2-turbo", 3.5, 4, 3.5, 4, "dpm-solver")),
        ("stabilityai/sdxl-turbo", ("SDXL-Turbo", 1.0, 1, 1.0, 10, "ddim")),
        ("ByteDance/SDXL-Lightning", ("SDXL-Lightning", 1.0, 4, 1.0, 10, "ddim")),
        ("/turbo/lightning/plain", ("", 5.5, 50, 5.5, 10, "ddim")),
    ],
)
def test_checkpoints_of_one_class_have_their_own_defaults(xl, name, expected):
    family = Pipeline(xl, name).family
    settings = (family.guidance_scale, family.num_inference_steps, family.denoise_guidance_scale)
    assert (family.variant, *settings, family.collection_steps, family.grid) == expected
    assert family.name == "stable-diffusion-xl", "an NPNet for SDXL fits all of them"


@pytest.mark.parametrize(
    ("companion", "expected"),
    [
        ("latent-consistency/lcm-lora-sdxl", ("LCM", 1.0, 4)),
        ("loras/pcm_sdxl_smallcfg_2step_converted.safetensors", ("PCM", 1.0, 2)),
        ("loras/pcm_sdxl_normalcfg_8step_converted.safetensors", ("PCM with normal guidance", 3.0, 8)),
        ("loras/sdxl_lightning_8step_lora.safetensors", ("SDXL-Lightning", 1.0, 8)),
        ("mhdang/dpo-sdxl-text2image-v1", ("", 5.5, 50)),
        ("loras/style_1000steps.safetensors", ("", 5.5, 50)),
    ],
)
def test_what_is_put_into_a_model_decides_too(xl, companion, expected):
    family = Pipeline(xl, "stabilityai/stable-diffusion-xl-base-1.0", [companion]).family
    assert (family.variant, family.guidance_scale, family.num_inference_steps) == expected


def test_other_classes_with_variants():
    sd3 = tiny_flow.stable_diffusion_3()
    for name, guidance, steps in (
        ("stabilityai/stable-diffusion-3-medium-diffusers", 7.0, 28),
        ("stabilityai/stable-diffusion-3.5-large", 3.5, 28),
        ("stabilityai/stable-diffusion-3.5-large-turbo", 1.0, 4),
        ("stabilityai/stable-diffusion-3.5-medium", 4.5, 40),
    ):
        family = Pipeline(sd3, name).family
        assert (family.guidance_scale, family.num_inference_steps) == (guidance, steps)
    assert Pipeline(tiny.stable_diffusion(), "stabilityai/sd-turbo").family.num_inference_steps == 1
    assert Pipeline(tiny_flow.z_image(), "Tongyi-MAI/Z-Image-Turbo").family.guidance_scale == 1
    assert Pipeline(tiny_flow.flux(schnell=True), "anything").family.num_inference_steps == 4


def test_applied_defaults_are_printed_once_at_loading(xl, tmp_path, capsys):
    folder = tiny.save(xl, tmp_path / "sdxl-turbo")
    capsys.readouterr()
    assert Pipeline.load(folder).family.variant == "SDXL-Turbo"
    said = capsys.readouterr().err
    assert "taken for SDXL-Turbo by its name: guidance 1, 1 steps" in said and "stabilityai/sdxl-turbo" in said
    (tmp_path / "sdxl-turbo").rename(tmp_path / "plain")
    Pipeline.load(tmp_path / "plain")
    assert "taken for" not in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- guidance gaps


def test_no_gap_no_redenoise(xl):
    turbo = Pipeline(xl, "stabilityai/sdxl-turbo")
    embeds, x = turbo.encode(PROMPTS), noise(turbo)
    with pytest.raises(InputError, match=r"scale 1 both down and up \(SDXL-Turbo is sampled without guidance\)"):
        turbo.redenoise(embeds, x)
    assert (turbo.redenoise(embeds, x, denoise_guidance_scale=2.0) - x).abs().max() > 0.01
    plain = Pipeline(xl)
    for scale in (1.0, 3.0):
        with pytest.raises(InputError, match=f"guidance scale {scale:g} both down and up: there is no guidance gap"):
            plain.redenoise(embeds, x, denoise_guidance_scale=scale, invert_guidance_scale=scale)


def test_collecting_without_a_gap_ends_before_anything_is_written(xl, tmp_path, capsys):
    folder = tiny.save(xl, tmp_path / "sdxl-turbo")
    (tmp_path / "prompts.txt").write_text("a red cube\n")
    options = [f"--prompts={tmp_path / 'prompts.txt'}", f"--out={tmp_path / 'npd'}", "--device=cpu"]
    assert main(["collect", f"--model={folder}", *options, "--scorers+", "shapes-preference"]) == 2
    assert "no guidance gap to work with" in capsys.readouterr().err
    assert not list(tmp_path.glob("npd/*.arrow"))


def test_a_denoiser_that_takes_guidance_as_a_condition_has_no_gap(xl):
    pipe = tiny.stable_diffusion_xl()
    config = {key: value for key, value in xl.unet.config.items() if not key.startswith("_")}
    pipe.unet = tiny.unet(**{**config, "time_cond_proj_dim": 8}).eval()
    pipeline = Pipeline(pipe)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    assert pipeline.family.why_no_guidance(pipeline.pipe)
    with pytest.raises(InputError, match=r"time_cond_proj_dim.*no guidance gap"):
        pipeline.redenoise(embeds, x)
    with pytest.raises(InputError, match="time_cond_proj_dim"):
        pipeline.denoise_step(embeds, x, guidance_scale=5.0, num_inference_steps=10)
    before = pipeline.denoiser_calls
    assert pipeline.sample(embeds, x, guidance_scale=7.0, num_inference_steps=2).shape == (2, 64, 64, 3)
    assert pipeline.denoiser_calls - before == 2 * 2, "one prediction a step, whatever the guidance"


def test_a_pipeline_without_the_guidance_argument_has_no_gap(monkeypatch):
    pipeline = Pipeline(tiny_flow.flux())
    own = type(pipeline.pipe).__call__

    def older(self, prompt_embeds=None, pooled_prompt_embeds=None, guidance_scale=3.5, **kwargs):
        return own(
            self,
            prompt_embeds=prompt_embeds,
            pooled_prompt_embeds=pooled_prompt_embeds,
            guidance_scale=guidance_scale,
            **kwargs,
        )

    monkeypatch.setattr(type(pipeline.pipe), "__call__", older)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    with pytest.raises(InputError, match="FluxPipeline of the installed diffusers has no true_cfg_scale"):
        pipeline.redenoise(embeds, x)
    assert pipeline.sample(embeds, x, num_inference_steps=2).shape == (2, 64, 64, 3)


# ------------------------------------------------------------------------------------------------- DPM-Solver++'s grid


def eps_of(pipe, x, t, guidance):
    """The guided prediction of the tiny SDXL, its U-Net called directly."""
    text, empty, pooled, no_pool = pipe.encode_prompt(PROMPTS)
    size = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * len(x))

    def predict(text, pooled):
        added = {"text_embeds": pooled, "time_ids": size}
        return pipe.unet(x, t, encoder_hidden_states=text, added_cond_kwargs=added).sample

    uncond = predict(empty, no_pool)
    return uncond + guidance * (predict(text, pooled) - uncond)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((DPMSolverMultistepScheduler, {"timestep_spacing": way}) for way in ("leading", "linspace", "trailing")),
        *((kind, {"use_karras_sigmas": True}) for kind in (DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler)),
        (DPMSolverSinglestepScheduler, {}),
    ],
)
def test_the_move_on_its_grid_inverts_the_first_step_of_dpm_solver(xl, kind, settings):
    own = xl.scheduler
    solver = kind.from_config(own.config, **settings)
    pipeline = Pipeline(xl, "Lykon/dreamshaper-xl-v2-turbo")
    xl.scheduler = solver
    try:
        x, embeds = noise(pipeline), pipeline.encode(PROMPTS)
        t_from, _, a_from, a_to = pipeline.levels(4)
        mine = pipeline.denoise_step(embeds, x, guidance_scale=3.5, num_inference_steps=4)
    finally:
        xl.scheduler = own
    with torch.no_grad():
        eps = eps_of(xl, x, torch.tensor(t_from), 3.5)
    solver.set_timesteps(4)
    assert int(solver.timesteps[0]) == t_from
    lower = solver.step(eps, solver.timesteps[0], x).prev_sample  # diffusers' own first step
    assert (lower - x).abs().max() > 0.1 and torch.allclose(mine, lower, atol=2e-5)
    assert torch.allclose(move(mine, eps, a_to, a_from), x, atol=5e-6)


def test_dpm_solver_levels_at_the_edges():
    ddim = tiny.scheduler()
    solver = DPMSolverMultistepScheduler.from_config(ddim.config)
    assert dpm_solver_levels(ddim, 1).alpha_to == 1.0
    assert dpm_solver_levels(ddim, 7) == dpm_solver_levels(solver, 7), "whatever the sampler"
    for steps in (0, 1000):
        with pytest.raises(InputError, match=f"num_inference_steps {steps}"):
            dpm_solver_levels(ddim, steps)
    assert not Pipeline(tiny.stable_diffusion_xl(), "dreamshaper-xl-turbo").can_share_first_step


# ----------------------------------------------------------------------------------------------- pipelines of no family


def perturbed_attention():
    """A pipeline class that is in no family, made of Stable Diffusion's parts."""
    pipe = StableDiffusionPAGPipeline(**tiny.stable_diffusion().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_an_unknown_class_works_with_a_warning_that_says_what_is_assumed():
    with pytest.warns(NoisepromptWarning, match=r"PAGPipeline.*Assumed.*4 x H/8 x W/8; 50 steps") as caught:
        pipeline = Pipeline(perturbed_attention())
    assert len(caught) == 1
    assert (pipeline.family.name, pipeline.latent_shape(), pipeline.default_size) == (
        "StableDiffusionPAGPipeline",
        (4, 8, 8),
        (64, 64),
    )
    x = noise(pipeline)
    embeds = pipeline.encode(PROMPTS)
    mine = pipeline.sample(embeds, x, num_inference_steps=3, guidance_scale=4.0)
    theirs = pipeline.pipe(
        PROMPTS, negative_prompt=["", ""], latents=x, num_inference_steps=3, guidance_scale=4.0
    ).images
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))
    moved = pipeline.redenoise(embeds, x)
    assert torch.isfinite(moved).all() and (moved - x).abs().max() > 0.01
    assert torch.allclose(pipeline.redenoise(embeds.select([1]), x[1:]), moved[1:], atol=1e-5)


def test_an_unknown_flow_class_redenoises_as_a_loop_written_by_hand():
    with pytest.warns(NoisepromptWarning, match=r"AuraFlowPipeline.*guidance_scale is g.*3\.5 by default"):
        pipeline = Pipeline(tiny_flow.aura_flow())
    pipe, x = pipeline.pipe, noise(pipeline)
    assert pipeline.is_flow and pipeline.latent_shape() == (4, 8, 8)
    second = 1.73 * 0.75 / (1 + 0.73 * 0.75)  # four steps: 1, 0.75, 0.5, 0.25, shifted

    def velocity(x, t, texts):
        text, _, _, _ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False)
        return pipe.transformer(x, encoder_hidden_states=text, timestep=torch.full((2,), t), return_dict=False)[0]

    with torch.no_grad():
        low, high = velocity(x, 1.0, ["", ""]), velocity(x, 1.0, PROMPTS)
        s_from, s_to = pipeline.levels(4)[2:]
        lower = x + (s_to - s_from) * (low + 6 * (high - low))
        upper = lower + (s_from - s_to) * velocity(lower, s_to, PROMPTS)
    mine = pipeline.redenoise(pipeline.encode(PROMPTS), x, denoise_guidance_scale=6.0, num_inference_steps=4)
    assert s_from == 1 and abs(s_to - second) < 0.1
    assert (upper - x).abs().max() > 3e-3 and (mine - upper).abs().max() < 2e-3 * (upper - x).abs().max()


def test_an_unknown_class_from_the_command_line(tmp_path, capsys):
    folder = tiny.save(tiny_flow.aura_flow(), tmp_path / "aura")
    out = tmp_path / "out"
    drawing = ["--methods=standard,redenoise", "--seeds=0-1", "--num_inference_steps=2", "--device=cpu"]
    assert main(["generate", "a red cube", f"--model={folder}", f"--out={out}", *drawing]) == 0
    said = capsys.readouterr().err
    assert "noiseprompt: warning: pipelines of class AuraFlowPipeline are of no known family" in said
    assert len(list(out.glob("*.png"))) == 5
    (tmp_path / "prompts.txt").write_text(
        "".join(
            f"a {c} {shape}\n" for c in ("red", "blue", "green", "yellow") for shape in ("circle", "square", "star")
        )
    )
    npd = [
        f"--prompts={tmp_path / 'prompts.txt'}",
        f"--out={tmp_path / 'npd'}",
        "--num_inference_steps=2",
        "--device=cpu",
    ]
    assert main(["collect", f"--model={folder}", *npd, "--scorers+", "shapes-preference"]) == 0
    training = [f"--npd={tmp_path / 'npd'}", f"--out={tmp_path / 'net'}", "--device=cpu", "--batch_size=1"]
    assert main(["train", f"--model={folder}", *training, "--validation_share=0.4"]) == 2
    assert "has no text embedding for an NPNet" in capsys.readouterr().err


def test_a_known_class_warns_of_nothing(xl):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Pipeline(xl)
        Pipeline(tiny_flow.qwen_image())


def test_what_cannot_work_is_one_clear_error(tmp_path):
    import diffusers

    for name, why in (
        ("StableDiffusionImg2ImgPipeline", "its call has no latents"),
        ("StableVideoDiffusionPipeline", "its call has no prompt"),
        ("NoSuchPipeline", "the installed diffusers does not have it"),
    ):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
        with pytest.raises(ModelLoadError, match=f"{name}.*{why}.*StableDiffusionXLPipeline"):
            Pipeline.load(tmp_path)
    assert unusable(diffusers.StableDiffusionPAGPipeline) == ""
    pipe = perturbed_attention()
    pipe.prepare_latents = lambda *args, **kwargs: torch.zeros(1, 16, 16)
    with pytest.raises(ModelLoadError, match=r"latents for 256 x 256 pixels are \(1, 16, 16\)"):
        Pipeline(pipe)


def test_an_unknown_class_that_fails_later_says_so():
    with pytest.warns(NoisepromptWarning):
        pipeline = Pipeline(perturbed_attention())
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    pipeline.pipe.unet.register_forward_hook(lambda *args: 1 / 0)
    with pytest.raises(InputError, match=r"of no known family, fails \(ZeroDivisionError"):
        pipeline.redenoise(embeds, x)


# ------------------------------------------------------------------------------------------------------------- loading


def test_offloading_needs_an_accelerator(tmp_path, xl):
    folder = tiny.save(xl, tmp_path / "model")
    for offload in ("model", "sequential"):
        with pytest.raises(InputError, match=f"offload '{offload}' on device 'cpu'.*accelerator"):
            Pipeline.load(folder, offload=offload)
    with pytest.raises(InputError, match=r"'disk'.*model, sequential"):
        Pipeline.load(folder, offload="disk")


def test_offload_is_diffusers_own(monkeypatch):
    calls = []
    pipe = SimpleNamespace(
        enable_model_cpu_offload=lambda device: calls.append(("model", device)),
        enable_sequential_cpu_offload=lambda device: calls.append(("sequential", device)),
        to=lambda device: calls.append(("to", device)),
    )
    loading.place(pipe, "cuda", "model")
    loading.place(pipe, "cuda:1", "sequential")
    loading.place(pipe, "cpu")
    assert calls == [("model", "cuda"), ("sequential", "cuda:1"), ("to", "cpu")]


def test_without_network_the_message_says_how_to_get_a_folder(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NoisepromptError, match="hf download OWNER/NAME --local-dir FOLDER"):
        Pipeline.load("stabilityai/stable-diffusion-xl-base-1.0")


def test_weights_that_are_offloaded_are_the_same_weights():
    from accelerate import cpu_offload

    pipeline = Pipeline(tiny.stable_diffusion())
    before, embeds = weights_digest(pipeline.denoiser), pipeline.encode(PROMPTS)
    x = noise(pipeline)
    expected = pipeline.redenoise(embeds, x)
    cpu_offload(pipeline.pipe.unet, torch.device("cpu"))  # what sequential offloading does, with the CPU as accelerator
    assert next(pipeline.denoiser.parameters()).is_meta
    assert weights_digest(pipeline.denoiser) == before and pipeline.dtype == torch.float32
    assert torch.equal(pipeline.redenoise(embeds, x), expected)
