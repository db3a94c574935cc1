"""How well clips follow a plan, and how local the effect of an edit is."""

from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.bench.plan_scores import plan_scores
from duet_av.pipelines.bench.plan_targets import oracle_plan, shuffled_plan
from duet_av.pipelines.bench.probes import Seen
from duet_av.pipelines.bench.prompts import AUDIBLE, DEVELOPMENT, bench_prompts
from duet_av.pipelines.bench.readings import Probes, Reading
from duet_av.pipelines.bench.suites.plan import edited, stays
from duet_av.pipelines.core.timeline import Event
from duet_av.pipelines.world.truth import timeline_of


def reading(heard, seen):
    return Reading(heard, {}, Seen(seen, (0.0,) * 8, torch.zeros(3, 8, 6)))


def test_a_planned_event_is_realised_where_both_streams_have_it():
    plan = {"bell": (0.5, 1.0), "drum": (1.5,)}
    take = reading({"bell": (0.52, 1.3), "drum": (1.5,)}, {"bell": (0.46, 1.0), "ball": (1.5,)})
    assert plan_scores(plan, take) == {"plan_realised": 1 / 3, "plan_error_ms": pytest.approx(30.0)}
    assert plan_scores({}, take) == {}
    assert plan_scores({"bell": (0.5,)}, reading({}, {})) == {"plan_realised": 0.0}


def test_an_edit_moves_one_event_by_the_configured_distance():
    for prompt in bench_prompts(200, DEVELOPMENT, strata=AUDIBLE):
        before, after = (timeline_of(scene).events for scene in (prompt.scene, edited(prompt).scene))
        assert len(before) == len(after)
        gone, come = ([e for e in a if e not in b] for a, b in ((before, after), (after, before)))
        assert len(gone) == len(come) == 1
        assert 0.3 <= abs(gone[0].when - come[0].when) <= 0.8


def test_an_edit_is_local_where_all_other_events_are_unchanged():
    moved = (Event(0.5, "bell", "left"), Event(0.9, "bell", "left"))
    before = reading({"bell": (0.5, 1.5), "drum": (1.0,)}, {"bell": (0.52, 1.5), "drum": (1.0,)})
    after = reading({"bell": (0.9, 1.52), "drum": (1.0,)}, {"bell": (0.9, 1.5), "drum": (0.96,)})
    assert stays(before, after, moved)
    assert not stays(before, reading({"bell": (0.9, 1.6), "drum": (1.0,)}, after.seen.events), moved)
    assert not stays(before, reading({"bell": (0.9, 1.5)}, after.seen.events), moved)
    assert not stays(before, replace(after, sides={"bell": "right"}), moved)


def test_the_shuffled_plan_has_the_tokens_of_the_oracle_plan():
    prompts = bench_prompts(2, DEVELOPMENT, strata=("single",))
    probes = Probes.load()
    true, mixed = oracle_plan(probes, prompts), shuffled_plan(probes, prompts)
    for a, b in zip(true, mixed, strict=True):
        assert torch.equal(a.places, b.places)
        assert not torch.equal(a.tokens, b.tokens)
        assert torch.allclose(a.tokens.sort(1).values, b.tokens.sort(1).values)
