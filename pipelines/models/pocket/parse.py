"""Phrases of a prompt and the subjects they describe: a look-up in the tables of ``phrases``, then one pass that joins attributes to
nouns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from . import phrases

BREAK = "break"  # a comma or another punctuation mark that separates clauses
TABLES = {
    "filler": phrases.FILLER,
    "number": phrases.NUMBER,
    "kind": phrases.KIND,
    "verb": phrases.VERB,
    "colour": phrases.COLOUR,
    "size": phrases.SIZE,
    "place": phrases.PLACE,
    "tempo": phrases.TEMPO,
    "times": phrases.TIMES,
    "scenery": phrases.SCENERY,
    "silent": phrases.SILENT,
    "unseen": phrases.UNSEEN,
    "link": phrases.LINK,
    "only": phrases.ONLY,
    "something": phrases.SOMETHING,
    "absent": phrases.ABSENT,
}  # a phrase in several tables belongs to the last
BEFORE = ("number", "colour", "size")  # attributes that stand before their noun: 'a big ball'
ANYWHERE = ("place", "tempo", "times", "silent", "unseen")  # attributes before or after it


@dataclass(frozen=True)
class Item:
    """A phrase of the prompt: its table, the caption's value, the phrase itself, and whether the value is only the nearest one."""

    table: str
    value: str
    phrase: str
    near: bool = False
    plural: bool = False


@dataclass
class Draft:
    """One subject while the prompt is read; attributes by table."""

    kind: str
    said: dict[str, str] = field(default_factory=dict)


@dataclass
class Reader:
    """The state between two phrases. ``waiting`` are attributes without a noun yet, ``here`` whether the clause has one."""

    subjects: list[Draft] = field(default_factory=list)
    named: list[Draft] = field(default_factory=list)  # the subjects of the latest noun
    waiting: list[Item] = field(default_factory=list)
    verb: str = ""
    something: bool = False
    here: bool = False
    rule: str = ""
    follows: str = ""
    scenery: list[str] = field(default_factory=list)
    mute: bool = False
    last: Item | None = None

    def read(self, item: Item) -> None:
        """Add one phrase."""
        if item.table == "kind":
            self._noun(item)
        elif item.table == "verb":
            self.verb = self.verb or item.value
        elif item.table == "scenery":
            # In 'a green meadow' the colour belongs to the meadow.
            if self.waiting and self.last is self.waiting[-1] and self.waiting[-1].table == "colour":
                self.waiting.pop()
            self.scenery.append(item.value)
        elif item.table in (BREAK, "link"):
            self._end_clause(item)
        elif (item.table, item.value) == ("silent", "clip"):
            self.mute = True
        elif item.table == "only":
            self.rule = item.value
        elif item.table == "something":
            self.something = True
        elif item.table in ANYWHERE and self.here:
            self._describe(item)
        elif item.table in (*BEFORE, *ANYWHERE):
            self.waiting.append(item)
        self.last = item

    def _noun(self, item: Item) -> None:
        said: list[dict[str, str]] = [{}]
        for attribute in self.waiting:
            # 'a red and a green ball' are two balls.
            if attribute.table == "colour" and "colour" in said[-1]:
                said.append({k: v for k, v in said[-1].items() if k == "number"})
            said[-1][attribute.table] = attribute.value
        self.waiting, self.here, self.verb = [], True, ""
        known = self._known(item, said[-1])
        if known is not None and len(said) == 1:
            self.subjects.append(self.subjects.pop(self.subjects.index(known)))
            known.said |= said[0]
            self.named = [known]
            return
        count = max(len(said), int(said[0].get("number", 2 if item.plural else 1)))
        said += [dict(said[-1]) for _ in range(count - len(said))]
        first = len(self.subjects)
        self.named = [Draft(item.value, one) for one in said]
        self.subjects += self.named
        if self.follows and first:
            self.rule = self.rule or "then"
            if self.follows == "after":
                self.subjects = self.subjects[first:] + self.subjects[:first]
        self.follows = "" if first or self.follows != "after" else "then"

    def _known(self, item: Item, said: dict[str, str]) -> Draft | None:
        """The subject that is mentioned again: the same kind, nothing that contradicts it, and neither a number nor a plural."""
        if item.plural or "number" in said:
            return None
        same = [s for s in self.subjects if s.kind == item.value]
        fits = [s for s in same if all(s.said.get(name, value) == value for name, value in said.items())]
        return fits[-1] if fits else None

    def _end_clause(self, item: Item) -> None:
        if self.something and self.verb and not self.here:
            self._noun(Item("kind", self.verb, ""))
        only_before = all(attribute.table in BEFORE for attribute in self.waiting)
        if self.subjects and (self.here or not only_before):
            self._attach()
        self.here, self.something = False, False
        self.verb = self.verb if not self.subjects else ""
        if item.table == "link" and item.value in ("then", "after"):
            self.follows = item.value

    def _attach(self) -> None:
        """Give the waiting attributes to the latest noun."""
        for attribute in self.waiting:
            if attribute.table != "number":
                self._describe(attribute)
        self.waiting = []

    def _describe(self, attribute: Item) -> None:
        """Give an attribute to the subjects of the latest noun; a place belongs to one of them."""
        for draft in self.named[:1] if attribute.table == "place" else self.named:
            draft.said[attribute.table] = attribute.value

    def finish(self) -> None:
        """End the prompt; without a noun the verb names the subject."""
        if not self.here and self.verb and (self.something or not self.subjects):
            self._noun(Item("kind", self.verb, ""))
        if self.subjects:
            self._attach()


def split_words(text: str) -> list[str]:
    """Lower-case words; punctuation separates and is not a word."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())


@cache
def _phrases() -> dict[tuple[str, ...], Item]:
    found = {}
    for table, meanings in TABLES.items():
        for value, text in meanings.items():
            for entry in text.split(", "):
                phrase, near = entry.removeprefix("~"), entry.startswith("~")
                item = Item(table, value, phrase, near)
                found[tuple(phrase.split())] = item
                if table in ("kind", "absent"):
                    many = Item(table, value, f"{phrase}s", near, plural=True)
                    found.setdefault(tuple(many.phrase.split()), many)
    return found


def items_of(text: str) -> Iterator[Item]:
    """The phrases of a prompt, the longest first at every word; a word of no table has the table ''."""
    known = _phrases()
    longest = max(map(len, known))
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)?|[,.;:!?]", text.lower().replace("\u2019", "'"))
    start = 0
    while start < len(words):
        spans = (tuple(words[start : start + n]) for n in range(longest, 0, -1))
        span = next((span for span in spans if span in known), None)
        if span:
            yield known[span]
        elif not words[start][0].isalnum():
            yield Item(BREAK, "", words[start])
        else:
            yield Item("", "", words[start])
        start += len(span) if span else 1
