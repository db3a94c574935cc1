"""The suite of prompts as people type them: its list and its scores."""

import pytest
import torch

from duet_av.pipelines.bench.people import HELD_OUT, TUNED, PeoplePrompt, Wanted, people_prompts
from duet_av.pipelines.bench.probes import Seen
from duet_av.pipelines.bench.readings import Reading
from duet_av.pipelines.bench.suites.people import prompt_scores
from duet_av.pipelines.core.timeline import PLACES
from duet_av.pipelines.world.scene import COLOURS, KINDS


def reading(heard, seen, *things):
    """A reading with events ``heard`` and ``seen`` and objects ``things`` (kind, colour, place)."""
    found = torch.zeros(len(PLACES), len(KINDS), len(COLOURS))
    for kind, colour, place in things:
        found[PLACES.index(place), KINDS.index(kind), COLOURS.index(colour)] = 0.9
    presence = tuple(0.9 if kind in {thing[0] for thing in things} else 0.1 for kind in KINDS)
    return Reading(heard, {}, Seen(seen, presence, found))


def prompt(*wanted):
    return PeoplePrompt("", TUNED, wanted)


def test_the_list_has_thirty_prompts_in_each_half_and_six_to_refuse():
    prompts = people_prompts()
    assert [p.half for p in prompts].count(TUNED) == [p.half for p in prompts].count(HELD_OUT) == 30
    assert sum(p.refused for p in prompts) == 6
    assert len({p.text for p in prompts}) == 60


def test_two_objects_and_their_colours_are_found():
    asked = prompt(Wanted("ball", "red", number=2))
    both = reading({"ball": (0.5,)}, {"ball": (0.5,)}, ("ball", "red", "left"), ("ball", "red", "right"))
    assert prompt_scores(asked, both) == {
        "refusal_right": 1.0,
        "kinds_right": 1.0,
        "not_asked": 0.0,
        "colours_right": 1.0,
        "count_right": 1.0,
    }
    one = reading({"ball": (0.5,)}, {"ball": (0.5,)}, ("ball", "red", "left"))
    assert prompt_scores(asked, one)["count_right"] == 0


@pytest.mark.parametrize(("times", "right"), [((0.2,), 1.0), ((0.2, 1.0), 0.0), ((), 0.0)])
def test_a_stated_number_of_events_holds_in_both_streams(times, right):
    asked = prompt(Wanted("bell", events=(1, 1)))
    found = reading({"bell": times} if times else {}, {"bell": (0.2,)}, ("bell", "blue", "left"))
    assert prompt_scores(asked, found)["count_right"] == right


def test_sound_of_an_object_that_should_be_silent_was_not_asked_for():
    asked = prompt(Wanted("bell", heard=False))
    assert prompt_scores(asked, reading({"bell": (0.2,)}, {}, ("bell", "blue", "left")))["not_asked"] == 1
    assert prompt_scores(asked, reading({}, {}, ("bell", "blue", "left")))["not_asked"] == 0


def test_a_refusal_by_mistake_scores_as_wrong():
    assert prompt_scores(prompt(Wanted("bell", "red")), None) == {
        "refusal_right": 0.0,
        "kinds_right": 0.0,
        "colours_right": 0.0,
    }
    assert prompt_scores(prompt(), None) == {"refusal_right": 1.0}
