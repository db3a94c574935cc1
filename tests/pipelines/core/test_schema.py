"""The one door for values of outside files: types, limits, and the errors that name file, entry, value and rule."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest

from duet_av.pipelines.bench.probes import AudioProbe, VideoProbe
from duet_av.pipelines.core.documents import MAX_TEXT, parse_json, printable, read_object, read_text
from duet_av.pipelines.core.schema import Between, Length, arguments, check_heads, checked
from duet_av.pipelines.models.adapter.net import AdapterConfig
from duet_av.pipelines.models.addons.adapter import AdapterLayersConfig
from duet_av.pipelines.models.addons.plan import PlanConfig
from duet_av.pipelines.models.addons.prior import PriorLayersConfig
from duet_av.pipelines.models.ltx2.pocket_config import PocketLTX2Config
from duet_av.pipelines.models.ltx2.sizes import OfficialSizes
from duet_av.pipelines.models.planner.planner import PlannerConfig
from duet_av.pipelines.models.pocket.audio_codec import AudioCodec
from duet_av.pipelines.models.pocket.config import PocketConfig
from duet_av.pipelines.models.pocket.text import TextEncoder
from duet_av.pipelines.models.pocket.video_codec import VideoCodec
from duet_av.pipelines.models.prior.net import PriorNetConfig

DATACLASSES = (
    *(PocketConfig, PlannerConfig, PriorNetConfig, AdapterConfig, PlanConfig, PriorLayersConfig, AdapterLayersConfig),
    *(PocketLTX2Config, OfficialSizes),
)
MODULES = (TextEncoder, VideoCodec, AudioCodec, AudioProbe, VideoProbe)


@dataclass(frozen=True)
class Example:
    size: Annotated[int, Between(1, 8)]
    rate: Annotated[float, Between(0.5, 2)] = 1.0
    words: Annotated[tuple[str, ...], Length(1, 3)] = ("a",)
    mode: Literal["fast", "slow"] = "fast"
    limit: Annotated[int | None, Between(0, 4)] = None
    table: Annotated[dict[str, float], Length(0, 2)] | None = None
    quick: bool = False


def test_entries_become_typed_values():
    found = checked(Example, {"size": 3, "rate": 1, "words": ["b", "c"], "table": {"x": 2}}, source="f")
    assert found == Example(3, 1.0, ("b", "c"), table={"x": 2.0})
    assert isinstance(found.rate, float)
    assert arguments(Example, {"size": 3}, source="f") == {"size": 3}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "'size' is missing"),
        ({"size": 3, "other": 1}, "'other' is unknown"),
        ({"size": 0}, "size is 0; it must be a number from 1 to 8"),
        ({"size": 10**400}, "size is 1000"),
        ({"size": True}, "size is True; it must be an integer"),
        ({"size": 3.0}, "size is 3.0; it must be an integer"),
        ({"size": "3"}, "size is '3'; it must be an integer"),
        ({"size": 3, "rate": float("nan")}, "rate is nan; it must be a finite number"),
        ({"size": 3, "rate": 10**400}, "it must be a finite number"),
        ({"size": 3, "words": "abc"}, "words is 'abc'; it must be a list"),
        ({"size": 3, "words": []}, "words is .*; it must be 1 to 3 entries long"),
        ({"size": 3, "words": ["a", 1]}, "it must be a text"),
        ({"size": 3, "mode": ["fast"]}, "it must be one of 'fast', 'slow'"),
        ({"size": 3, "limit": -1}, "limit is -1"),
        ({"size": 3, "table": {"a": "\x1b[31m"}}, r"table is \{'a': '\\x1b\[31m'\}; it must be a number"),
        ({"size": 3, "quick": 1}, "it must be true or false"),
        ([], "not an object"),
        (None, "not an object"),
    ],
)
def test_a_wrong_entry_is_named_with_file_value_and_rule(entries, message):
    with pytest.raises(ValueError, match=message) as caught:
        checked(Example, entries, source="file.safetensors")
    assert str(caught.value).startswith("file.safetensors")
    assert printable(caught.value) == str(caught.value)


def test_unknown_entries_of_foreign_files_can_be_ignored():
    assert checked(Example, {"size": 3, "other": 1}, source="f", ignore_unknown=True) == Example(3)


def numbers_without_limits(hint, limited=False):
    if get_origin(hint) is Annotated:
        base, *rules = get_args(hint)
        return numbers_without_limits(base, any(isinstance(rule, Between) for rule in rules))
    if get_args(hint):
        return any(numbers_without_limits(part, limited) for part in get_args(hint) if not isinstance(part, str))
    return hint in (int, float) and not limited


@pytest.mark.parametrize("create", [*DATACLASSES, *MODULES], ids=lambda create: create.__name__)
def test_every_number_of_every_configuration_has_limits(create):
    hints = get_type_hints(create if create in DATACLASSES else create.__init__, include_extras=True)
    assert [name for name, hint in hints.items() if numbers_without_limits(hint)] == []


def test_a_width_must_split_into_heads():
    check_heads(192, 6)
    with pytest.raises(ValueError, match="multiple of 14"):
        check_heads(192, 7)


def test_documents_are_bounded(tmp_path):
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(MAX_TEXT + 1)
    with pytest.raises(ValueError, match=r"big\.json has \d+ bytes"):
        read_text(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        read_text(path)
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"big\.json: its JSON is nested too deeply"):
        read_object(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="must be a JSON object with a"):
        read_object(path, "a")
    with pytest.raises(ValueError, match="not JSON"):
        parse_json("{", "x")


def test_nothing_unprintable_is_printed():
    assert printable("a\x1b[31m\r\nduet: b\u202e\udc80\x9b") == r"a\x1b[31m\r\nduet: b\u202e\udc80\x9b"
    assert printable("Übung 音") == "Übung 音"
