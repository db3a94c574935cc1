"""What ``duet data --model ltx2`` computes is what ComfyUI's own VAEs compute."""

import json

import pytest
import torch

TONE = torch.sin(torch.arange(2 * 11_333).view(2, -1) * 0.11) * 0.4


def test_latents_equal_those_of_the_hosts_own_vaes(comfy):
    pytest.importorskip("diffusers")
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
    from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE
    from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video
    from diffusers.loaders.single_file_utils import (
        convert_ltx2_audio_vae_to_diffusers,
        convert_ltx2_vae_to_diffusers,
    )
    from official_files import AUDIO_VAE, ONE, TWICE, VIDEO_VAE, VOCODER

    from duet_av.pipelines.media.segments import Segment
    from duet_av.pipelines.models.ltx2.encoders import LTX2Codecs

    downs = ("compress_space_res", "compress_time_res", "compress_all_res", "compress_all_res")
    blocks = [block for down in downs for block in (["res_x", ONE], [down, TWICE])]
    sizes = {"encoder_base_channels": 128, "encoder_blocks": [*blocks, ["res_x", ONE]]}
    video = _shaken(VideoVAE(version=2, config={**VIDEO_VAE, **sizes}))
    AUDIO_VAE["model"]["params"]["ddconfig"] |= {"ch": 128, "ch_mult": [1, 1, 1]}
    audio = _shaken(AudioVAE(metadata={"config": json.dumps({"audio_vae": AUDIO_VAE, "vocoder": VOCODER})}))

    ours = LTX2Codecs(
        AutoencoderKLLTX2Video(
            block_out_channels=(128,) * 4,
            layers_per_block=(1,) * 5,
            decoder_block_out_channels=(8, 16, 32),
            decoder_layers_per_block=(1,) * 4,
        ),
        AutoencoderKLLTX2Audio(ch_mult=(1, 1, 1), num_res_blocks=1),
    )
    _fill(ours.video, convert_ltx2_vae_to_diffusers(dict(video.state_dict())))
    _fill(ours.audio, convert_ltx2_audio_vae_to_diffusers(dict(audio.autoencoder.state_dict())))
    frames = torch.randint(0, 256, (9, 64, 96, 3), dtype=torch.uint8)
    found = ours(Segment(0.0, frames, TONE))
    with torch.inference_mode():
        pixels = frames.permute(3, 0, 1, 2)[None] / 127.5 - 1
        expected = video.encode(pixels)[0]
        heard = audio.encode(TONE[None], sample_rate=16_000)[0].transpose(1, 2).flatten(0, 1)  # channels x bins, frames
    torch.testing.assert_close(found.video, expected, atol=1e-4, rtol=0)
    assert found.audio.shape == (128, 18)
    assert found.audio.std() > 0.1
    torch.testing.assert_close(found.audio, heard[:, :18], atol=1e-4, rtol=0)


def _shaken(module):
    """``module`` with random values, also in the statistics of its latents."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point() and not name.endswith(".filter"):
                value.copy_(torch.rand(value.shape) + 0.5 if "of-means" in name else torch.randn(value.shape) * 0.08)
    return module.eval()


def _fill(module, tensors):
    """Load the encoder and the statistics; every tensor of them must be there."""
    wanted = {name for name in module.state_dict() if name.startswith(("encoder.", "latents_"))}
    module.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    module.eval()
