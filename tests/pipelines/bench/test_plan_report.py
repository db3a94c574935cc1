"""Plan reports: matching, chance, and reports of rendered clips with known events."""

import pytest
import torch

from duet_av.pipelines.bench.plan_report import ONSETS, WORLD, onsets_of, report_of
from duet_av.pipelines.bench.readings import render
from duet_av.pipelines.bench.takes import PLANNED, take_of
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.core.timed_events import TimedEvents
from duet_av.pipelines.figures.canvas import pixels
from duet_av.pipelines.figures.plan_report import draw_plan_report
from duet_av.pipelines.sync.plan_report import ANY, covered, nearest, plan_report
from duet_av.pipelines.world import make_scene


def test_nearest_pairs_are_matched_first_and_only_within_reach():
    assert nearest([1.0, 1.4], [1.3, 3.0]) == {1: 0}
    assert nearest([1.0, 1.4], [1.05, 1.3]) == {0: 0, 1: 1}
    assert nearest([], [1.0]) == {}


def test_the_chance_of_a_hit_is_the_share_covered_in_every_stream():
    assert covered([[1.0]], 2.0) == pytest.approx(0.125)
    assert covered([[0.05, 0.1, 1.95]], 2.0) == pytest.approx((0.225 + 0.175) / 2)
    assert covered([[]], 2.0) == 0
    assert covered([[1.0], [1.1]], 2.0) == pytest.approx((0.25 - 0.1) / 2)
    assert covered([[0.5], [1.5]], 2.0) == 0


def test_an_event_in_both_streams_is_less_likely_by_chance():
    both, heard = (TimedEvents.read(line).events for line in ("1: a bell", "1 audio: a bell"))
    found = {"video": {"bell": (0.5,)}, "audio": {"bell": (0.6, 1.5)}}
    chance = lambda events: plan_report(events, ["bell"], found, seconds=2.0, instrument="").chance  # noqa: E731
    assert chance(heard) == pytest.approx(0.25)
    assert chance(both) == pytest.approx(0.15 / 2)


def test_a_report_of_known_events():
    events = TimedEvents.read("1: a bell\n0.5 audio: a dog\n1.6 video: a bell").events
    found = {"video": {"bell": (1.02, 1.9), "dog": (0.2,)}, "audio": {"bell": (1.2,), "dog": (0.45,)}}
    report = plan_report(events, ["bell", "dog", "bell"], found, seconds=2.0, instrument="a test")
    assert [(a.event.asked, a.seen, a.heard, a.hit) for a in report.answers] == [
        (0.5, None, 0.45, True),
        (1.0, 1.02, 1.2, False),
        (1.6, 1.9, None, False),
    ]
    assert report.hit_rate == pytest.approx(1 / 3)
    assert report.others == {"video": 2, "audio": 1}
    assert report.off_ms == pytest.approx((50 + 200) / 2)
    lines = str(report).splitlines()
    assert lines[0].startswith("1 of 3 events within 125 ms")
    assert lines[1] == "other events: 2 seen, 1 heard; detected by a test"
    assert lines[2] == "0.50 s a dog: heard at 0.45 s (-50 ms)"
    assert report.to_json()["events"][1]["hit"] is False


def test_an_event_of_any_kind_matches_all_kinds():
    events = TimedEvents.read("1 audio: something").events
    found = {"video": {}, "audio": {"bell": (1.2,), "dog": (1.05,)}}
    assert plan_report(events, [ANY], found, seconds=2.0, instrument="").answers[0].heard == 1.05


@pytest.fixture(scope="module")
def clip():
    """A rendered clip of one object and its true events."""
    scene = make_scene(21, 3, stratum="single")
    shape = ClipShape()
    frames, waveforms = render([scene], shape)
    (subject,) = scene.subjects
    lines = [f"{t}: the {subject.kind}" for t in subject.times]
    return Clip(frames[0].permute(0, 2, 3, 1), 16.0, waveforms[0], shape.sample_rate), TimedEvents.read(
        "\n".join(lines)
    )


@pytest.mark.parametrize(("world", "instrument"), [(None, WORLD), (False, ONSETS)])
def test_true_events_of_a_rendered_clip_are_hits(clip, world, instrument):
    report = report_of(*clip, world=world)
    assert report.hit_rate == 1.0
    assert report.off_ms < 62.5
    assert report.instrument == instrument
    assert report.chance < 0.7


def test_events_at_wrong_times_are_no_hits(clip):
    moved = TimedEvents.read("\n".join(f"{(e.asked + 0.25) % 1.9:.2f}: {e.text}" for e in clip[1].events[:1]))
    assert report_of(clip[0], moved, world=True).hit_rate == 0.0


def test_a_clip_without_sound_and_motion_has_no_onsets():
    still = Clip(torch.full((16, 64, 64, 3), 0.5), 16.0, torch.zeros(2, 16_000), 16_000)
    assert onsets_of(still) == {"video": {ANY: ()}, "audio": {ANY: ()}}


def test_the_picture_shows_the_plan_and_what_is_found(clip):
    with_report = pixels(draw_plan_report(clip[0], report_of(*clip, world=True), title="a title"))
    without = pixels(draw_plan_report(clip[0], report_of(clip[0], TimedEvents(), world=True), title="a title"))
    assert float((with_report - without).abs().mean()) > 1e-3


def test_takes_are_ranked_by_the_planned_times(clip):
    take = take_of(0, clip[0], PLANNED, None, clip[1], True)
    assert (take.score, take.numbers["plan_hits"]) == (1.0, 1.0)
    with pytest.raises(ValueError, match="compares a clip with a plan"):
        take_of(0, clip[0], PLANNED, None, TimedEvents(), True)
