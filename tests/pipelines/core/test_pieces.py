"""Pieces of long clips: one absolute clock, and what each piece keeps."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duet_av.pipelines.core.pieces import Extension, PieceClock, piece_seed
from duet_av.pipelines.core.timed_events import TimedEvent, TimedEvents


def uniform(frames, each, fps, rate, audio_rate):
    """A clock whose video latents cover ``each`` frames after one that may cover fewer."""
    first = frames % each or each
    video = (0, *range(first, frames + 1, each))
    count = int(frames / fps * audio_rate)
    return PieceClock(Fraction(fps), rate, video, tuple(k / audio_rate for k in range(count + 1)))


POCKET = uniform(32, 4, 16, 16_000, 16)
LTX = uniform(121, 8, Fraction(30_000, 1001), 44_100, 25)
H3 = PieceClock(Fraction(24), 32_000, (0, 1, 5, 9, 13, 17, 18, 22), tuple(k / 40 for k in range(37)))
CLOCKS = (POCKET, LTX, H3)


@given(
    clock=st.sampled_from(CLOCKS),
    more=st.integers(1, 4000),
    latents=st.integers(1, 2),
    existing=st.just(0) | st.integers(18, 200),
    loop=st.booleans(),
)
def test_pieces_cover_the_clip_without_gaps(clock, more, latents, existing, loop):
    overlap = clock.video[latents]
    length = max(existing, clock.frames) + more
    extension = Extension(clock, length, overlap, given=existing, loop=loop)
    end = extension.origin + (existing or 0)
    for piece in extension.pieces:
        assert piece.start >= extension.origin
        assert piece.seam <= end, "nothing is missing before a seam"
        assert piece.seam == extension.origin or piece.kept in clock.video[1:-1]
        assert piece.known_sound(clock) <= piece.kept * clock.sample_rate / clock.fps
        regenerated = piece.regenerated(clock).both()
        assert all(flags.any() for flags in regenerated)
        if piece.kept:
            assert regenerated[0].tolist()[: clock.video.index(piece.kept)] == [0] * clock.video.index(piece.kept)
        end = piece.start + clock.frames
    last = extension.pieces[-1]
    assert end == length or (end > length and last.start == extension.origin and not loop)
    assert [piece.closing for piece in extension.pieces[:-1]] == [0] * (len(extension.pieces) - 1)
    assert last.closing == (overlap if loop else 0)
    assert last.kept + last.closing < clock.frames


@pytest.mark.parametrize("clock", CLOCKS)
def test_samples_never_drift_from_frames(clock):
    """After an hour the sound of a frame is still less than half a sample off, whatever the rates."""
    for frame in (0, 1, 997, round(3600 * clock.fps)):
        exact = frame * clock.sample_rate / clock.fps
        assert abs(clock.sample(frame) - exact) <= Fraction(1, 2)


def test_the_last_latents_of_a_loop_are_kept():
    last = Extension(POCKET, 96, 8, loop=True).pieces[-1]
    video, audio = last.regenerated(POCKET).both()
    assert video.tolist() == [0.0] * 2 + [1.0] * 4 + [0.0] * 2
    assert audio.tolist() == [0.0] * 6 + [1.0] * 18 + [0.0] * 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlap": 2}, r"The overlap is 0.125 s; with pieces of 2 s it must be from 0.25 to 1.75 s\."),
        ({"overlap": 12, "loop": True}, "from 0.25 to 0.625 s in a loop"),
        ({"frames": 32}, "it must be more than 2 s, because one piece lasts 2 s"),
        ({"given": 3}, "The clip lasts 0.19 s; at least 0.25 s, one video latent, are needed"),
        ({"given": 6, "loop": True}, "lasts 0.38 s; in a loop it must last at least the overlap, 0.5 s"),
        ({"given": 100}, "it must be more than 6.25 s, because the clip lasts 6.25 s"),
        ({"frames": 10**6}, "more than 10000 pieces"),
    ],
)
def test_impossible_extensions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Extension(**{"clock": POCKET, "frames": 96, "overlap": 8, **changes})


def test_each_piece_has_its_own_seed_and_the_first_one_that_of_the_clip():
    seeds = [piece_seed(7, k) for k in range(50)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert not {*seeds[1:]} & {piece_seed(8, k) for k in range(50)}


def test_events_are_cut_by_absolute_time():
    events = TimedEvents.read("0.5: a\n1.9-2.3 audio: b\n5: c")
    cut = events.within(1.5, 3.5)
    assert [str(event) for event in cut.events] == ["0.4-0.8 audio: b"]
    assert events.within(4.98, 7.0).events[0].asked == pytest.approx(0.02)
    assert events.within(5.05, 7.0).events[0].onset is None, "only the end of its range is left"
    before = events.within(-0.5, 1.5, period=6.0).events
    assert [(event.text, round(event.asked, 6)) for event in before] == [("a", 1.0)]
    assert [event.text for event in events.within(-1.5, 0.4, period=6.0).events] == ["c"], "a loop repeats"
    assert TimedEvent.at(1.0, "x").within(2.0, 3.0) is None
