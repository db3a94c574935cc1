"""Tiny LTX-2 configurations and inputs, on which diffusers' class and ComfyUI's LTXAV model are compared.

Weights and inputs are drawn from their names, so that the fixture holds only outputs."""

import zlib
from pathlib import Path

import torch
from official_files import SINCE_2_3, TRANSFORMER

FIXTURE = Path(__file__).parent.parent / "parity" / "fixtures" / "ltx2.safetensors"
FPS, SIGMA, BATCH, SIZE, AUDIO, WORDS = 24.0, 0.7, 2, (3, 2, 2), 9, 7
OFFICIAL = {
    **TRANSFORMER,
    "use_middle_indices_grid": True,
    "causal_temporal_positioning": True,
    "av_ca_timestep_scale_multiplier": 1000.0,
    "rope_type": "split",
    "frequencies_precision": "float64",
}
# With use_prompt_adaln_single false, ComfyUI 0.33 fails in its own text attention, so that case has no outputs to compare with.
SINCE_2_5 = {
    **SINCE_2_3,
    "ff_bias": False,
    "audio_ff_bias": False,
    "use_keyframes_abs_pos_embedding": True,
}
VERSIONS = {"2.0": OFFICIAL, "2.3": OFFICIAL | SINCE_2_3, "2.5": OFFICIAL | SINCE_2_5}
KEEPS = ("none", "first frame", "audio", "video", "words", "a2v closed")


def drawn(name, shape, scale=1.0):
    """Normal values that depend on ``name`` only."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode()))) * scale


def weights(shapes):
    """Random weights for official names -> shapes."""
    return {name: drawn(name, shape, 0.08) for name, shape in shapes.items()}


def inputs(version):
    """Video [b, c, t, h, w], audio [b, c * f, t], and the texts of both streams [b, m, width]."""
    config = VERSIONS[version]
    own = config.get("caption_proj_before_connector", False)
    widths = (config["cross_attention_dim"], config["audio_cross_attention_dim"]) if own else (48, 48)
    video, audio = drawn("video", (BATCH, 128, *SIZE)), drawn("audio", (BATCH, 128, AUDIO))
    return video, audio, [drawn(f"text {i}", (BATCH, WORDS, width)) for i, width in enumerate(widths)]


def levels(keep):
    """Noise levels of video latent frames [b, t] and of audio latent frames [b, n]."""
    video, audio = torch.full((BATCH, SIZE[0]), SIGMA), torch.full((BATCH, AUDIO), SIGMA)
    if keep == "first frame":
        video[:, 0] = 0
    if keep in ("audio", "video"):
        {"audio": audio, "video": video}[keep].zero_()
    return video, audio


def word_mask(keep):
    """1 for the text tokens that are read; ``None`` for all."""
    return torch.tensor([[1] * 5 + [0] * 2, [1] * WORDS]) if keep == "words" else None


def host_outputs():
    """What ComfyUI's class computes, by version, case and stream."""
    from official_files import host_model

    found = {}
    for version, config in VERSIONS.items():
        network = host_model("LTXAV", {**config, "image_model": "ltxav"}).diffusion_model
        state = network.state_dict()
        network.load_state_dict(weights({name: value.shape for name, value in state.items()}))
        video, audio, text = inputs(version)
        for keep in KEEPS:
            v, a = levels(keep)
            with torch.inference_mode():
                out = network(
                    [video.clone(), audio.unflatten(1, (8, 16)).transpose(2, 3).clone()],
                    (v.repeat_interleave(SIZE[1] * SIZE[2], 1)[..., None], a[..., None]),
                    torch.cat(text, -1),
                    attention_mask=word_mask(keep),
                    frame_rate=FPS,
                    transformer_options={"a2v_cross_attn": keep != "a2v closed"},
                )
            found[f"{version}/{keep}/video"] = out[0].float()
            found[f"{version}/{keep}/audio"] = out[1].transpose(2, 3).flatten(1, 2).float()
    return {name: value.contiguous() for name, value in found.items()}
