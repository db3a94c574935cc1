"""Timed text in the pocket model: texts of events, neutral cases, and equality with one text alone."""

import pytest
import torch

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.timed_events import TimedEvents
from duet_av.pipelines.guidance.strategy import UCG, PerStreamCFG
from duet_av.pipelines.models.pocket.generate import Request, generate, sample
from duet_av.pipelines.models.pocket.load import PocketModel
from duet_av.pipelines.models.pocket.network import POCKET
from duet_av.pipelines.models.pocket.timed import acting, event_text, pocket_edges, timed_inputs, timed_text

BALL = "a large red ball bounces once on the left in a meadow"
PAIR = "a large red ball on the left bounces once and a small blue bell rings slowly on the right in a meadow"


@pytest.fixture(scope="module")
def pocket_model():
    return PocketModel.load()


def sampled(pocket_model, prompts, strategy=None, **more):
    request = Request(prompts, seed=3, steps=2, strategy=strategy or PerStreamCFG(3.0, 3.0), **more)
    return sample(pocket_model.network, pocket_model.text, request)


def gaps(a, b):
    return [(x - y).flatten(1).abs().amax(1) / y.abs().max() for x, y in zip(a, b, strict=True)]


def test_an_event_keeps_the_scene_and_stops_the_other_subjects():
    assert acting(PAIR, set()) == "a large red ball on the left and a small blue bell on the right in a meadow"
    assert event_text(PAIR, "the bell!") == acting(PAIR, {"bell"}) == PAIR.replace(" bounces once", "")
    assert event_text(PAIR, "something rings") == acting(PAIR, {"bell"})
    assert acting("a cloud drifts and a bell rings once", set()) == "a cloud drifts and a bell"


def test_an_event_without_a_subject_of_the_prompt_is_refused():
    with pytest.raises(ValueError, match=r"'the drum' names none of the subjects of the prompt \(ball, bell\)"):
        timed_text(Streams(PAIR, PAIR), TimedEvents.read("0.5: the drum"))


def test_each_stream_keeps_its_own_tempo():
    quick, slow = (f"a small red ball bounces {tempo} on the left at night" for tempo in ("quickly", "slowly"))
    timed = timed_text(Streams(quick, slow), TimedEvents.read("0.5: the ball"))
    assert timed.rest.video == timed.rest.audio == "a small red ball on the left at night"
    assert [events[0][0] for events in timed.events.both()] == [quick, slow]


def test_latents_tile_the_clip():
    edges = pocket_edges(POCKET, Streams(8, 32))
    assert [float(e[-1]) for e in edges.both()] == [2.0, 2.0]


def test_no_events_change_nothing(pocket_model):
    plain = sampled(pocket_model, [BALL, PAIR])
    empty = sampled(pocket_model, [BALL, PAIR], timed=[TimedEvents(), TimedEvents.read("# none")])
    assert all(torch.equal(a, b) for a, b in zip(plain, empty, strict=True))


def test_an_event_over_the_whole_clip_equals_its_text_alone(pocket_model):
    whole = TimedEvents.read("0-2: the ball")
    for strategy in (PerStreamCFG(1.0, 1.0), UCG("U2'", 2.0, 2.0, 2.0, 2.0)):
        expected = sampled(pocket_model, [BALL, BALL], strategy)
        found = sampled(pocket_model, [BALL, BALL], strategy, timed=[whole, TimedEvents.read("0.5: the ball")])
        for gap in gaps(found, expected):
            assert gap[0] < 1e-5
            assert gap[1] > 1e-2


def test_clips_of_a_batch_do_not_depend_on_each_other(pocket_model):
    events = [TimedEvents.read("0.5 audio: the ball"), TimedEvents.read("0.3: the ball\n0.4-1 video 0.5: the bell")]
    both = sampled(pocket_model, [PAIR, PAIR], timed=events)
    second = sampled(pocket_model, [BALL, PAIR], timed=[TimedEvents(), events[1]])
    assert max(float(gap[1]) for gap in gaps(both, second)) < 1e-5


def test_a_stream_reads_only_its_own_events(pocket_model):
    edges = pocket_edges(POCKET, Streams(8, 32))
    prompts = Streams([PAIR], [BALL])
    read = timed_inputs(pocket_model.text, prompts, [TimedEvents.read("0.5 audio: the ball")], edges)
    states, shares = read.states, read.shares
    alone = pocket_model.text.embed([acting(PAIR, set())], as_written=True)
    assert torch.equal(states.video, alone)
    assert not shares.video.any()
    assert shares.audio.shape == (1, 32, 2 * alone.shape[1])


def test_an_event_of_one_stream_alone_does_not_reach_the_other(pocket_model):
    def sampled_with(text):
        return sampled(pocket_model, [BALL], UCG("U2'", 2.0, 2.0, 3.0, 3.0), timed=[TimedEvents.read(text)])

    sound, quieter = sampled_with("0.2-1.8 audio: the ball"), sampled_with("0.2-1.8 audio 0.5: the ball")
    assert torch.equal(sound.video, quieter.video)
    assert not torch.equal(sound.audio, quieter.audio)
    picture, fainter = sampled_with("0.2-1.8 video: the ball"), sampled_with("0.2-1.8 video 0.5: the ball")
    assert torch.equal(picture.audio, fainter.audio)
    assert not torch.equal(picture.video, fainter.video)


def test_requests_with_events_for_some_prompts_only_or_after_the_end_are_refused(pocket_model):
    with pytest.raises(ValueError, match="timed events for 1 of 2 prompts"):
        Request([BALL, BALL], timed=[TimedEvents()])
    late = Request([BALL], steps=1, timed=[TimedEvents.read("2.5: the ball")])
    with pytest.raises(ValueError, match=r"Line 1 .* the clip ends at 2 s"):
        generate(pocket_model, late)
