"""Latents, prompts and VAEs of another model are rejected before anything is sampled, encoded or decoded."""

from itertools import permutations

import pytest
import torch

from duet_av.pipelines.guidance.strategy import PerStreamCFG

SIGMAS = torch.tensor([1.0, 0.5, 0.0])


def guider(run, host):
    return run("DuetGuider", host.model, host.positive, PerStreamCFG(1.0, 1.0), host.negative)[0]


@pytest.mark.parametrize(("sampled", "foreign"), [*permutations(("pocket", "ltx", "h3"), 2)])
def test_a_latent_of_another_model_is_rejected_before_sampling(comfy, run, request, sampled, foreign):
    host, latent = request.getfixturevalue(sampled), request.getfixturevalue(foreign).latent
    with pytest.raises(
        ValueError, match=r"The video latent has the shape \(1, .*Connect an empty latent for this model"
    ):
        run("DuetSampler", guider(run, host), {"samples": latent}, 0, 2, sigmas=SIGMAS)
    euler = comfy.samplers.sampler_object("euler")
    with pytest.raises(ValueError, match="The video latent has the shape"):
        guider(run, host).sample(latent, latent, euler, SIGMAS, disable_pbar=True)


def test_swapped_or_missing_audio_channels_are_rejected(comfy, run, pocket):
    video, _ = pocket.latent.unbind()
    with pytest.raises(
        ValueError, match=r"The audio latent has the shape \(1, 8, 13, 16\); The Duet pocket model needs 24"
    ):
        run("DuetSampler", guider(run, pocket), {"samples": comfy.nested((video, torch.zeros(1, 8, 13, 16)))}, 0, 2)


def test_stock_samplers_reject_foreign_latents_and_prompts_too(comfy, pocket, ltx):
    sample = comfy.core.KSampler().sample
    with pytest.raises(ValueError, match="The video latent has the shape"):
        sample(pocket.model, 0, 2, 1.0, "euler", "simple", pocket.positive, pocket.negative, {"samples": ltx.latent})
    with pytest.raises(ValueError, match="states have width 96; The Duet pocket model needs 128"):
        sample(pocket.model, 0, 2, 1.0, "euler", "simple", ltx.positive, ltx.negative, {"samples": pocket.latent})


def test_swapped_and_foreign_vaes_are_rejected(comfy, run, loaded, pocket, ltx):
    video_vae, audio_vae = loaded[2:]
    latent = {"samples": pocket.latent}
    footage = {"audio": {"waveform": torch.zeros(1, 2, 32_000), "sample_rate": 16_000}}
    for node, more, named in (("DuetDecode", (False,), {}), ("DuetEncodeAV", (), footage)):
        with pytest.raises(ValueError, match="The VAEs are swapped"):
            run(node, latent, audio_vae, video_vae, *more, **named)
        with pytest.raises(ValueError, match="The VAE at 'audio_vae' is for latents with 16 channels and 5 dimensions"):
            run(node, latent, video_vae, video_vae, *more, **named)
        with pytest.raises(ValueError, match=r"the video latent has the shape \(1, 128, 3, 4, 4\)"):
            run(node, {"samples": ltx.latent, "frame_rate": 24.0}, video_vae, audio_vae, *more, **named)
    settings = {"seed": 5, "takes": 2, "keep": 1, "score": "", "label": "", "steps": 2}
    with pytest.raises(ValueError, match="The VAEs are swapped"):
        run("DuetSeedSweep", guider(run, pocket), latent, audio_vae, video_vae, **settings)
