"""The suite 'timed': its cases, the requests of its variants, its scores, and a run at one step."""

from random import Random

import pytest
import torch

from duet_av.pipelines.bench.probes import Seen
from duet_av.pipelines.bench.prompts import TEST
from duet_av.pipelines.bench.readings import Reading
from duet_av.pipelines.bench.runner import Run
from duet_av.pipelines.bench.suites import timed as suite
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.timed_events import BOTH, TimedEvent
from duet_av.pipelines.core.timeline import PLACES
from duet_av.pipelines.world.scene import COLOURS, KINDS


@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_times_are_in_order_apart_and_inside(count, regular):
    for seed in range(20):
        times = suite.draw_times(Random(seed), count, regular=regular)
        assert len(times) == count
        assert suite.FIRST - 1e-3 <= times[0] <= times[-1] <= suite.LAST + 1e-3
        gaps = torch.tensor(times).diff()
        assert all(gaps >= suite.LEAST_GAP - 1e-3)
        assert not regular or count < 3 or float(gaps.std()) < 2e-3


def test_cases_have_one_to_four_events_and_their_captions():
    cases = suite.timed_cases(8, TEST)
    assert [len(case.times) for case in cases] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert [case.prompt.seed for case in cases] == list(range(cases[0].prompt.seed, cases[0].prompt.seed + 8))
    assert " once " in f" {cases[0].prompt.text} "
    for case in cases:
        moved = case.moved()
        assert all(abs(a - b) == pytest.approx(suite.MOVED) for a, b in zip(case.times, moved.times, strict=True))
        assert all(0 <= t < 2 for t in moved.times)


def test_requests_of_the_variants():
    cases = suite.timed_cases(2, TEST)
    requests = {name: suite.request_of(name, cases, ClipShape()) for name in suite.VARIANTS}
    assert requests["none"].timed is requests["plan"].timed is requests["words"].timed is None
    assert requests["words"].prompts[1].endswith("seconds")
    assert [e.streams for e in requests["sound"].timed[1].events] == [("audio",)] * 2
    assert [e.asked for e in requests["timed"].timed[1].events] == list(cases[1].times)
    on_grid = [e for events in requests["segments"].timed for e in events.events]
    assert all((e.start * 4) % 1 == 0 and e.end - e.start == 0.25 for e in on_grid)


def test_hits_and_false_events():
    case = suite.timed_cases(2, TEST)[1]
    kind, (first, second) = case.scene.subjects[0].kind, case.times

    seen = Seen({kind: (first + 0.1, 1.95)}, (0.0,) * len(KINDS), torch.zeros(len(PLACES), len(KINDS), len(COLOURS)))
    reading = Reading({kind: (first - 0.05, second + 0.1), "other": (1.0,)}, {}, seen)
    assert suite.timed_scores(case, reading, BOTH) == {"hit_asked": 0.5, "hit_both": 0.5, "false_events": 2.0}
    assert suite.timed_scores(case, reading, ("audio",)) == {"hit_asked": 1.0, "false_events": 3.0}
    assert suite.on_the_grid(0.3, 0.25) == TimedEvent(0.25, 0.5, "event", onset=0.3)


@pytest.mark.slow
def test_a_run_has_a_row_for_each_variant(monkeypatch):
    monkeypatch.setattr(suite, "RECORD", {"steps": 1, "sampler": "euler"})
    table = suite.measure(Run(2, TEST))
    assert set(suite.VARIANTS) < set(table.rows)
    assert {"hit_asked", "hit_both", "false_events", "picture_change"} <= set(table.rows["timed"]["all"])
    assert {"timed-minus-none", "timed-trained-minus-timed", "timed-trained-minus-plan"} <= set(table.rows)
