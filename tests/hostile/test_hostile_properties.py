"""Any text, JSON or configuration is read, or refused with a ValueError of moderate length; nothing else happens."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duet_av.pipelines.core.documents import parse_json, printable
from duet_av.pipelines.core.saved_plan import SavedPlan
from duet_av.pipelines.core.schema import checked
from duet_av.pipelines.core.timeline import Timeline
from duet_av.pipelines.media.provenance import describe
from duet_av.pipelines.models.javisdit.load import VocoderConfig
from duet_av.pipelines.models.ltx2.sizes import OfficialSizes
from duet_av.pipelines.models.planner.planner import PlannerConfig
from duet_av.pipelines.models.pocket.config import POCKET, PocketConfig

few = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
scalars = st.none() | st.booleans() | st.integers() | st.integers(10**40, 10**400) | st.floats() | st.text(max_size=30)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
events = st.fixed_dictionaries(
    {"when": scalars | st.floats(0, 9), "what": scalars | st.just("bell"), "where": scalars | st.just("left")},
    optional={"heard": scalars, "seen": scalars, "x": scalars},
)


def read_or_refused(read, *arguments, **options):
    """What ``read`` returns; None if it refuses its input as it should."""
    try:
        return read(*arguments, **options)
    except ValueError as error:
        refusal = printable(error)
    assert 0 < len(refusal) < 1500
    return None


@few
@given(st.text() | st.lists(st.tuples(scalars, st.text(max_size=5), st.sampled_from(["left", "right", "up"]))))
def test_timelines_of_any_text(text):
    text = text if isinstance(text, str) else "\n".join(" ".join(map(str, row)) for row in text)
    found = read_or_refused(Timeline.read, text)
    if found is not None:
        assert Timeline.from_json(found.to_json()) == found


@few
@given(st.lists(events, max_size=3) | values)
def test_timelines_of_any_json(entries):
    found = read_or_refused(Timeline.from_json, json.dumps(entries))
    if found is not None:
        assert all(type(event.when) in (int, float) and event.when >= 0 for event in found.events)
        assert str(found) == "" or len(str(found).splitlines()) >= 1


@few
@given(
    st.fixed_dictionaries({"video": scalars, "audio": scalars, "timeline": values | st.lists(events), "seed": scalars})
    | values
)
def test_plans_of_any_json(entries):
    found = read_or_refused(SavedPlan.from_json, json.dumps(entries))
    if found is not None:
        assert SavedPlan.from_json(found.to_json()) == found


@few
@given(st.dictionaries(st.sampled_from([*vars(POCKET), "x"]), values), st.booleans())
def test_configurations_of_any_values(entries, complete):
    entries = vars(POCKET) | entries if complete else entries
    for create in (PocketConfig, PlannerConfig, VocoderConfig, OfficialSizes):
        read_or_refused(checked, create, entries, source="file")
    if (found := read_or_refused(checked, PocketConfig, entries, source="file")) is not None:
        assert 1 <= found.depth <= 512
        assert found.dim % (2 * found.heads) == 0


@few
@given(st.text() | values.map(json.dumps))
def test_any_json_is_parsed_or_refused(text):
    found = read_or_refused(parse_json, text, "file")
    assert found is None or json.dumps(found) == json.dumps(json.loads(text))


@few
@given(st.dictionaries(st.sampled_from(["duet", "workflow", "prompt"]), values))
def test_any_metadata_is_described_in_printable_lines(found):
    assert all(line.isprintable() for line in describe(found).split("\n"))


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_deep_json_is_refused_plainly(depth):
    for text in ("[" * depth, '{"a":' * depth, "[" * depth + "]" * depth):
        for read in (Timeline.from_json, SavedPlan.from_json):
            with pytest.raises(ValueError, match=r"timeline|saved plan|Event"):
                read(text)
