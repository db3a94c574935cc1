"""The translations: every text of the nodes is there in each language, with its numbers and quoted values, and nothing stale."""

import re
import sys
from pathlib import Path

import pytest

REMEDY = "run python docs/make_locales.py ADDRESS and translate what it prints"
QUOTED = re.compile(r"(?<!\w)'([^']+)'(?!\w)")
LITERALS = re.compile(r"\d+(?:\.\d+)?|[\w.]+(?:/\w+)+|\w+\.(?:pth|json|safetensors)|[A-Z][A-Za-z]*\d(?:[\w.-]*\w)?")


@pytest.fixture(scope="module")
def locales():
    sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
    import make_locales

    return make_locales


@pytest.fixture(params=["zh", "ja", "ko"])
def language(request):
    return request.param


def places(texts, before=()):
    """The places of all texts in a file."""
    for key, value in texts.items():
        yield from places(value, (*before, key)) if isinstance(value, dict) else [(*before, key)]


def test_every_text_is_translated_and_none_is_stale(locales, language):
    english, translation = locales.read("en"), locales.read(language)
    wanted = {place for text, place in locales.to_translate(english) if text}
    assert len(wanted) > 300
    assert set(places(translation)) == wanted, REMEDY
    assert all(locales.at(translation, place).strip() for place in wanted)


def test_a_translation_keeps_numbers_files_and_models(locales, language):
    english, translation = locales.read("en"), locales.read(language)
    for text, place in locales.to_translate(english):
        translated = locales.at(translation, place)
        lost = [word for word in LITERALS.findall(text) if word not in translated]
        assert lost == [], f"{language} {place}"


def test_a_translation_keeps_option_values_and_names_nodes_as_they_are_shown(locales, language):
    english, translation = locales.read("en"), locales.read(language)
    shown = {about["display_name"]: translation[node]["display_name"] for node, about in english.items()}
    for text, place in locales.to_translate(english):
        translated = locales.at(translation, place)
        quoted = set(QUOTED.findall(text))
        expected = {shown.get(name, name) for name in quoted if name != "Duet Strategy"}
        assert expected <= set(re.findall(r"'([^']+)'", translated)), f"{language} {place}"


def test_no_text_has_characters_that_the_front_end_reads_as_commands(locales, language):
    for name in ("en", language):
        texts = locales.read(name)
        assert [place for place in places(texts) if set("{}|@") & set(locales.at(texts, place))] == []


def test_a_changed_english_text_drops_its_translation(locales):
    before = {"DuetA": {"display_name": "Duet A", "inputs": {"x": {"name": "x", "tooltip": "One."}}}}
    now = {"DuetA": {"display_name": "Duet A", "inputs": {"x": {"name": "x", "tooltip": "Two."}}}}
    old = {"DuetA": {"display_name": "甲", "inputs": {"x": {"name": "x", "tooltip": "一。"}, "gone": {"name": "y"}}}}
    assert locales.kept(old, before, now) == {"DuetA": {"display_name": "甲", "inputs": {"x": {"name": "x"}}}}
