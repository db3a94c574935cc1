"""Timed text: the grammar, the shares of latents, and attention with them."""

import pytest
import torch
import torch.nn.functional as F

from duet_av.kernels.segment_attention import segment_attention
from duet_av.kernels.text_windows import window_split
from duet_av.pipelines.core.saved_plan import read_timed_events
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.timed_events import AFTER, BEFORE, MAX_EVENTS, TimedEvents
from duet_av.pipelines.core.timeline import Event, Timeline
from duet_av.pipelines.guidance.timed import HIDDEN, TimedText, coverage, joined, latent_edges

QUARTERS = latent_edges(8, each=(4,), rate=16.0)


def timed(text, rest="a room", **more):
    return TimedText.of(TimedEvents.read(text), Streams(rest, rest), compose=joined, **more)


def shares(text, edges=QUARTERS, **more):
    windows = timed(text, **more).windows(Streams(edges, edges))
    return windows.map(lambda w: dict(zip(w.texts, w.log_shares.exp().T, strict=True)))


def test_events_are_read_and_written():
    text = "0.5-1.2 both: a door slams\n  # a comment\n\n1.3\taudio 0.8:\tthunder 😀: loud\n0.2 \u2013 0.4 video: a flash # 1"
    events = TimedEvents.read(text).events
    assert [(e.start, e.end, e.streams, e.strength, e.line) for e in events] == [
        (0.5, 1.2, ("video", "audio"), 1.0, 1),
        (1.3 - BEFORE, 1.3 + AFTER, ("audio",), 0.8, 4),
        (0.2, 0.4, ("video",), 1.0, 5),
    ]
    assert [e.text for e in events] == ["a door slams", "thunder 😀: loud", "a flash # 1"]
    assert [e.asked for e in events] == [0.5, 1.3, 0.2]
    again = TimedEvents.read(str(TimedEvents(events))).events
    assert [str(e) for e in again] == [str(e) for e in events]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a door slams", "expected a time or a range"),
        ("1-0.5: reversed", "ends at 0.5 s and starts at 1 s"),
        ("0.5-0.5: empty", "must end after it starts"),
        ("0.5 right: place", "the stream is 'right'; it must be both, video or audio"),
        ("9" * 400 + ": huge", "not a number in range"),
        ("0-99999: long", "from 0 to 3600"),
        ("-1: negative", "expected a time or a range"),
        ("1..2: dots", "expected a time or a range"),
        ("0.5 both 2: loud", "the strength must be above 0 and at most 1"),
        ("0.5 1.2: two times", "the strength must be above 0 and at most 1"),
        ("0.5 both 😀: x", "'😀' is not a number"),
        ("0.5 both:  ", "the text after the colon is empty"),
    ],
)
def test_a_bad_line_is_named(line, message):
    with pytest.raises(ValueError, match=message) as error:
        TimedEvents.read(f"0.1: a bell\n# fine\n{line}\n0.2: a bell")
    assert str(error.value).startswith("Line 3 of the timed events, ")
    assert len(str(error.value)) < 400


def test_every_bad_line_is_reported_up_to_a_limit():
    with pytest.raises(ValueError, match="more lines have errors") as error:
        TimedEvents.read("\n".join(["x"] * 8))
    assert [f"Line {k} " in str(error.value) for k in range(1, 7)] == [True] * 5 + [False]


def test_ten_thousand_events_are_refused_at_the_line():
    with pytest.raises(ValueError, match=f"Line {MAX_EVENTS + 1} of the timed events.* at most {MAX_EVENTS}"):
        TimedEvents.read("\n".join(f"{k / 10:g}: a bell" for k in range(10_000)))


def test_lines_of_a_plan_are_read():
    events = TimedEvents.read("0.35 bell left\n0.7 dog right unseen  # barks")
    assert str(events) == "0.35 both: the bell on the left\n0.7 audio: the dog on the right"
    assert [event.line for event in events.events] == [1, 2]


def test_an_event_after_the_end_of_the_clip_is_refused_at_its_line():
    events = TimedEvents.read("0.5: a bell\n1.5-2.5: a long note")
    events.require_within(3.0)
    with pytest.raises(ValueError, match=r"Line 2 .*the event lasts from 1.5 to 2.5 s and the clip ends at 2 s"):
        events.require_within(2.0)
    events.require_within(2.0, cut=True)
    with pytest.raises(ValueError, match="Line 2 "):
        timed(str(events)).windows(Streams(latent_edges(4, each=(4,), rate=16.0)))


def test_a_plan_becomes_timed_events(tmp_path):
    plan = Timeline((Event(0.5, "bell", "left"), Event(1.0, "dog", "right", seen=False)))
    (tmp_path / "plan.json").write_text(plan.to_json())
    found = read_timed_events(tmp_path / "plan.json")
    assert str(found) == "0.5 both: the bell on the left\n1 audio: the dog on the right"
    (tmp_path / "events.txt").write_text("later: x")
    with pytest.raises(ValueError, match=r"events.txt: Line 1 "):
        read_timed_events(tmp_path / "events.txt")


def test_edges_of_latents():
    assert latent_edges(3, each=(8,), leading=(1,), rate=8.0).tolist() == [0, 0.125, 1.125, 2.125]
    assert latent_edges(6, each=(1, 4, 4, 4, 4), rate=1.0).tolist() == [0, 1, 5, 9, 13, 17, 18]


def test_a_latent_that_an_edge_cuts_gets_its_share():
    assert coverage(QUARTERS, 0.3, 0.8).tolist() == pytest.approx([0, 0.8, 1, 0.2, 0, 0, 0, 0])
    # A window shorter than a latent: its own shares, which sum to 1.
    assert coverage(QUARTERS, 0.45, 0.55).tolist() == pytest.approx([0, 0.5, 0.5, 0, 0, 0, 0, 0])


def test_a_soft_edge_keeps_the_area_of_the_window():
    soft = coverage(QUARTERS, 0.5, 1.5, soft=0.5)
    assert float(soft.sum()) == pytest.approx(4.0)
    ramp = torch.linspace(0, 2, 80_001, dtype=torch.float64)
    height = ((ramp - 0.25) / 0.5).clamp(0, 1) - ((ramp - 1.25) / 0.5).clamp(0, 1)
    assert soft.tolist() == pytest.approx(height[:-1].view(8, -1).mean(1).tolist(), abs=1e-4)


def test_event_and_rest_share_each_latent():
    found = shares("0.3-0.8 video 0.5: a bell").video
    event, rest = found["a room. a bell"], found["a room"]
    assert event.tolist() == pytest.approx([0, 0.4, 0.5, 0.1, 0, 0, 0, 0, 0])
    assert (event + rest).tolist() == pytest.approx([1] * 9)


def test_each_stream_reads_its_own_texts_and_equal_texts_share_tokens():
    found = shares("0.3 video: a bell\n0.9 audio: a dog\n1.3 video: a bell")
    assert list(found.video) == ["a room. a bell", "a room"]
    assert list(found.audio) == ["a room. a dog", "a room"]
    assert (found.video["a room. a bell"] > 0.1).tolist() == [True, True, False, False, True, True, False, False, False]


def test_overlapping_events_are_both_read():
    found = shares("0-1: a bell\n0.5-2: a dog").video
    assert found["a room. a bell"].tolist() == [1] * 4 + [0] * 4 + [1]
    assert found["a room. a dog"].tolist() == [0] * 2 + [1] * 6 + [1]  # no rest text: outside the clip all are read
    assert "a room" not in found


def test_a_text_that_no_latent_reads_is_left_out():
    windows = timed("0-2: a bell").windows(Streams(QUARTERS, QUARTERS)).video
    assert windows.texts == ("a room. a bell",)
    assert not windows.log_shares.any()


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="soft edge is -1"):
        timed("0.5: a bell", soft=-1.0)
    with pytest.raises(ValueError, match="strength is 2"):
        timed("0.5: a bell", strength=2.0)


@pytest.mark.parametrize("shape", [(2, 3), (2,)])
def test_attention_in_windows_equals_a_mask(shape):
    """Frames of four queries each, and two queries outside the clip; q, k, v with and without a dimension of heads."""
    windows = timed("0.3-0.8: a bell\n0.5-1: a dog").windows(Streams(QUARTERS)).video
    assert windows.texts == ("a room. a bell", "a room. a dog", "a room")
    owners = torch.tensor([0] * 3 + [-1] + [1] * 2 + [2] * 5)
    per_token = windows.of_tokens(owners)
    rows = [(4 * f, 4 * f + 4, f) for f in range(8)] + [(32, 34, 8)]
    q, k, v = (torch.randn(*shape, n, 8) for n in (34, 11, 11))
    split = window_split(per_token, rows, hidden=HIDDEN)
    out = segment_attention(F.scaled_dot_product_attention, q, k, v, split)
    mask = torch.cat([per_token[:8].repeat_interleave(4, 0), per_token[8:].expand(2, -1)])
    assert torch.allclose(out, F.scaled_dot_product_attention(q, k, v, attn_mask=mask), atol=1e-5)
    assert len(split.parts) < 9
    assert any(part.bias is None for part in split.parts)


@pytest.mark.parametrize(
    ("text", "video", "audio"),
    [
        ("0.5-0.75: a bell", "11111111", "11111111"),
        ("1.0-1.25 audio: a bell", "11100011", "11111111"),
        ("1.0-1.25 video: a bell", "11111111", "11100011"),
        ("1.0-1.25 audio: a bell\n1.0-1.25 video: a bell swings", "11101011", "11101011"),
        ("1.0-1.25 audio: a bell\n0.5-0.8: a dog", "11110011", "11111111"),
    ],
)
def test_around_an_event_of_one_stream_the_other_does_not_read_across(text, video, audio):
    edges = latent_edges(8, each=(1,), rate=4.0)
    windows = timed(text).windows(Streams(edges, edges))
    read = windows.map(lambda w: "".join(str(int(z)) for z in w.crosses))
    assert read.both() == (video, audio)
    assert timed(text, strength=0.0).windows(Streams(edges, edges)).video.crosses.all()
