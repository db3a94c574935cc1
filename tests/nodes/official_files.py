"""Tiny random LTX-2 and MiniMax H3 files in the official layouts, written with the host's own classes.

LTX-2.0 and 2.3 are single files whose sizes are in their metadata; LTX-2.5 has a file for each part. The host reads the sizes of the
H3 network from its tensors. It fixes those of the H3 VAEs in code, so ``shrink_h3_vaes`` gives these classes smaller defaults."""

import functools
import json
import shutil
import wave
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

SAMPLES = Path(__file__).parents[2] / "web" / "samples"
FPS, SAMPLE_RATE, TEXT_WIDTH = 24.0, 24_000, 96  # text width: twice the caption channels
TRANSFORMER = {
    "in_channels": 128,
    "out_channels": 128,
    "cross_attention_dim": 64,
    "audio_cross_attention_dim": 32,
    "attention_head_dim": 32,
    "audio_attention_head_dim": 16,
    "num_attention_heads": 2,
    "audio_num_attention_heads": 2,
    "caption_channels": TEXT_WIDTH // 2,
    "num_layers": 2,
    "connector_attention_head_dim": 24,
    "connector_num_attention_heads": 2,
    "connector_num_layers": 1,
    "audio_in_channels": 128,
    "audio_out_channels": 128,
}
SINCE_2_3 = {
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "cross_attention_adaln": True,
    "apply_gated_attention": True,
}
ONE, TWICE = {"num_layers": 1}, {"multiplier": 1}
UP = ["compress_all", {"residual": False, "multiplier": 1}]
VIDEO_VAE = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "encoder_blocks": [
        ["res_x", ONE],
        ["compress_space_res", TWICE],
        ["res_x", ONE],
        ["compress_time_res", TWICE],
        ["compress_all_res", TWICE],
        ["compress_all_res", TWICE],
        ["res_x", ONE],
    ],
    "decoder_blocks": [["res_x", ONE], UP, UP, UP, ["res_x", ONE]],
    "encoder_base_channels": 8,
    "decoder_base_channels": 8,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "causal_decoder": False,
    "timestep_conditioning": False,
    "spatial_padding_mode": "zeros",
}
AUDIO_VAE = {
    "model": {
        "params": {
            "ddconfig": {
                "double_z": True,
                "mel_bins": 64,
                "z_channels": 8,
                "resolution": 256,
                "in_channels": 2,
                "out_ch": 2,
                "ch": 16,
                "ch_mult": [1, 2, 4],
                "num_res_blocks": 1,
                "attn_resolutions": [],
                "dropout": 0.0,
                "mid_block_add_attention": False,
                "norm_type": "pixel",
                "causality_axis": "height",
            },
            "sampling_rate": 16_000,
        }
    },
    "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
}
VOCODER = {
    "upsample_initial_channel": 32,
    "output_sample_rate": SAMPLE_RATE,
    "upsample_rates": [6, 5, 2, 2, 2],
    "upsample_kernel_sizes": [16, 15, 8, 4, 4],
    "stereo": True,
}
H3 = {
    "hidden_size": 64,
    "num_layers": 2,
    "token_refiner_num_layers": 1,
    "num_attention_heads": 2,
    "attention_head_dim": 96,
    "ffn_hidden_size": 64,
    "text_dim": 40,
    "timestep_input_dim": 32,
    "time_embed_hidden_size": 64,
    "time_embed_dim": 32,
}
CONFIG = {"transformer": TRANSFORMER, "vae": VIDEO_VAE, "audio_vae": AUDIO_VAE, "vocoder": VOCODER}
# Inputs of nodes that name a file, and its folder.
FOLDERS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "lora_name": "loras",
    "model_name": "latent_upscale_models",
}


def _random(module, generator, scale):
    """The module's state under its own names with random values; statistics of the latents are the unit ones."""

    def draw(name, value):
        if "std-of-means" in name or "latents_std" in name:
            return torch.ones(value.shape)
        if name.endswith((".filter", "inv_freq")):  # constants of the architecture
            return value.clone()
        return torch.randn(value.shape, generator=generator) * scale if value.is_floating_point() else value.clone()

    return {name: draw(name, value).contiguous() for name, value in module.state_dict().items()}


def host_model(family, config):
    """The host's model class of ``family`` with the sizes in ``config``, in float32."""
    import comfy.supported_models

    described = getattr(comfy.supported_models, family)(dict(config))
    described.set_inference_dtype(torch.float32, None)
    return described.get_model({}, device=torch.device("cpu"))


def _ltx2_parts(version):
    """Tensors of the transformer, the video VAE and the audio VAE with its vocoder, and the metadata."""
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
    from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE

    generator = torch.Generator().manual_seed(0)
    sizes = TRANSFORMER | SINCE_2_3 if version >= "2.3" else TRANSFORMER
    metadata = {"config": json.dumps({**CONFIG, "transformer": sizes})}
    network = host_model("LTXAV", {**sizes, "image_model": "ltxav"}).diffusion_model
    transformer = {f"model.diffusion_model.{name}": z for name, z in _random(network, generator, 0.08).items()}
    video = _random(VideoVAE(version=2, config=VIDEO_VAE), generator, 0.05)
    audio = {}
    for name, z in _random(AudioVAE(metadata=metadata), generator, 0.05).items():
        audio[f"audio_vae.{name.removeprefix('autoencoder.')}" if name.startswith("autoencoder.") else name] = z
    return transformer, video, audio, metadata


def write_ltx2(path, version="2.0"):
    """Write everything but the text encoder to a single file, as LTX-2.0 and 2.3 are released."""
    transformer, video, audio, metadata = _ltx2_parts(version)
    save_file(transformer | {f"vae.{name}": z for name, z in video.items()} | audio, path, metadata=metadata)


def write_ltx2_parts(transformer_path, video_path, audio_path, version="2.5"):
    """Write a file for each part, as LTX-2.5 is released."""
    transformer, video, audio, metadata = _ltx2_parts(version)
    save_file(transformer, transformer_path, metadata=metadata)
    save_file(video, video_path, metadata=metadata)
    save_file(audio, audio_path, metadata=metadata)


def write_ltx2_upscaler(path):
    """Write the latent upscaler of the second stage: twice the width and height."""
    import comfy.ops
    from comfy.ldm.lightricks.latent_upsampler import LatentUpsampler

    sizes = {"in_channels": 128, "mid_channels": 32, "num_blocks_per_stage": 1, "dims": 3}
    network = LatentUpsampler(comfy.ops.disable_weight_init, **sizes)
    save_file(_random(network, torch.Generator().manual_seed(0), 0.05), path, metadata={"config": json.dumps(sizes)})


def shrink_h3_vaes():
    """Give the host's H3 VAE classes small default sizes; everything else about them stays the host's."""
    from comfy.ldm.minimax import audio_vae, vae

    vae.ViT3DDecoder = functools.partial(vae.ViT3DDecoder, num_layers=1, heads=1)
    vae.MiniMaxH3VideoVAE = functools.partial(vae.MiniMaxH3VideoVAE, ch=32, ch_mult=(1,) * 6, num_res_blocks=1)
    audio_vae.MiniMaxH3AudioVAE = functools.partial(
        audio_vae.MiniMaxH3AudioVAE, encoder_dim=2, latent_dim=64, decoder_dim=128
    )


def write_h3(transformer_path, video_path, audio_path):
    """Write the network and both VAEs of MiniMax H3. ``shrink_h3_vaes`` must have been called, here and in the process that loads."""
    from comfy.ldm.minimax import audio_vae, vae

    generator = torch.Generator().manual_seed(0)
    network = host_model("MiniMaxH3", {**H3, "image_model": "minimax_h3"}).diffusion_model
    save_file(
        {f"model.diffusion_model.{name}": z for name, z in _random(network, generator, 0.1).items()}, transformer_path
    )
    save_file(_random(vae.MiniMaxH3VideoVAE(), generator, 0.05), video_path)
    save_file(_random(audio_vae.MiniMaxH3AudioVAE(), generator, 0.05), audio_path)


def write_files(graph, family, base):
    """Write what ``graph`` loads, in the server's folders, unless it is there."""
    for node in graph.values():
        for slot, folder in FOLDERS.items():
            name = node["inputs"].get(slot)
            if isinstance(name, str) and not (path := base / "models" / folder / name).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_model(path, folder, family, base)
        if node["class_type"] == "LoadImage":
            path = base / "input" / node["inputs"]["image"]
            path.parent.mkdir(exist_ok=True)
            Image.effect_noise((128, 64), 60).convert("RGB").save(path)
        if node["class_type"] == "LoadVideo":
            (base / "input").mkdir(exist_ok=True)
            shutil.copy(SAMPLES / node["inputs"]["file"], base / "input")
        if node["class_type"] == "LoadAudio":
            (base / "input").mkdir(exist_ok=True)
            with wave.open(str(base / "input" / node["inputs"]["audio"]), "wb") as file:
                file.setparams((2, 2, 44_100, 0, "NONE", ""))
                file.writeframes(torch.randint(-9000, 9000, (2 * 2 * 44_100,), dtype=torch.int16).numpy().tobytes())


def _write_model(path, folder, family, base):
    if folder == "checkpoints":
        write_ltx2(path, "2.3" if "2.3" in path.name else "2.0")
    elif folder == "latent_upscale_models":
        write_ltx2_upscaler(path)
    elif folder == "loras":
        save_file({}, path)
    else:
        parts = [base / f"{family}_{part}" for part in ("network", "video", "audio")]
        if not parts[0].exists():
            (write_h3 if family == "h3" else write_ltx2_parts)(*parts)
        part = 0 if folder == "diffusion_models" else 1 if "video" in path.name else 2
        path.symlink_to(parts[part])
