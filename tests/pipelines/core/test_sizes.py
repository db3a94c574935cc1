"""Conversions between seconds, frames, latent frames and samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duet_av.pipelines.core.sizes import MEL_HOP, MEL_STRIDE, ClipShape, latent_times


@given(
    seconds=st.floats(0.25, 30.0), fps=st.sampled_from([16, 24, 25, 30]), rate=st.sampled_from([16_000, 44_100, 48_000])
)
def test_both_streams_have_the_same_duration(seconds, fps, rate):
    shape = ClipShape(seconds, fps, 64, 64, rate)
    assert shape.frames % 4 == 0
    assert shape.duration == pytest.approx(seconds, abs=4.5 / fps)
    assert abs(shape.samples / rate - shape.duration) <= 0.5 / rate
    assert shape.video_latent[0] * 4 == shape.frames
    span = shape.audio_latent * MEL_HOP * MEL_STRIDE
    assert shape.samples <= span < shape.samples + MEL_HOP * MEL_STRIDE


def test_default_size_is_the_pocket_clip():
    shape = ClipShape()
    assert (shape.frames, shape.samples, shape.video_latent, shape.audio_latent) == (32, 32_000, (8, 8, 8), 32)


def test_latent_times_are_centres():
    assert latent_times(4, 0.25).tolist() == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 0.0}, r"seconds is 0\.0; it must lie in \(0, 30\]"),
        ({"seconds": 31.0}, r"seconds is 31\.0"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": 0.1}, r"at 16 fps a clip needs at least 0\.25 s"),
        ({"width": 65}, "width is 65; it must be a multiple of 32 from 32 to 1024"),
        ({"height": 4096}, "height is 4096"),
        ({"fps": 0}, "fps is 0 and sample_rate 16000; both must be at least 1"),
    ],
)
def test_invalid_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ClipShape(**changes)
