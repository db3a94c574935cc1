"""Prompts in the form that v0.1 was trained on: an aesthetic score after the text, and captions cleaned as in DeepFloyd IF.

The rules are our own implementation of that cleaning. Rules for file names, article numbers and shop texts, which occur in web captions
but not in prompts, are omitted.
"""

from __future__ import annotations

import html
import re

AESTHETIC = "aesthetic score:"
RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"<person>", "person"),
        (r"(https?://|www\.)\S+", ""),
        (r"<[^>]*>", " "),
        (r"@[\w\d]+\b", ""),
        # Chinese, Japanese and related characters, which do not occur in the captions of the training data
        (r"[\u31c0-\u31ef\u31f0-\u31ff\u3200-\u32ff\u3300-\u33ff\u3400-\u4dbf\u4dc0-\u4dff\u4e00-\u9fff]+", ""),
        (r"[\u002d\u058a\u1400\u1806\u2010-\u2015\u2e3a\u2e3b\u301c\u3030\ufe31\ufe32\ufe58\ufe63\uff0d]+", "-"),
        (r"[`\u00b4\u00ab\u00bb\u201c\u201d\u00a8]", '"'),
        (r"[\u2018\u2019]", "'"),
        (r"\d{1,3}(\.\d{1,3}){3}", " "),
        (r"\\n", " "),
        (r"#\d+\b", ""),
        (r"[\"']{2,}", '"'),
        (r"[.]{2,}", " "),
        (r"[#\u00ae\u2022\u00a9\u2122&@\u00ba\u00bf\u00a1|{}()\[\]\\/*+~]+", " "),
        (r"\s+\.\s+", " "),
        (r"\b\s+:\s+", ": "),
        (r"(\D[,./])\b", r"\1 "),
        (r"\s+", " "),
    )
)


def clean(text: str) -> str:
    """``text`` in lower case, with uniform dashes and quotes, without links, tags, handles, Chinese characters and stray punctuation."""
    text = html.unescape(html.unescape(text)).lower().strip()
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return re.sub(r"^[\"'_,\-:]+|[\"'_,\-:+]+$", "", text.strip()).strip()


def with_aesthetic_score(text: str, *, score: float = 6.5) -> str:
    """``text`` with the aesthetic score that v0.1 was trained with appended, unless it already has one."""
    return text if AESTHETIC in text.lower() else f"{text} {AESTHETIC} {score:.1f}."


def v01_prompt(text: str) -> str:
    """The prompt for v0.1's text encoder and prior: with a score, and cleaned twice as in the reference."""
    return clean(clean(with_aesthetic_score(text)))
