"""The files of the full-size models: how each is identified by its tensor names, where it comes from, its licence and its size.

The rows of JavisDiT follow its repositories and documentation; the released files themselves were not opened. The rows of the host's own
models were reported by others as of ``REPORTED_ON``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

REPORTED_ON = "September 2026"
NOT_STATED = "not stated in the repository"


@dataclass(frozen=True)
class Part:
    """One file, or folder of files, of a model."""

    name: str
    keys: tuple[str, ...]  # tensor names that identify the file: rows earlier in ``PARTS`` do not have them all
    folder: str = ""  # below the host's models folder; empty if the file is only identified, not used
    source: str = ""
    licence: str = ""
    gigabytes: float = 0.0  # size of the weights in bfloat16
    pickle: str = ""  # name of the official file, if it is a pickle
    required: bool = True


NON_COMMERCIAL = "CC-BY-NC-SA-4.0, non-commercial"
T5_END = "encoder.final_layer_norm.weight"
PARTS = (
    Part(
        "JavisDiT v0.1",
        ("va_cross_blocks.0.gamma_m1", "st_prior_embedder.y_proj.fc1.weight"),
        "diffusion_models",
        "JavisVerse/JavisDiT-v0.1-jav or -jav-240p4s: the folder with its config.json",
        NOT_STATED,
        7.44,
    ),
    Part("JavisDiT v0.1's text-to-audio stage", ("audio_temporal_blocks.0.scale_shift_table",)),
    Part("Open-Sora's STDiT v3", ("temporal_blocks.0.scale_shift_table", "fps_embedder.mlp.0.weight")),
    Part(
        "JavisDiT v1.0",
        ("audio_patch_embedding.weight", "patch_embedding.weight"),
        "diffusion_models",
        "JavisVerse/JavisDiT-v1.0-jav: its folders 'model' and 'lora' side by side",
        "MIT, as reported",
        4.5,
    ),
    Part("JavisDiT v1.0's text-to-audio stage", ("audio_patch_embedding.weight",)),
    Part(
        "JavisDiT v0.1's prior",
        ("spatial_query_emb",),
        "diffusion_models",
        "JavisVerse/JavisDiT-v0.1-prior",
        f"{NOT_STATED}; its text tower is ImageBind's: {NON_COMMERCIAL}",
        0.77,
    ),
    Part(
        "ImageBind",
        ("modality_trunks.text.blocks.0.attn.in_proj_weight",),
        "text_encoders",
        "imagebind_huge.pth of facebookresearch/ImageBind; needed if the prior's file has no text tower",
        NON_COMMERCIAL,
        0.71,
        "imagebind_huge.pth",
        required=False,
    ),
    Part(
        "Open-Sora's video autoencoder v1.2",
        ("temporal_vae.quant_conv.conv.weight",),
        "vae",
        "hpcai-tech/OpenSora-VAE-v1.2",
        "Apache-2.0, as reported",
        0.79,
    ),
    Part(
        "AudioLDM2's audio autoencoder",
        ("quant_conv.weight", "decoder.conv_out.weight"),
        "vae",
        "cvssp/audioldm2: its folders 'vae' and 'vocoder' side by side, each with its config.json",
        NON_COMMERCIAL,
        0.22,
    ),
    Part("AudioLDM2's vocoder", ("conv_pre.weight", "upsampler.0.weight")),
    Part(
        "Wan2.1's video autoencoder",
        ("decoder.middle.0.residual.0.gamma", "encoder.conv1.weight"),
        "vae",
        "Wan-AI/Wan2.1-T2V-1.3B, or the file that ComfyUI's own Wan workflows use",
        "Apache-2.0, as reported",
        0.25,
        "Wan2.1_VAE.pth",
    ),
    Part(
        "UMT5-XXL",
        (T5_END, "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"),
        "text_encoders",
        "the file that ComfyUI's own Wan workflows use (umt5_xxl)",
        "Apache-2.0, as reported",
        11.36,
    ),
    Part(
        "T5-XXL",
        (T5_END, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
        "text_encoders",
        "the encoder of DeepFloyd/t5-v1_1-xxl, as ComfyUI's own SD3 and Flux workflows use it (t5xxl)",
        "Apache-2.0, as reported",
        9.5,
    ),
    Part(
        "UMT5-XXL in Wan's own layout, which ComfyUI does not read",
        ("token_embedding.weight", "blocks.0.attn.q.weight"),
    ),
    Part("Wan2.1 without audio", ("patch_embedding.weight", "time_projection.1.weight")),
)


def identify(names: Iterable[str]) -> str:
    """The name of the row of ``PARTS`` that a file with tensor ``names`` belongs to, or 'an unknown kind of file'."""
    held = set(names)
    return next((part.name for part in PARTS if held.issuperset(part.keys)), "an unknown kind of file")


def part(name: str) -> Part:
    """The row of ``PARTS`` with this ``name``."""
    return next(row for row in PARTS if row.name == name)


@dataclass(frozen=True)
class Reported:
    """What others report about a model that the host runs natively."""

    name: str
    files: str
    licence: str
    memory: str


REPORTED = (
    Reported(
        "LTX-2 / 2.3 / 2.5",
        "Lightricks' repositories (gated); about 66 GiB in bfloat16 for 2.5, about 40 GB as int8",
        "free under 10 million dollars of revenue, else paid",
        "24 GB of video memory for 1024 x 1024, 5 s (2.5); 12 GB with 6-bit weights (2)",
    ),
    Reported(
        "MiniMax H3",
        "transformer 61.7 GB and text encoder 62.1 GB in bfloat16; about 40 GB as pruned int8",
        "no rights in the US, EU, UK and South Korea without authorisation, outputs included; elsewhere free under 20 million "
        "dollars of revenue",
        "one 80 GB GPU with offload in bfloat16; 12 to 16 GB with int8 and about 75 GB of main memory",
    ),
)
