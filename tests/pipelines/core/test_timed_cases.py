"""The text of timed events. ``timed_cases.json`` is also read by the front end's tests (tests/web/timed.test.mjs)."""

import json

import pytest

from duet_av.pipelines.core.timed_events import TimedEvents


def test_timed_events_are_read_as_in_the_browser(root):
    cases = json.loads((root / "tests" / "timed_cases.json").read_text(encoding="utf-8"))
    assert len(cases) > 15
    for case in cases:
        if "error" in case:
            with pytest.raises(ValueError, match=r"^Line ") as raised:
                TimedEvents.read(case["text"])
            assert str(raised.value) == case["error"], case["name"]
            continue
        read = [
            [
                e.asked,
                e.end if e.onset is None else None,
                e.text,
                "audio" in e.streams,
                "video" in e.streams,
                e.strength,
            ]
            for e in TimedEvents.read(case["text"]).events
        ]
        assert read == case["events"], case["name"]
