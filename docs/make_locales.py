"""Update the translations: ``python docs/make_locales.py ADDRESS``.

Reads the nodes from the ComfyUI at ADDRESS, which has Duet, and writes ``locales/en/nodeDefs.json``. The English texts are those
of the schemas. From the other languages it removes the texts whose English has changed or that no node has any more, and prints
what is to be translated; write these into ``locales/LANGUAGE/nodeDefs.json``.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCALES = Path(__file__).parents[1] / "locales"
TRANSLATED = ("zh", "ja", "ko")
Json = dict[str, Any]


def english(info: Json) -> Json:
    """The texts of Duet's nodes in the server's ``/object_info``, as the front end looks them up."""
    texts = {}
    for node, about in info.items():
        if not node.startswith("Duet"):
            continue
        inputs = {
            name: {"name": name, "tooltip": options[0].get("tooltip", "") if options else ""}
            for group in ("required", "optional")
            for name, (_, *options) in about["input"].get(group, {}).items()
        }
        outputs = {
            str(k): {"name": name, "tooltip": tip}
            for k, (name, tip) in enumerate(zip(about["output_name"], about["output_tooltips"], strict=True))
        }
        texts[node] = {
            "display_name": about["display_name"],
            "description": about["description"],
            "inputs": inputs,
            "outputs": outputs,
        }
    return texts


def to_translate(texts: Json) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The English texts that the other languages have too (names of nodes and inputs, tooltips of inputs), each with its place."""
    for node, about in texts.items():
        yield about["display_name"], (node, "display_name")
        for name, entry in about["inputs"].items():
            for field in ("name", "tooltip"):
                yield entry[field], (node, "inputs", name, field)


def at(texts: Json, place: tuple[str, ...]) -> str | None:
    """The text at ``place``, or None."""
    found: Any = texts
    for part in place:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def put(texts: Json, place: tuple[str, ...], text: str) -> None:
    """Write ``text`` at ``place``."""
    for part in place[:-1]:
        texts = texts.setdefault(part, {})
    texts[place[-1]] = text


def kept(translation: Json, before: Json, now: Json) -> Json:
    """The texts of ``translation`` whose English is the same ``before`` and ``now``."""
    left: Json = {}
    for text, place in to_translate(now):
        translated = at(translation, place)
        if translated is not None and at(before, place) == text:
            put(left, place, translated)
    return left


def read(language: str) -> Json:
    """The texts of a language; none if there is no file."""
    path = LOCALES / language / "nodeDefs.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(language: str, texts: Json) -> None:
    """Write the texts of a language."""
    path = LOCALES / language / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(address: str) -> None:
    with urllib.request.urlopen(f"{address}/object_info", timeout=60) as answer:
        now = english(json.loads(answer.read()))
    before = read("en")
    for language in TRANSLATED:
        translation = kept(read(language), before, now)
        write(language, translation)
        for text, place in to_translate(now):
            if at(translation, place) is None:
                print(f"{language} {'.'.join(place)}: {text}")
    write("en", now)


if __name__ == "__main__":
    main(sys.argv[1])
