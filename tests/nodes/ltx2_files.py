"""A tiny LTX-2 with random weights in the official single-file layout, written with the host's own classes."""

import json

import torch
from safetensors.torch import save_file

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
CONFIG = {"transformer": TRANSFORMER, "vae": VIDEO_VAE, "audio_vae": AUDIO_VAE, "vocoder": VOCODER}


def _random(module, generator, scale):
    """The module's state under its own names with random values; statistics of the latents are the unit ones."""

    def draw(name, value):
        if "std-of-means" in name:
            return torch.ones(value.shape)
        return torch.randn(value.shape, generator=generator) * scale if value.is_floating_point() else value.clone()

    return {name: draw(name, value).contiguous() for name, value in module.state_dict().items()}


def write_ltx2(path):
    """Write the file; the sizes are in its metadata, as in the official ones."""
    import comfy.supported_models
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
    from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE

    generator = torch.Generator().manual_seed(0)
    family = comfy.supported_models.LTXAV({**TRANSFORMER, "image_model": "ltxav"})
    family.set_inference_dtype(torch.float32, None)
    network = family.get_model({}, device=torch.device("cpu")).diffusion_model
    metadata = {"config": json.dumps(CONFIG)}
    tensors = {f"model.diffusion_model.{name}": z for name, z in _random(network, generator, 0.08).items()}
    tensors |= {f"vae.{name}": z for name, z in _random(VideoVAE(version=2, config=VIDEO_VAE), generator, 0.05).items()}
    for name, z in _random(AudioVAE(metadata=metadata), generator, 0.05).items():
        tensors[f"audio_vae.{name.removeprefix('autoencoder.')}" if name.startswith("autoencoder.") else name] = z
    save_file(tensors, path, metadata=metadata)
