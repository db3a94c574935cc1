"""Domain check: whether footage looks and sounds like the pocket world. For anything else the network generates noise."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ...world.render import scenery_share
from .audio_codec import AudioCodec, log_mel

MIN_SCENERY = 0.4  # share of the pixels that match a background of the world
MAX_RESIDUAL, MAX_MEAN_SQUARE = 0.25, 2.8  # RMS error of log-mel frames; mean square of the standardised latents

OUT_OF_DOMAIN_ADVICE = (
    "The pocket model was trained only on a small procedural world (balls, bells, lamps, drums, birds and clocks). For your own footage, "
    "use a full-size model: load JavisDiT v0.1 or LTX-2 and keep a stream with 'Duet Freeze Stream'."
)


def video_domain_problem(frames: Float[Tensor, "t 3 h w"]) -> str:
    """Why ``frames`` do not look like the pocket world, or ''."""
    share = scenery_share(frames)
    if share >= MIN_SCENERY:
        return ""
    return (
        f"The video does not look like the pocket world: {share:.0%} of it matches one of the world's backgrounds (clips of the world: at "
        f"least {MIN_SCENERY:.0%})."
    )


def audio_domain_problem(codec: AudioCodec, waveform: Float[Tensor, "2 samples"]) -> str:
    """Why ``waveform`` does not sound like the pocket world, or ''. Tones, music and loud noise are detected; quiet noise is not."""
    mel = log_mel(waveform[None].clamp(-1, 1), sample_rate=codec.sample_rate)
    latent = codec.encode(waveform[None])
    reconstructed = codec.decode_mel(latent)[..., : mel.shape[-1]]
    residual, size = float((mel - reconstructed).square().mean().sqrt()), float(latent.square().mean())
    if residual <= MAX_RESIDUAL and size <= MAX_MEAN_SQUARE:
        return ""
    return (
        f"The audio does not sound like the pocket world: the codec's reconstruction error is {residual:.2f} (clips of the world: at most "
        f"{MAX_RESIDUAL:g}) and the mean square of its latents is {size:.1f} (at most {MAX_MEAN_SQUARE:g})."
    )
