"""Measurements of audio as a stream: in pieces as in one, and without growing memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duet_av.pipelines.media.blocks import Blocks
from duet_av.pipelines.sync.sound import SoundMeter, sound_of


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=12),
    *(st.integers(low, high) for low, high in ((1, 9), (0, 5), (0, 5))),
)
@settings(max_examples=60, deadline=None)
def test_blocks_hold_every_sample_once_with_its_neighbours(lengths, size, before, after):
    stream = torch.arange(1.0, 1 + sum(lengths))[None]
    blocks = Blocks(size, before=before, after=after)
    found = [block.clone() for part in stream.split(lengths, dim=1) for block in blocks.add(part)]
    found += list(blocks.end())
    padded = torch.nn.functional.pad(stream, (before, after))
    start = 0
    for block in found:
        assert torch.equal(block, padded[:, start : start + block.shape[1]])
        start += block.shape[1] - before - after
    assert start == stream.shape[1]


def test_pieces_give_the_same_measurements_as_the_whole():
    generator = torch.Generator().manual_seed(0)
    for rate, seconds in ((44_100, 7.3), (16_000, 0.05), (8_000, 2.0), (48_000, 0.39)):
        wave = 0.3 * torch.randn(2, round(seconds * rate), generator=generator)
        wave[:, wave.shape[1] // 2 :] *= 0.01
        wave[0, 5:12] = 1.0
        whole, meter = sound_of(wave, sample_rate=rate), SoundMeter(rate)
        for part in wave.split(1024, dim=1):
            meter.add(part)
        parts = meter.result()
        assert torch.allclose(parts.onsets, whole.onsets, atol=1e-5)
        assert torch.allclose(parts.energy, whole.energy, rtol=1e-5)
        assert parts.loudness == whole.loudness
        assert parts.seconds == whole.seconds
        assert whole.loudness.clipped >= 1
        assert float(whole.energy.sum()) == pytest.approx(float(wave.square().sum()), rel=1e-4)
