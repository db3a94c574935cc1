"""Reconstruction of rendered clips by the codecs and by parts of them."""

from __future__ import annotations

import torch

from ...models.pocket.load import load_audio_codec, load_video_codec
from ...models.pocket.video_codec import VideoCodec
from ..fidelity import audio_fidelity, video_fidelity
from ..prompts import bench_prompts
from ..readings import Probes
from ..runner import Record, Run, chunks, differences, summarise
from ..tables import Table


@torch.inference_mode()
def measure(run: Run) -> Table:
    """Every codec, and parts of it, on rendered clips of held-out compositions."""
    frames, sound, probes = load_video_codec(), load_audio_codec(), Probes.load()
    linear = VideoCodec(channels=frames.channels)
    linear.pca = frames.pca
    videos = {"as-rendered": None, "video-linear": linear, "video-learnt": frames}
    audio_paths = {"as-rendered": "nothing", "vocoder": "vocoder", "audio-codec": "codec"}
    found: dict[str, list[Record]] = {name: [] for name in (*videos, *audio_paths)}
    for part in chunks(bench_prompts(run.prompts, run.seed)):
        scenes = [p.scene for p in part]
        for name, codec in videos.items():
            found[name] += zip(part, video_fidelity(codec, probes, scenes), strict=True)
        for name, through in audio_paths.items():
            found[name] += zip(part, audio_fidelity(sound, probes, scenes, through=through), strict=True)
        run.on_chunk(len(part))
    rows = {name: summarise(records) for name, records in found.items()}
    rows["video-learnt-minus-video-linear"] = differences(found["video-learnt"], found["video-linear"])
    return Table("codecs", run.prompts, run.seed, rows)
