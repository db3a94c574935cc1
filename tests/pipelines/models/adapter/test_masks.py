"""Masks compared with the true shared regions: AUROC, segments of longer clips."""

import pytest
import torch

from duet_av.pipelines.bench.adapter_masks import auroc, mask_quality, openness
from duet_av.pipelines.bench.readings import render, true_latents
from duet_av.pipelines.core.sizes import ClipShape, segments
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.adapter.load import load_adapter
from duet_av.pipelines.models.adapter.net import (
    AdapterConfig,
    MaskedAdapter,
)
from duet_av.pipelines.models.pocket.load import load_audio_codec, load_video_codec
from duet_av.pipelines.world import make_scene, make_scenes

MIX = {"muted": 0.5, "offscreen": 0.5}


def test_auroc_of_small_examples():
    assert auroc([3.0, 4.0], [1.0, 2.0]) == 1
    assert auroc([1.0], [1.0]) == 0.5
    assert auroc([1.0, 4.0], [2.0, 3.0]) == 0.5
    with pytest.raises(ValueError, match="0 positives and 1 negatives"):
        auroc([], [1.0])


@torch.inference_mode()
def test_longer_clips_are_evaluated_in_segments(codecs, scenes, latents, cache, monkeypatch):
    torch.manual_seed(0)
    half = MaskedAdapter(AdapterConfig(16, 24, dim=24, hidden=16, heads=2, seconds=1.0)).eval()
    pieces = segments(latents, half.frames)
    assert torch.equal(pieces.video[1], latents.video[0, :, 4:])
    assert torch.equal(pieces.audio[2], latents.audio[1, :, :16])
    short = cache.cut(half.frames)
    assert torch.equal(short.video.float(), pieces.video)
    assert torch.equal(short.audio.float(), pieces.audio)
    assert torch.equal(short.tokens[2:4], cache.tokens[1].expand(2, -1, -1))
    whole = MaskedAdapter(AdapterConfig(16, 24, dim=24, hidden=16, heads=2)).eval()

    def loudness(self, z):
        """A mask equal to each token's norm, which does not depend on the segments."""
        return z.map(lambda tokens: tokens.norm(dim=-1, keepdim=True).expand_as(tokens))

    whole.q.load_state_dict(half.q.state_dict())
    monkeypatch.setattr(MaskedAdapter, "masks", loudness)
    assert mask_quality(half, scenes, latents) == pytest.approx(mask_quality(whole, scenes, latents), rel=1e-4)
    with pytest.raises(ValueError, match="Clips of 8 latent frames cannot be split into segments of 3"):
        segments(latents, 3)


@torch.inference_mode()
def test_masks_are_compared_with_the_true_regions(net, scenes, latents):
    found = mask_quality(net, scenes, latents)
    assert {name for name in found if name.startswith("auroc")} == {"auroc_video", "auroc_still", "auroc_audio"}
    masks = Streams(torch.zeros(1, 128, 24), torch.zeros(1, 8, 24))
    masks.video.view(1, 8, 4, 4, 24)[0, 3, 2, 1] = 1
    masks.audio[0, 3] = 1
    video, audio = openness(net, masks).both()
    assert video.nonzero().tolist() == [[0, 3, 1]]
    assert audio.nonzero().tolist() == [[0, 3]]

    class Knowing(MaskedAdapter):
        def masks(self, z):
            return truth

    scene = make_scene(9, 2, stratum="muted")
    heard = [s for s in scene.subjects if s.heard and s.seen]
    truth = Streams(torch.zeros(1, 8, 4, 4, 24), torch.zeros(1, 8, 24))
    for s in heard:
        for t in s.times:
            at = min(3, int(s.x * 4))
            truth.video[0, int(t * 4), :, max(0, at - 1) : at + 2] = 1
    assert heard, "the scene has an audible source"
    truth = Streams(truth.video.flatten(1, 3), truth.audio)
    knowing = Knowing(AdapterConfig(16, 24, dim=24, hidden=16, heads=2)).eval()
    off = make_scene(9, 2, stratum="offscreen")
    frames, waveform = render([scene, off], ClipShape())
    both = Streams(load_video_codec().encode(frames), load_audio_codec().encode(waveform))
    truth = truth.map(lambda m: torch.cat([m, m]))
    assert mask_quality(knowing, [scene, off], both)["auroc_still"] > 0.6


def test_the_shipped_masks_find_the_shared_regions(codecs):
    scenes = make_scenes(31, 64, mix=MIX, split="test")
    found = mask_quality(load_adapter(), scenes, true_latents(codecs, scenes, ClipShape()))
    assert min(found["auroc_video"], found["auroc_still"], found["auroc_audio"]) > 0.85, found
