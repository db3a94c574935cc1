"""True clips through the codecs, and through parts of them."""

from __future__ import annotations

import torch

from ...models.pocket.load import PocketModel
from ...models.pocket.video_codec import VideoCodec
from ..fidelity import picture_fidelity, sound_fidelity
from ..prompts import bench_prompts
from ..readings import Probes
from ..runner import Record, Run, chunks, differences, summarise
from ..tables import Table


@torch.inference_mode()
def measure(run: Run) -> Table:
    """True clips of held-out compositions through the codecs, and through parts of them."""
    model, probes = PocketModel.load(), Probes.load()
    linear = VideoCodec(channels=model.video_codec.channels)
    linear.pca = model.video_codec.pca
    pictures = {"as-rendered": None, "video-linear": linear, "video-learnt": model.video_codec}
    sounds = {"as-rendered": "nothing", "griffin-lim": "griffin-lim", "audio-codec": "codec"}
    found: dict[str, list[Record]] = {name: [] for name in (*pictures, *sounds)}
    for part in chunks(bench_prompts(run.prompts, run.seed)):
        scenes = [p.scene for p in part]
        for name, codec in pictures.items():
            found[name] += zip(part, picture_fidelity(codec, probes, scenes), strict=True)
        for name, through in sounds.items():
            found[name] += zip(part, sound_fidelity(model.audio_codec, probes, scenes, through=through), strict=True)
        run.on_chunk(len(part))
    rows = {name: summarise(records) for name, records in found.items()}
    rows["video-learnt-minus-video-linear"] = differences(found["video-learnt"], found["video-linear"])
    return Table("codecs", run.prompts, run.seed, rows)
