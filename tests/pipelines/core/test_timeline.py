"""The text of a timeline. ``timeline_cases.json`` is also read by the front end's tests (tests/web/grammar.test.mjs)."""

import json

import pytest

from duet_av.pipelines.core.timeline import Timeline


def cases(root):
    return json.loads((root / "tests" / "timeline_cases.json").read_text(encoding="utf-8"))


def test_events_are_read_as_in_the_browser(root):
    valid = [case for case in cases(root) if "events" in case]
    assert len(valid) > 10
    for case in valid:
        read = Timeline.read(case["text"]).events
        assert [[e.when, e.what, e.where, e.heard, e.seen] for e in read] == case["events"], case["name"]


def test_errors_are_worded_as_in_the_browser(root):
    wrong = [case for case in cases(root) if "error" in case]
    assert len(wrong) > 10
    for case in wrong:
        with pytest.raises(ValueError, match=r"^Line ") as raised:
            Timeline.read(case["text"])
        assert str(raised.value) == case["error"], case["name"]


def test_a_400_digit_number_is_refused_in_few_words():
    with pytest.raises(ValueError, match="it must be a number of seconds") as raised:
        Timeline.read("9" * 400 + " bell left")
    assert len(str(raised.value)) < 350


def test_ten_thousand_events_are_read():
    assert len(Timeline.read("\n".join(f"{k / 100} bell left" for k in range(10_000))).events) == 10_000
