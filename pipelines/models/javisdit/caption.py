"""Prompts of v0.1 as it was trained on them: the aesthetic score behind the text, and captions cleaned as DeepFloyd's were.

Our own rules for what such cleaning does to a prompt; those for file names, article numbers and shop texts, which web
captions have and prompts do not, are left out.
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
        # Chinese, Japanese and related signs, which the caption models of the training data did not write
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
    """Lower case, without links, tags, handles, Chinese signs and stray marks; dashes and quotes of one kind."""
    text = html.unescape(html.unescape(text)).lower().strip()
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return re.sub(r"^[\"'_,\-:]+|[\"'_,\-:+]+$", "", text.strip()).strip()


def scored(text: str, *, score: float = 6.5) -> str:
    """``text`` with the score that steers v0.1's look, unless it names one."""
    return text if AESTHETIC in text.lower() else f"{text} {AESTHETIC} {score:.1f}."


def v01_prompt(text: str) -> str:
    """What v0.1's text encoder and prior read: scored, and cleaned twice as the reference does."""
    return clean(clean(scored(text)))
