"""The world: rendered video and audio agree with the stated ground truth."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.timeline import PLACES
from duet_av.pipelines.world import (
    KINDS,
    SOUNDING,
    STRATA,
    Scene,
    Subject,
    caption,
    make_scene,
    make_scenes,
    render_picture,
    render_sound,
    vocabulary,
)
from duet_av.pipelines.world.edit import APART, QUIET, separated
from duet_av.pipelines.world.scene import PERIOD, TEMPI, held_out

FINE = ClipShape(fps=64)
RATE = 16_000


def subject(kind, *, times=(1.0,), place="middle", **changes):
    x = {"left": 0.24, "middle": 0.5, "right": 0.76}[place]
    return Subject(kind, "red", "large", place, x, "once", times, **changes)


def scene(*subjects):
    return Scene(0, 0, "single", "meadow", 2.0, subjects)


def sound(*subjects):
    return render_sound([scene(*subjects)], samples=32_000, sample_rate=RATE)[0]


def picture(*subjects, shape=FINE):
    return render_picture([scene(*subjects)], shape)[0]


def test_scene_lists_are_identical_everywhere():
    """If this hash changes, the world has changed, and earlier weights and tables refer to other prompts."""
    text = json.dumps([s.to_json() | {"caption": caption(s)} for s in make_scenes(0, 50)], sort_keys=True)
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "49df6dc995c2781202d9c5208bc7ccedbfdc79a4c393a4f41d5e538f23035a02"
    )


def test_a_longer_list_starts_with_the_shorter_one():
    assert make_scenes(3, 20)[:5] == make_scenes(3, 5)


@pytest.mark.parametrize("kind", SOUNDING)
def test_an_event_is_heard_within_a_millisecond_of_its_time(kind):
    for onset in (0.5, 0.73119):
        wave = sound(subject(kind, times=(onset,)))
        first = wave.abs().amax(0).gt(1e-3).nonzero()[0].item() / RATE
        assert 0 <= first - onset < 1e-3


@pytest.mark.parametrize("kind", SOUNDING)
def test_an_event_is_seen_within_a_frame_of_its_time_at_its_place(kind):
    """The video with the event differs from the one without it at the time and place of the event."""
    for place in PLACES:
        shown = picture(subject(kind, times=(1.0,), place=place)).mean(1)
        idle = picture(subject(kind, times=(), place=place)).mean(1)
        change = (shown - idle).abs()
        # Motion starts before the event (a ball falls); the event is where the amount of motion changes most.
        motion = shown.diff(dim=0).abs().sum((1, 2))
        change_of_motion = motion.diff().abs().argmax().item() + 1.5
        assert abs(change_of_motion / 64 - 1.0) <= 1 / 16
        columns = change.amax((0, 1)).gt(0.05).nonzero().flatten().float() / 64
        assert abs(columns.mean().item() - {"left": 0.24, "middle": 0.5, "right": 0.76}[place]) < 0.15


@pytest.mark.parametrize(("place", "louder"), [("left", 0), ("right", 1)])
def test_sound_comes_from_the_side_of_its_source(place, louder):
    energy = sound(subject("bell", place=place)).square().sum(1)
    assert energy[louder] > 2 * energy[1 - louder]


@pytest.mark.parametrize("kind", SOUNDING)
def test_a_muted_source_moves_differently_and_is_silent(kind):
    muted = subject(kind, heard=False)
    assert sound(muted).abs().max() == 0
    quiet, loud = picture(muted), picture(subject(kind))
    assert (quiet.amax(0) - quiet.amin(0)).max() > 0.05, "a muted source moves"
    assert (quiet - loud).abs().amax((1, 2, 3)).gt(0.1).any(), "its motion differs from an audible one's"


def test_an_off_screen_source_is_heard_but_not_drawn():
    hidden = subject("bell", seen=False)
    assert torch.equal(picture(hidden), picture())
    assert sound(hidden).abs().max() > 0.1


def test_captions_do_not_depend_on_event_times():
    for s in make_scenes(5, 60, split="any"):
        moved = replace(s, subjects=tuple(replace(x, times=tuple(t + 0.01 for t in x.times)) for x in s.subjects))
        assert caption(s) == caption(moved)


def test_captions_use_the_vocabulary_and_have_paraphrases():
    words = set(vocabulary())
    scenes = make_scenes(6, 300, split="any")
    assert all(set(caption(s, paraphrase=p).split()) <= words for s in scenes for p in range(3))
    assert sum(len({caption(s, paraphrase=p) for p in range(6)}) > 1 for s in scenes) > 290


@pytest.mark.parametrize("split", ["train", "test"])
def test_held_out_combinations_are_in_the_test_split_only(split):
    subjects = [x for s in make_scenes(7, 200, split=split) for x in s.subjects]
    assert {held_out(x.colour, x.kind, x.place) for x in subjects} == {split == "test"}


def test_all_kinds_places_and_tempi_occur():
    subjects = [x for s in make_scenes(8, 400, split="any") for x in s.subjects]
    assert {x.kind for x in subjects} == set(KINDS)
    assert {x.place for x in subjects} == set(PLACES)
    assert {x.tempo for x in subjects} == set(TEMPI)


def strata(name):
    return [make_scene(9, i, stratum=name, split="any") for i in range(60)]


def test_strata_match_their_definitions():
    assert all(len(s.subjects) == 1 and s.subjects[0].heard and s.subjects[0].seen for s in strata("single"))
    assert all(max(s.subjects[0].times) < min(s.subjects[1].times) for s in strata("sequential"))
    assert all(len(s.subjects) == 2 and all(x.heard for x in s.subjects) for s in strata("simultaneous"))
    assert all(any(not x.heard and x.seen for x in s.subjects) for s in strata("muted"))
    assert all(any(x.heard and not x.seen for x in s.subjects) for s in strata("offscreen"))


def test_captions_do_not_always_mention_muting():
    said = [("silently" in caption(s) or "without a sound" in caption(s)) for s in strata("muted")]
    assert 0.1 < sum(said) / len(said) < 0.9


def test_reasoning_scenes_have_one_answer():
    for s in strata("reasoning"):
        if s.rule in ("small", "large"):
            assert [x.size for x in s.subjects if x.heard] == [s.rule]
            assert "silent" not in caption(s)
        else:
            drum, other = s.subjects
            beat = drum.times[int(s.rule.split()[1]) - 1]
            assert beat < other.times[0] <= beat + PERIOD["quickly"]


@pytest.mark.parametrize("name", STRATA)
def test_events_lie_inside_the_clip(name):
    assert all(0.05 < t < 1.95 for s in strata(name) for x in s.subjects for t in x.times)


def test_size_rates_and_duration_are_parameters():
    shape = ClipShape(seconds=3.0, fps=8, height=96, width=160, sample_rate=8_000)
    long = [make_scene(1, i, seconds=3.0) for i in range(3)]
    assert render_picture(long, shape).shape == (3, 24, 3, 96, 160)
    assert render_sound(long, samples=shape.samples, sample_rate=shape.sample_rate).shape == (3, 2, 24_000)


def test_a_batch_equals_single_renders():
    scenes = make_scenes(2, 12)
    shape = ClipShape()
    frames, waves = render_picture(scenes, shape), render_sound(scenes, samples=32_000, sample_rate=RATE)
    for i, s in enumerate(scenes):
        assert torch.allclose(frames[i], render_picture([s], shape)[0], atol=1e-6)
        assert torch.allclose(waves[i], render_sound([s], samples=32_000, sample_rate=RATE)[0], atol=1e-6)


def test_invalid_scenes_are_rejected():
    with pytest.raises(ValueError, match="stratum is 'loud'; it must be one of single"):
        make_scene(0, 0, stratum="loud")
    with pytest.raises(ValueError, match=r"seconds is 0\.5; a scene needs at least 1 s"):
        make_scene(0, 0, seconds=0.5)


def test_events_of_separated_scenes_are_seen_heard_or_both_and_nothing_else_changes():
    found = {"same": 0, "apart": 0, "quiet": 0}
    for number in range(200):
        whole = make_scene(3, number, stratum="simultaneous")
        seen, heard = separated(whole).both()
        assert separated(whole).both() == (seen, heard)
        for before, shown, sounding in zip(whole.subjects, seen.subjects, heard.subjects, strict=True):
            assert replace(shown, times=before.times) == replace(sounding, times=before.times) == before
            assert set(shown.times) | set(sounding.times) in (set(before.times), set())
        events = [{t for s in part.subjects for t in s.times} for part in (seen, heard)]
        found["quiet" if not any(events) else "apart" if events[0] != events[1] else "same"] += 1
    assert found["apart"] / 200 == pytest.approx(APART, abs=0.1)
    assert found["quiet"] / 200 == pytest.approx(QUIET, abs=0.06)
    assert caption(separated(whole).video) == caption(whole)
