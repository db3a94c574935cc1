"""The prompt reader: complete captions stay as they are, everything else becomes a caption of the world."""

import pytest

from duet_av.pipelines.bench.people import people_prompts
from duet_av.pipelines.models.pocket.parse import TABLES, split_words
from duet_av.pipelines.models.pocket.reading import read_prompt
from duet_av.pipelines.models.pocket.text import WordTokenizer
from duet_av.pipelines.world import caption, is_caption, make_scene, vocabulary
from duet_av.pipelines.world.scene import KINDS


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_caption_of_the_world_is_encoded_token_for_token(split):
    tokenizer = WordTokenizer(vocabulary())
    for index in range(1500):
        text = caption(make_scene(11, index, split=split), paraphrase=index % 5)
        assert tokenizer.encode(text) == tokenizer.encode(text, as_written=True), text
        assert tokenizer.notices(text) == []


def test_punctuation_and_case_do_not_make_a_caption_incomplete():
    assert not read_prompt("A large yellow ball bounces quickly in the middle, in a meadow.").changed


@pytest.mark.parametrize("prompt", [p for p in people_prompts() if not p.refused], ids=lambda p: p.text)
def test_every_prompt_of_the_list_becomes_a_complete_caption_with_its_kinds_and_colours(prompt):
    reading = read_prompt(prompt.text)
    assert is_caption(reading.caption)
    words = split_words(reading.caption)
    assert {kind for kind in KINDS if kind in words} == {w.kind for w in prompt.wanted}
    for wanted in prompt.wanted:
        assert words.count(wanted.kind) == sum(w.number for w in prompt.wanted if w.kind == wanted.kind)
        assert not wanted.colour or wanted.colour in words
        assert wanted.seen or "unseen" in words or "off" in words


READ = {
    "word order": ("quickly, on the right, a big blue ball", ("large blue ball", "quickly", "on the right")),
    "two objects": ("two red balls", ("red ball", "on the left", "on the right")),
    "two objects with one tempo": (
        "two red balls bounce quickly",
        ("bounces quickly on the left", "right bounces quickly"),
    ),
    "two colours": ("a red and a green bell", ("red bell", "green bell")),
    "colour of the scenery": ("a ball in a green meadow", ("red ball", "in a meadow")),
    "a later sentence": ("A bell rings. The bell is green.", ("green bell",)),
    "silence of one": ("a silent ball and a drum", ("left bounces slowly without a sound", "drum")),
    "order": ("a bell rings after a ball bounces", ("ball", "then", "bell")),
    "counted beats": ("a drum beats twice, then a bell rings", ("after the second beat of a", "drum", "bell", "once")),
    "an unseen object after counted beats": ("a drum beats twice then an unseen bell rings", ("then", "unseen bell")),
    "comparison": ("two bells, only the bigger one rings", ("small", "large")),
    "a sound without a noun": ("something chirps off screen", ("bird chirps",)),
}


@pytest.mark.parametrize("name", READ)
def test_a_prompt_is_read_as(name):
    prompt, parts = READ[name]
    text = read_prompt(prompt).caption
    assert is_caption(text)
    for part in parts:
        assert part in text, text


def test_what_the_caption_cannot_express_is_named():
    reading = read_prompt("five orange balls bounce three times with a clock at the beach in the night")
    remarks = "\n".join(reading.remarks)
    assert "at most 2 subjects" in remarks
    assert "'orange' is not known; 'red' is used instead" in remarks
    assert "3 events cannot be requested exactly" in remarks
    assert "one scenery" in remarks


def test_unknown_words_are_named_and_do_not_change_the_caption():
    reading = read_prompt("a wobbly red ball")
    assert reading.unknown == ("wobbly",)
    assert reading.caption == read_prompt("a red ball").caption


@pytest.mark.parametrize(
    ("prompt", "nearest"), [("a dog barks", "bird"), ("a piano and a ball", "bell"), ("cars", "ball")]
)
def test_an_absent_subject_is_refused_with_the_kinds_that_exist_nearest_first(prompt, nearest):
    with pytest.raises(ValueError, match=f"nearest first: {nearest}, "):
        read_prompt(prompt)


@pytest.mark.parametrize("prompt", ["zebra quartz", "at night"])
def test_a_prompt_without_a_subject_is_refused(prompt):
    with pytest.raises(ValueError, match="names nothing that the pocket model can generate"):
        read_prompt(prompt)


def test_the_empty_prompt_stays_empty():
    assert read_prompt(" ").caption == ""


def test_every_table_has_clean_phrases():
    for table, meanings in TABLES.items():
        for text in meanings.values():
            entries = [entry.removeprefix("~") for entry in text.split(", ")]
            assert all(" ".join(split_words(entry)) == entry for entry in entries), table
            assert len(entries) == len(set(entries)), table
