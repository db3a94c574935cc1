"""Audio after a gap in a file's timestamps keeps its time: the gap is silence."""

from fractions import Fraction

import av
import numpy as np
import pytest

from duet_av.pipelines.media.containers import AudioClock, open_media
from duet_av.pipelines.media.segments import _SoundReader
from duet_av.pipelines.media.sound import read_sound
from duet_av.pipelines.sync.measure import read_signals, read_waveform

RATE = 16_000
CLICK = 2.5  # seconds


@pytest.fixture
def gap(tmp_path):
    """An mkv without samples from 1 to 2 s and with a click at 2.5 s."""
    path = tmp_path / "gap.mkv"
    wave = np.zeros((1, 3 * RATE), np.int16)
    wave[0, round(CLICK * RATE)] = 30_000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start in (0.0, 0.5, 2.0, 2.5):
            part = np.ascontiguousarray(wave[:, round(start * RATE) : round((start + 0.5) * RATE)])
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, round(start * RATE), Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_click_after_the_gap_keeps_its_time(gap):
    waveform, rate = read_sound(gap)
    measured, _ = read_waveform(gap)
    assert read_signals(gap).audio_seconds == pytest.approx(3, abs=20 / RATE)
    for sound in (waveform.float(), measured):
        assert sound.shape[1] == pytest.approx(3 * RATE, abs=20)
        assert float(sound.abs()[0].argmax()) / rate == pytest.approx(CLICK, abs=0.002)


def test_a_range_behind_the_gap_is_read(gap):
    waveform, rate = read_sound(gap, start=2.25, seconds=0.5)
    assert float(waveform.float().abs()[0].argmax()) / rate == pytest.approx(CLICK - 2.25, abs=0.002)


def test_audio_taken_in_order_keeps_its_time(gap):
    with open_media(gap) as container:
        reader = _SoundReader(gap, container, RATE)
        reader.take(0, RATE)
        piece = reader.take(round(2.25 * RATE), RATE // 2)
    assert float(piece.abs()[0].argmax()) / RATE == pytest.approx(CLICK - 2.25, abs=0.002)


def test_small_steps_are_no_gap_and_large_ones_are_refused(tmp_path):
    def frame(seconds):
        made = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        made.sample_rate, made.pts, made.time_base = RATE, round(seconds * 1000), Fraction(1, 1000)
        return made

    clock = AudioClock(tmp_path / "a.mkv")
    assert [round(clock.missing(frame(t)), 3) for t in (5.0, 5.051, 5.1, 5.25, 5.2)] == [0, 0, 0, 0.1, 0]
    with pytest.raises(ValueError, match=r"a\.mkv.*gap of"):
        clock.missing(frame(500.0))
