"""Joining pieces: one continuous picture and waveform, crossfades of constant power, loops, cancelling and resuming."""

import math
from fractions import Fraction

import pytest
import torch

from duet_av.pipelines.core.pieces import Extension, PieceClock
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.joining import Known, crossfade, extend, joined_sound, stored
from duet_av.pipelines.media.mp4 import read_mp4, write_parts

RATE = 8000
CLOCK = PieceClock(Fraction(24), RATE, tuple(range(0, 49, 4)), tuple(k / 10 for k in range(21)))


def tone(first, last, pitch=200.0):
    return torch.sin(2 * math.pi * pitch * torch.arange(first, last) / RATE)[None] * 0.5


class World:
    """A model whose picture is the number of the frame and whose sound is a tone, both by absolute time, modulo ``period``."""

    def __init__(self, period=None):
        self.calls, self.period = [], period

    def __call__(self, piece, known):
        self.calls.append((piece.index, known))
        frames = torch.arange(piece.start, piece.start + CLOCK.frames)
        if self.period:
            frames = frames % self.period
        first, last = CLOCK.sample(piece.start), CLOCK.sample(piece.start + CLOCK.frames)
        picture = (frames % 256 / 255)[:, None, None, None].expand(-1, 16, 16, 3)
        return Clip(picture, 24.0, tone(first, last), RATE)


def together(parts):
    parts = list(parts)
    return torch.cat([p.frames for p in parts])[:, 0, 0, 0], torch.cat([p.waveform for p in parts], dim=1)


@pytest.mark.parametrize("length", [49, 100, 121, 240])
def test_the_parts_are_one_continuous_clip(length):
    world, extension = World(), Extension(CLOCK, length, 8)
    frames, waveform = together(extend(extension, world))
    assert frames.tolist() == [k % 256 for k in range(length)]
    assert waveform.shape[1] == CLOCK.sample(length)
    assert torch.allclose(waveform, tone(0, waveform.shape[1]), atol=1e-4), "no step, no gap, no shift"
    for (_, known), piece in zip(world.calls[1:], extension.pieces[1:], strict=True):
        assert known.front.frames[:, 0, 0, 0].tolist() == [k % 256 for k in range(piece.start, piece.seam)]
        first = CLOCK.sample(piece.start)
        assert torch.allclose(known.front.waveform, tone(first, first + piece.known_sound(CLOCK)), atol=1e-4)


def test_a_given_clip_is_its_beginning():
    begin = Clip(torch.zeros(30, 16, 16, 3), 24.0, tone(0, CLOCK.sample(30)), RATE)
    frames, waveform = together(extend(Extension(CLOCK, 100, 8, given=30), World(), begin))
    assert frames.tolist() == [0] * 30 + list(range(30, 100))
    assert torch.allclose(waveform, tone(0, CLOCK.sample(100)), atol=1e-4)


@pytest.mark.parametrize("given", [0, 60])
def test_a_loop_continues_at_its_beginning(given):
    """The tone has whole periods in 120 frames, so that its end continues at its beginning."""
    begin = None
    if given:
        begin = Clip(
            ((torch.arange(given) - 8) % 120 / 255)[:, None, None, None].expand(-1, 16, 16, 3),
            24.0,
            tone(CLOCK.sample(-8), CLOCK.sample(given - 8)),
            RATE,
        )
    world = World(period=120)
    frames, waveform = together(extend(Extension(CLOCK, 120, 8, given=given, loop=True), world, begin))
    assert frames.tolist() == list(range(120))
    assert torch.allclose(waveform, tone(0, CLOCK.sample(120)), atol=1e-3)
    back = world.calls[-1][1].back
    assert back.frames[:, 0, 0, 0].tolist() == list(range(112, 120))
    twice = torch.cat([waveform, waveform], dim=1)
    assert torch.allclose(twice, tone(0, twice.shape[1]), atol=1e-3)


@pytest.mark.parametrize(("rate", "frames", "overlap"), [(16_000, 242, 13), (32_000, 241, 5)])
def test_a_loop_closes_where_frames_are_no_whole_number_of_samples(rate, frames, overlap):
    clock = PieceClock(Fraction(24), rate, CLOCK.video, CLOCK.audio)

    def make(piece, _known):
        count = clock.sample(piece.start + clock.frames) - clock.sample(piece.start)
        return Clip(torch.zeros(clock.frames, 16, 16, 3), 24.0, 0.1 * torch.ones(1, count), rate)

    _, waveform = together(extend(Extension(clock, frames, overlap, loop=True), make))
    assert waveform.shape[1] == clock.sample(frames)


@pytest.mark.parametrize("same", [True, False])
def test_a_crossfade_keeps_the_power(same):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 60_000, generator=generator)
    b = a if same else torch.randn(2, 60_000, generator=generator)
    power = crossfade(a, b).square().unflatten(1, (20, -1)).mean((0, 2))
    assert torch.allclose(power, torch.ones(20), atol=0.06)
    if same:
        assert torch.allclose(crossfade(a, b), a, atol=1e-5)


def test_the_sound_changes_where_it_is_quietest():
    before, after = (torch.randn(1, 4000, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    before[:, 2000:2500] = after[:, 2000:2500] = 0
    found = joined_sound(before, after, shared=4000, rate=RATE)
    assert torch.equal(found[:, :2000], before[:, :2000])
    assert torch.equal(found[:, 2500:], after[:, 2500:])


def test_what_is_not_known_mirrors_what_is():
    part = lambda *values: Clip(torch.tensor(values).float(), 1.0, torch.tensor([values]).float(), 1)  # noqa: E731
    filled = Known(part(1, 2), part(8, 9)).filled(9, 7)
    assert filled.frames.tolist() == [1, 2, 2, 1, 8, 9, 9, 8, 8, 9][:4] + [8, 9, 9, 8, 8, 9][-5:]
    assert filled.waveform.tolist() == [[1, 2, 2, 9, 8, 8, 9]]
    assert Known().filled(4, 4) is None


def test_a_cancelled_run_resumes_with_the_same_result(tmp_path):
    extension, whole = Extension(CLOCK, 240, 8), World()
    expected = together(extend(extension, stored(tmp_path / "whole", whole)))

    class Cancelled(World):
        def __call__(self, piece, known):
            if piece.index == 3:
                raise KeyboardInterrupt
            return super().__call__(piece, known)

    with pytest.raises(KeyboardInterrupt):
        list(extend(extension, stored(tmp_path / "a", Cancelled())))
    (tmp_path / "a" / "piece-1.safetensors").write_bytes(b"cut off")
    rest = World()
    frames, waveform = together(extend(extension, stored(tmp_path / "a", rest)))
    assert [index for index, _ in rest.calls] == [1, *range(3, len(extension.pieces))], "finished pieces are kept"
    assert torch.equal(frames, expected[0])
    assert torch.equal(waveform, expected[1])


def test_parts_are_written_as_they_come(tmp_path):
    counts = write_parts(tmp_path / "a.mp4", extend(Extension(CLOCK, 100, 8), World()))
    assert counts == (100, CLOCK.sample(100))
    back = read_mp4(tmp_path / "a.mp4")
    assert len(back.frames) == 100
    assert abs(back.waveform.shape[1] - counts[1]) <= 2048
