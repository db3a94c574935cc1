"""Metrics and probes: known cases, and what the probes detect in rendered clips."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duet_av.pipelines.bench.context_share import event_tokens
from duet_av.pipelines.bench.probes import onset_target
from duet_av.pipelines.bench.readings import Probes, read, reconstruct, side
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.statistics import holm, mean_interval, normalised, normalised_difference
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.models.pocket.load import PocketModel
from duet_av.pipelines.sync.events import f1, match, offset, pick_peaks
from duet_av.pipelines.world import make_scenes
from duet_av.pipelines.world.scene import SOUNDING
from duet_av.pipelines.world.truth import true_events


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


def test_peaks_are_located_between_bins():
    onsets = {"bell": (0.3103, 1.2771), "bird": (0.7,)}
    found = pick_peaks(onset_target(onsets, bins=128, rate=64.0), names=SOUNDING, rate=64.0)
    assert found.keys() == onsets.keys()
    for kind, truth in onsets.items():
        assert found[kind] == pytest.approx(truth, abs=0.004)


def test_normalised_is_a_ratio_of_means_inside_its_interval():
    values, chance, ceiling = [1.0, 0.5, 0.6, 0.9], [0.2, 0.4, 0.0, 0.2], [1.0, 0.9, 1.0, 1.0]
    interval = normalised(values, chance, ceiling)
    assert interval.mean == pytest.approx((0.75 - 0.2) / (0.975 - 0.2))
    assert interval.low < interval.mean < interval.high
    assert interval.n == 4


def test_the_interval_of_a_constant_has_no_width():
    interval = mean_interval([0.5] * 20)
    assert (interval.low, interval.mean, interval.high) == (0.5, 0.5, 0.5)


def test_the_interval_of_a_mean_has_its_nominal_coverage():
    generator = torch.Generator().manual_seed(3)
    hits = 0
    for _ in range(60):
        interval = mean_interval(torch.rand(80, generator=generator).tolist())
        hits += interval.low <= 0.5 <= interval.high
    assert 51 <= hits <= 60  # 95 % of 60, give or take three standard deviations


def test_a_paired_difference_is_narrower_than_its_parts():
    base = torch.rand(200, generator=torch.Generator().manual_seed(0))
    better = (base * 0.8 + 0.25).tolist()
    chance, ceiling = [0.1] * 200, [1.0] * 200
    difference = normalised_difference((better, chance, ceiling), (base.tolist(), chance, ceiling))
    alone = normalised(better, chance, ceiling)
    assert difference.mean == pytest.approx((sum(better) / 200 - base.mean().item()) / 0.9, abs=1e-6)
    assert difference.high - difference.low < 0.5 * (alone.high - alone.low)
    assert difference.p < 0.001
    assert normalised_difference((better, chance, ceiling), (better, chance, ceiling)).p == 1


def test_holm_multiplies_the_smallest_by_the_family_and_never_falls():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize(("gains", "where"), [((1, 0.3), "left"), ((0.3, 1), "right"), ((0.7, 0.6), "middle")])
def test_the_side_of_a_sound_follows_from_the_channel_levels(gains, where):
    waveform = torch.randn(2, 16_000) * torch.tensor(gains)[:, None]
    assert side(Clip(torch.zeros(1, 1, 1, 3), 16.0, waveform, 16_000), (0.1, 0.5)) == where


def test_event_tokens_match_the_ground_truth():
    scene = make_scenes(1, 1, mix={"single": 1.0})[0]
    found = event_tokens([scene], ClipShape())
    subject = scene.subjects[0]
    assert set(found.audio[0].nonzero().flatten().tolist()) == {int(t * 16) for t in subject.times}
    video = found.video[0].view(8, 2, 2)
    assert video[:, 0].equal(video[:, 1]), "a subject's column, top and bottom"
    assert set(video[:, 0, int(subject.x >= 0.5)].nonzero().flatten().tolist()) == {int(t * 4) for t in subject.times}


def test_normalised_synchrony_is_undefined_if_the_ceiling_is_chance():
    with pytest.raises(ValueError, match="synchrony cannot be measured"):
        normalised([0.5, 0.5], [0.6, 0.6], [0.6, 0.6])


def test_offset_is_signed_and_absent_without_matches():
    assert offset({"ball": (0.54, 1.04)}, {"ball": (0.5, 1.0)}) == pytest.approx(0.04)
    assert offset({"ball": (0.46,)}, {"ball": (0.5,)}) == pytest.approx(-0.04)
    assert offset({"ball": (0.5,)}, {"bell": (0.5,)}) is None


@pytest.fixture(scope="module")
def true_clips():
    scenes = make_scenes(4242, 40, split="test")
    return scenes, reconstruct(PocketModel.load(), scenes, ClipShape())


def test_the_shipped_probes_detect_events_of_reconstructed_clips(true_clips):
    scenes, clips = true_clips
    readings = read(Probes.load(), clips)
    for stream, bound in (("audio", 0.95), ("video", 0.95)):
        pairs = [
            (r.heard if stream == "audio" else r.seen.events, true_events(s, stream=stream))
            for r, s in zip(readings, scenes, strict=True)
        ]
        values = [f1(a, b) for a, b in pairs if b]
        assert sum(values) / len(values) > bound, stream


def test_a_shift_of_the_audio_is_detected(true_clips):
    _, clips = true_clips
    shifted = [Clip(c.frames, c.fps, c.waveform.roll(round(0.03 * c.sample_rate), 1), c.sample_rate) for c in clips]
    readings = zip(read(Probes.load(), clips), read(Probes.load(), shifted), strict=True)
    gaps = [(offset(a.heard, a.seen.events), offset(b.heard, b.seen.events)) for a, b in readings]
    moved = torch.tensor([after - before for before, after in gaps if before is not None and after is not None])
    assert moved.median().item() == pytest.approx(0.03, abs=0.005)


def test_audio_of_another_clip_is_not_synchronous(true_clips):
    _, clips = true_clips
    readings = read(Probes.load(), clips)
    together = sum(f1(r.heard, r.seen.events) for r in readings)
    independent = sum(f1(a.heard, b.seen.events) for a, b in zip(readings, readings[1:] + readings[:1], strict=True))
    assert together > 3 * independent
