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


def test_a_folder_of_clips_becomes_a_lora_that_the_host_loads(comfy, tmp_path):
    """Clips, ``duet data``, 20 steps of ``duet train lora``, and the host's own LoRA loader: its output equals peft's."""
    pytest.importorskip("peft")
    import comfy.sd
    import comfy.utils
    from ltx2_release import write_clips, write_release
    from official_files import host_model

    from duet_av.pipelines.cli import main as cli
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.ltx2.folder import LTX2Folder
    from duet_av.pipelines.models.ltx2.keys import to_official
    from duet_av.pipelines.models.ltx2.lora import add_lora

    clips, release = write_clips(tmp_path / "clips"), write_release(tmp_path / "release")
    shards, model = tmp_path / "shards", ("--model", "ltx2", str(release))
    data = ["data", str(clips), *model, "-o", str(shards), "--size", "64x32", "--seconds", "0.7"]
    assert cli.main(data) == 0
    train = ["train", "lora", *model, "--data", str(shards), "--run", str(tmp_path), "--steps", "20", "--rank", "4"]
    assert cli.main([*train, "--lr", "0.02"]) == 0

    folder = LTX2Folder(release)
    ours = folder.network(torch.device("cpu"), torch.float32)
    theirs = host_model("LTXAV", {**folder.sizes().official, "image_model": "ltxav"})
    theirs.diffusion_model.load_state_dict(to_official(ours.transformer.state_dict()), strict=False)
    patcher = comfy.model_patcher.ModelPatcher(theirs, torch.device("cpu"), torch.device("cpu"))
    file = comfy.utils.load_torch_file(str(tmp_path / "lora" / "ltx2-lora.safetensors"), safe_load=True)
    patched, _ = comfy.sd.load_lora_for_models(patcher, None, file, 1.0, 0.0)
    assert len(patched.patches) == 2 * 6 * 4

    x, text = Streams(torch.randn(1, 128, 3, 1, 2), torch.randn(1, 128, 18)), torch.randn(2, 1, 7, 16)
    plain = _host_velocity(theirs.diffusion_model, x, text)
    patched.patch_model()
    changed = _host_velocity(theirs.diffusion_model, x, text)
    add_lora(ours, rank=4)
    _load_peft(ours.transformer, file)
    with torch.inference_mode():
        level = torch.full((1, 1), 0.7)
        found = ours(x, Streams(level, level), Streams(text[0], text[1]), fps=24.0)
    for stream, before, after in zip(found, plain, changed, strict=True):
        assert (after - before).abs().max() > 1e-2
        torch.testing.assert_close(stream, after, atol=1e-4, rtol=0)


def _host_velocity(network, x, text):
    """Velocities of both streams at noise level 0.7."""
    video, audio = x.both()
    levels = (torch.full((1, video[0, 0].numel(), 1), 0.7), torch.full((1, audio.shape[2], 1), 0.7))
    bins = audio.unflatten(1, (8, 16)).transpose(2, 3)
    with torch.inference_mode():
        out = network([video.clone(), bins.clone()], levels, torch.cat([*text], -1), frame_rate=24.0, transformer_options={})
    return out[0].float(), out[1].transpose(2, 3).flatten(1, 2).float()


def _load_peft(transformer, file):
    """Load a LoRA file through peft, under diffusers' names."""
    from peft import set_peft_model_state_dict

    from duet_av.pipelines.models.ltx2.keys import to_diffusers

    layers = {name.removeprefix("diffusion_model."): z for name, z in file.items() if "lora_" in name}
    missing = set_peft_model_state_dict(transformer, to_diffusers(layers)).unexpected_keys
    assert not missing
