"""The tiny LTX-2 of ``ltx2_release`` as an official file: the same tensors under official names, and the sizes in the metadata."""

import json
import re

from safetensors.torch import load_file, save_file

from duet_av.pipelines.models.ltx2.folder import LTX2Folder
from duet_av.pipelines.models.ltx2.keys import PREFIX, connectors_to_official, to_official

UP = {"residual": True, "multiplier": 2}


def write_official(path, release, *, more=None, config=None):
    """Write the parts of ``release`` but the text encoder; ``more``: other tensors, ``config``: changes of the sizes."""
    tensors = official_tensors(release) | (more or {})
    metadata = {"config": json.dumps(official_config(release) | (config or {}))}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=metadata)
    return path


def official_config(release):
    """The metadata entry 'config' of an official file with the parts of ``release``, whose architecture is that of ``write_release``."""
    folder = LTX2Folder(release)
    text = folder.config("connectors")
    transformer = {
        **folder.sizes().official,
        "frequencies_precision": "float64",
        "connector_num_attention_heads": 2,
        "connector_attention_head_dim": text["video_connector_attention_head_dim"],
        "audio_connector_attention_head_dim": text["audio_connector_attention_head_dim"],
        "connector_num_layers": 1,
        "connector_apply_gated_attention": text["video_gated_attn"],
        "caption_projection_first_linear": False,
    }
    none, one, up = ["res_x", {"num_layers": 0}], ["res_x", {"num_layers": 1}], ["compress_all", UP]
    kinds = ("space", "time", "all", "all")
    down = [block for kind in kinds for block in (none, [f"compress_{kind}_res", {"multiplier": 1}])]
    vae = {
        "_class_name": "CausalVideoAutoencoder",
        "dims": 3,
        "latent_channels": 128,
        "encoder_blocks": [*down, one],
        "decoder_blocks": [one, up, one, up, one, up, one],
        "decoder_base_channels": 4,
        "norm_layer": "pixel_norm",
        "patch_size": 4,
        "latent_log_var": "uniform",
    }
    sound = {
        "double_z": True,
        "mel_bins": 64,
        "z_channels": 8,
        "resolution": 256,
        "in_channels": 2,
        "out_ch": 2,
        "ch": 128,
        "ch_mult": [1, 1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "mid_block_add_attention": False,
        "norm_type": "pixel",
        "causality_axis": "height",
    }
    audio = {
        "model": {"params": {"ddconfig": sound, "sampling_rate": 16000}},
        "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
    }
    return {"transformer": transformer, "vae": vae, "audio_vae": audio}


def official_tensors(release):
    """The tensors of ``release`` under the names of an official file."""
    read = {
        part: load_file(release / part / "diffusion_pytorch_model.safetensors")
        for part in ("transformer", "connectors", "vae", "audio_vae")
    }
    tensors = {f"{PREFIX}{name}": value for name, value in to_official(read["transformer"]).items()}
    tensors |= connectors_to_official(read["connectors"])
    for part in ("vae", "audio_vae"):
        tensors |= {f"{part}.{_official_vae(name, part)}": value for name, value in read[part].items()}
    return tensors


def _official_vae(name, part):
    """A tensor's name in an official VAE, in whose video encoder and decoder residual blocks and those that resample are in one list."""
    if name.startswith("latents_"):
        return f"per_channel_statistics.{'mean' if name.endswith('mean') else 'std'}-of-means"
    if part == "audio_vae":
        return name
    side, offset, middle = ("down", 0, 8) if name.startswith("encoder.") else ("up", 2, 0)
    name = name.replace("mid_block.resnets", f"{side}_blocks.{middle}.res_blocks")
    name = re.sub(
        rf"{side}_blocks\.(\d)\.resnets", lambda m: f"{side}_blocks.{2 * int(m[1]) + offset}.res_blocks", name
    )
    return re.sub(rf"{side}_blocks\.(\d)\.{side}samplers\.0", lambda m: f"{side}_blocks.{2 * int(m[1]) + 1}", name)
