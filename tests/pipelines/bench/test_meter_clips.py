"""Validation clips of the sync meter: labels, determinism, FFmpeg's sources, and the table with calibration."""

import math
from dataclasses import replace

import numpy as np
import pytest

from duet_av.pipelines.bench import meter_clips, meter_scenes, meter_sources
from duet_av.pipelines.bench.suites import meter_validation as suite
from duet_av.pipelines.sync.meter import Agreement

RATE = meter_scenes.RATE


@pytest.fixture(scope="module")
def labelled():
    """One clip of each kind, at most 8 s long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter_clips, "SECONDS", {4: 1.0})
        patch.setattr(meter_clips, "ENCODED_SECONDS", 0)
        return list(meter_clips.clips(1, 1))


def test_every_clip_is_followed_by_itself_with_unrelated_audio(labelled):
    names = list(meter_clips.kinds())
    assert [each.kind for each in labelled] == [name for name in names for _ in range(2)] + ["steady motion"]
    assert [each.late is None for each in labelled] == [False, True] * len(names) + [True]
    for related, unrelated in zip(labelled[:-1:2], labelled[1:-1:2], strict=True):
        assert np.array_equal(related.clip.frames, unrelated.clip.frames)
        assert related.clip.waveform.shape == unrelated.clip.waveform.shape
        assert not np.array_equal(related.clip.waveform, unrelated.clip.waveform)


def test_clips_depend_on_the_seed_only(labelled, monkeypatch):
    monkeypatch.setattr(meter_clips, "SECONDS", {4: 1.0})
    again, other = next(meter_clips.clips(1, 1)), next(meter_clips.clips(2, 1))
    assert np.array_equal(labelled[0].clip.frames, again.clip.frames)
    assert np.array_equal(labelled[0].clip.waveform, again.clip.waveform)
    assert other.late != again.late


@pytest.mark.parametrize("name", ["flashes", "FFmpeg colour bars", "screen recording"])
def test_what_is_heard_is_seen_at_the_same_time(name):
    """The first tone of a track and the largest change of a frame, without a delay."""
    rng = np.random.default_rng(5)
    frames, track = meter_clips.kinds()[name](rng, 30, 4.0)
    level = np.abs(track) > 0.15
    heard = np.flatnonzero(level)[0] / RATE - meter_scenes.MARGIN
    change = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    seen = (1 + np.flatnonzero(change > 0.5 * change.max())) / 30
    assert min(abs(seen - heard)) <= 1 / 30


def test_ffmpeg_shows_a_box_from_the_frame_at_its_time():
    times = np.array([0.5, 1.5])
    frames = meter_sources._shown(np.random.default_rng(0), "smptebars=", times, times + 0.2, 25, 2.0)
    change = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    assert sorted(1 + change.argsort()[-4:]) == [12 + 1, 17 + 1, 37 + 1, 42 + 1]
    assert frames.shape == (50, meter_scenes.HEIGHT, meter_scenes.WIDTH, 3)


def outcome(right, confidence, *, related=True):
    found = Agreement(
        0.1 if confidence > 0.75 else None, 0.5, 0.01, confidence=confidence, best=0.1, features=(confidence,) * 6
    )
    return suite.Outcome("drums", 4.0, False, related, right, right, 0.0 if right else 0.3, found)


def test_scores_count_wrong_evidence_and_the_deciles_compare_it_with_the_confidence():
    found = [outcome(True, 0.95), outcome(False, 0.95), outcome(False, 0.2), outcome(False, 0.2, related=False)]
    rows = suite._by_relation(found)
    assert rows[suite.RELATED]["evidence"].mean == pytest.approx(2 / 3)
    assert rows[suite.RELATED]["within_a_frame"].mean == 0.5
    assert rows[suite.RELATED]["wrong_evidence"].mean == pytest.approx(1 / 3)
    assert rows[suite.UNRELATED]["evidence"].mean == 0
    deciles = suite._calibration(found)
    assert list(deciles) == ["confidence 0.2 to 0.3", "confidence 0.9 to 1.0"]
    assert deciles["confidence 0.9 to 1.0"][suite.BOTH]["within_a_frame"].mean == 0.5


def test_the_fit_recovers_a_logistic_law():
    rng = np.random.default_rng(0)
    found = []
    for x in rng.normal(size=(2000, 6)):
        right = rng.random() < 1 / (1 + math.exp(-(0.5 + 2 * x[0] - x[3])))
        one = outcome(bool(right), 0.5)
        found.append(replace(one, found=replace(one.found, features=tuple(x))))
    assert suite.fit(found) == pytest.approx([0.5, 2, 0, 0, -1, 0, 0], abs=0.3)


def test_the_meter_finds_the_delay_of_a_drum_clip_and_nothing_in_steady_motion(labelled):
    drums = next(each for each in labelled if each.kind == "drums")
    found = suite.outcome(drums)
    assert found.right
    assert found.found.offset is not None
    steady = suite.outcome(labelled[-1])
    assert steady.found.offset is None
    table = suite.Table(
        "meter-validation", 1, 1, {"drums": suite._by_relation([found, steady])} | suite._calibration([found])
    )
    assert len(suite.draw(table).axes) == 2
