"""The instruments: what they must read, and what they read on true clips."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duet_av.pipelines.metrics.bench import Probes, read, reconstruct
from duet_av.pipelines.metrics.events import f1, match, pick_peaks
from duet_av.pipelines.metrics.probes import onset_target
from duet_av.pipelines.metrics.sync import mean_interval, normalised, offset
from duet_av.pipelines.models.pocket.load import PocketModel
from duet_av.pipelines.shapes import ClipShape
from duet_av.pipelines.streams import Clip
from duet_av.pipelines.training.data import true_events
from duet_av.pipelines.world import make_scenes


def test_f1_of_known_cases():
    beat = {"drum": (0.2, 0.8, 1.4)}
    assert f1(beat, beat) == 1.0
    assert f1(beat, {"bell": (0.2, 0.8, 1.4)}) == 0.0
    assert f1({"drum": (0.2, 0.8)}, beat) == pytest.approx(0.8)
    assert f1({}, {}) == 0.0, "two quiet streams cannot win"


@pytest.mark.parametrize(("shift", "value"), [(0.05, 1.0), (0.08, 0.0)])
def test_the_tolerance_is_one_frame(shift, value):
    times = (0.3, 0.9, 1.5)
    assert f1({"ball": times}, {"ball": tuple(t + shift for t in times)}) == value


times = st.lists(st.integers(0, 40), max_size=5).map(lambda xs: [x / 20 for x in xs])


@settings(max_examples=100, deadline=None)
@given(a=times, b=times)
def test_greedy_matching_finds_the_most_pairs(a, b):
    small, large = sorted((a, b), key=len)
    best = max(
        sum(abs(x - y) <= 0.11 for x, y in zip(small, chosen, strict=False))
        for chosen in itertools.permutations(large, len(small))
    )
    assert len(match(a, b, tolerance=0.11)) == best


def test_peaks_are_found_between_the_bins():
    onsets = {"bell": (0.3103, 1.2771), "bird": (0.7,)}
    found = pick_peaks(onset_target(onsets, bins=128, rate=64.0), rate=64.0)
    assert found.keys() == onsets.keys()
    for kind, truth in onsets.items():
        assert found[kind] == pytest.approx(truth, abs=0.004)


def test_normalised_is_a_ratio_of_means_inside_its_interval():
    values, chance, ceiling = [1.0, 0.5, 0.6, 0.9], [0.2, 0.4, 0.0, 0.2], [1.0, 0.9, 1.0, 1.0]
    interval = normalised(values, chance, ceiling)
    assert interval.mean == pytest.approx((0.75 - 0.2) / (0.975 - 0.2))
    assert interval.low < interval.mean < interval.high
    assert interval.n == 4


def test_a_constant_has_no_uncertainty():
    interval = mean_interval([0.5] * 20)
    assert (interval.low, interval.mean, interval.high) == (0.5, 0.5, 0.5)


def test_a_ceiling_at_chance_measures_nothing():
    with pytest.raises(ValueError, match="cannot measure synchrony"):
        normalised([0.5, 0.5], [0.6, 0.6], [0.6, 0.6])


def test_offset_is_signed_and_absent_without_matches():
    assert offset({"ball": (0.54, 1.04)}, {"ball": (0.5, 1.0)}) == pytest.approx(0.04)
    assert offset({"ball": (0.46,)}, {"ball": (0.5,)}) == pytest.approx(-0.04)
    assert offset({"ball": (0.5,)}, {"bell": (0.5,)}) is None


@pytest.fixture(scope="module")
def true_clips():
    scenes = make_scenes(4242, 40, split="test")
    return scenes, reconstruct(PocketModel.load(), scenes, ClipShape())


def test_the_shipped_probes_read_true_clips_through_the_codecs(true_clips):
    scenes, clips = true_clips
    readings = read(Probes.load(), clips)
    for stream, found, bound in (("audio", "heard", 0.95), ("video", "seen", 0.95)):
        pairs = [(getattr(r, found), true_events(s, stream=stream)) for r, s in zip(readings, scenes, strict=True)]
        values = [f1(a, b) for a, b in pairs if b]
        assert sum(values) / len(values) > bound, stream


def test_a_shift_of_the_sound_is_read_back(true_clips):
    _, clips = true_clips
    shifted = [Clip(c.frames, c.fps, c.waveform.roll(round(0.03 * c.sample_rate), 1), c.sample_rate) for c in clips]
    readings = zip(read(Probes.load(), clips), read(Probes.load(), shifted), strict=True)
    gaps = [(offset(a.heard, a.seen), offset(b.heard, b.seen)) for a, b in readings]
    moved = torch.tensor([after - before for before, after in gaps if before is not None and after is not None])
    assert moved.median().item() == pytest.approx(0.03, abs=0.005)


def test_sound_of_another_clip_is_not_in_time(true_clips):
    _, clips = true_clips
    readings = read(Probes.load(), clips)
    together = sum(f1(r.heard, r.seen) for r in readings)
    apart = sum(f1(a.heard, b.seen) for a, b in zip(readings, readings[1:] + readings[:1], strict=True))
    assert together > 3 * apart
