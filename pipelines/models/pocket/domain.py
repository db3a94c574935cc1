"""Whether footage is of the pocket world. The network has seen nothing else, and would make noise of it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ...world.render import scenery_share
from .audio_codec import AudioCodec, log_mel

LEAST_SCENERY = 0.4  # of the pixels
MOST_RESIDUAL, MOST_SIZE = 0.25, 2.8  # of log-mel frames, root mean square; mean square of the standardised latents

OUT_OF_DOMAIN_ADVICE = (
    "The pocket model knows a small procedural world (balls, bells, lamps, drums, birds and clocks) and nothing else. For footage of "
    "your own use a full-size model: load JavisDiT v0.1 or LTX-2 and keep a stream with 'Duet Freeze Stream'."
)


def picture_out_of_domain(frames: Float[Tensor, "t 3 h w"]) -> str:
    """Why ``frames`` are not of the world, or ''."""
    share = scenery_share(frames)
    if share >= LEAST_SCENERY:
        return ""
    return (
        f"The picture does not look like the pocket world: {share:.0%} of it is one of the world's backgrounds (of its clips: at least "
        f"{LEAST_SCENERY:.0%})."
    )


def sound_out_of_domain(codec: AudioCodec, waveform: Float[Tensor, "2 samples"]) -> str:
    """Why ``waveform`` is not of the world, or ''. Tones, music and loud noise are told; quiet noise is not."""
    mel = log_mel(waveform[None].clamp(-1, 1), sample_rate=codec.sample_rate)
    latent = codec.encode(waveform[None])
    kept = codec.decode_mel(latent)[..., : mel.shape[-1]]
    residual, size = float((mel - kept).square().mean().sqrt()), float(latent.square().mean())
    if residual <= MOST_RESIDUAL and size <= MOST_SIZE:
        return ""
    return (
        f"The sound is not like the pocket world's: its codec leaves out {residual:.2f} of it (of the world's clips: at most "
        f"{MOST_RESIDUAL:g}) and its latents have size {size:.1f} (at most {MOST_SIZE:g})."
    )
