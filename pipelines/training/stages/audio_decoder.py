"""Stage ``audio-decoder``: the vocoder behind the audio codec's linear inverse."""

from __future__ import annotations

from ...models.pocket.audio_codec import AudioCodec
from ...models.pocket.load import FILES, load_audio_codec
from ..decoders import DecoderClips
from ..vocoder import AudioDecoderStage
from .registry import Job, Preset, register

WIDTH = 256


@register("audio-decoder", Preset(steps=3000, batch=8, lr=1e-3, score_every=1000))
def build(job: Job) -> AudioDecoderStage:
    clips = DecoderClips.build(job.run, seed=job.seed)
    codec = _with_vocoder(load_audio_codec(), new=job.from_scratch)
    return AudioDecoderStage(codec, job.folder / FILES["audio-codec"].name, clips=clips)


def _with_vocoder(codec: AudioCodec, *, new: bool) -> AudioCodec:
    """``codec`` with a trainable vocoder, a new one where asked for or missing; the PCA, which defines the latents, is kept."""
    if codec.vocoder and not new:
        return codec.requires_grad_(True)
    complete = AudioCodec(channels=codec.channels, sample_rate=codec.sample_rate, width=WIDTH)
    complete.pca = codec.pca
    return complete.requires_grad_(True)
