"""Media files in a folder and their captions: beside each file, or in a table for many files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.documents import parse_json, read_object, read_text
from .timed_captions import EVENTS, ONSET, TimedCaption

MEDIA = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".ogv", ".flv", ".wmv")
TABLES = (".csv", ".json", ".jsonl")
# Columns of tables: JavisDiT's (path, audio_path, text) and the LTX trainer's (video or media_path, audio, caption).
VIDEO_COLUMNS = ("video", "media_path", "path")
AUDIO_COLUMNS = ("audio", "audio_path")
TEXT_COLUMNS = ("caption", "text")


@dataclass(frozen=True)
class Source:
    """A captioned media file: its name in reports, the files with its video and its audio (usually the same), and the caption with the
    times that it states."""

    name: str
    video: Path
    audio: Path
    timed: TimedCaption

    @property
    def caption(self) -> str:
        return self.timed.caption


@dataclass
class Sources:
    """The captioned media files of a folder, in order, and the reasons for which others are left out."""

    found: list[Source] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)


def find_sources(folder: Path, *, times: bool = False) -> Sources:
    """Every media file in ``folder`` and the folders in it, and those that tables in it name.

    The caption is in ``NAME.txt``, in the entry 'caption' of ``NAME.json``, or in a row of a .csv, .json or .jsonl table with JavisDiT's
    columns or the LTX trainer's. Paths in a table are relative to its folder. With ``times``, entries or columns 'events' and
    'onset' are read too.

    Raises:
        ValueError: there are no media files, or a table cannot be read.
    """
    folder, sources = Path(folder), Sources()
    rows = {video: row for table in _tables(folder) for video, row in _rows(table)}
    files = sorted({*media_files(folder, allow_none=bool(rows)), *rows})
    for video in files:
        name = str(video.relative_to(folder)) if video.is_relative_to(folder) else str(video)
        row = rows.get(video, _Row())
        try:
            if not video.is_file():
                raise ValueError("a table names it, but it does not exist")
            if row.audio and not row.audio.is_file():
                raise ValueError(f"its audio file {row.audio} does not exist")
            stated = (row.times or times_beside(video)) if times else {}
            timed = TimedCaption.read(row.caption or caption_beside(video), stated)
            sources.found.append(Source(name, video, row.audio or video, timed))
        except ValueError as error:
            sources.rejected[name] = str(error)
    return sources


def media_files(folder: Path, *, allow_none: bool = False) -> list[Path]:
    """The media files in ``folder`` and the folders in it, in order.

    Raises:
        ValueError: there are none and ``allow_none`` is false.
    """
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in MEDIA)
    if not files and not allow_none:
        raise ValueError(f"{folder} holds no media file ({', '.join(MEDIA)}).")
    return files


def caption_beside(path: Path) -> str:
    """The caption of a media file, from ``NAME.txt`` or from the entry 'caption' of ``NAME.json``.

    Raises:
        ValueError: neither exists, or the one that exists contains no caption.
    """
    text, data = path.with_suffix(".txt"), path.with_suffix(".json")
    if not (text.is_file() or data.is_file()):
        raise ValueError(f"it has no caption; write one into {text.name} or {data.name}")
    words = read_text(text) if text.is_file() else read_object(data, "caption")["caption"]
    if not isinstance(words, str) or not words.strip():
        raise ValueError(f"its caption in {text.name if text.is_file() else data.name} is empty or not a text")
    return words.strip()


def times_beside(path: Path) -> dict[str, Any]:
    """The entries of ``NAME.json`` beside a media file, which may hold times; empty without such an object."""
    data = path.with_suffix(".json")
    found = parse_json(read_text(data), data) if data.is_file() else {}
    return found if isinstance(found, dict) else {}


def _tables(folder: Path) -> list[Path]:
    """Tables in ``folder``: files that are not the caption of a single media file."""
    single = {path.with_suffix(".json") for path in media_files(folder, allow_none=True)}
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in TABLES and p not in single)


@dataclass(frozen=True)
class _Row:
    """The caption, the audio file and the times that a table gives for a video; what it does not give is empty."""

    caption: str = ""
    audio: Path | None = None
    times: dict[str, Any] = field(default_factory=dict)


def _rows(table: Path) -> Iterator[tuple[Path, _Row]]:
    """Each video that a row names, with that row; a file without such rows is not a table of clips."""
    try:
        rows = _read(table)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{error} Repair this table, or remove it from the folder.") from error
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and (video := _cell(row, VIDEO_COLUMNS)):
            audio = _cell(row, AUDIO_COLUMNS)
            times = {name: row[name] for name in (EVENTS, ONSET) if row.get(name)}
            yield table.parent / video, _Row(_cell(row, TEXT_COLUMNS), table.parent / audio if audio else None, times)


def _read(table: Path) -> Any:
    text = read_text(table)
    if table.suffix.lower() == ".csv":
        return list(csv.DictReader(text.splitlines(keepends=True)))
    if table.suffix.lower() == ".jsonl":
        return [parse_json(line, table) for line in text.splitlines() if line.strip()]
    return parse_json(text, table)


def _cell(row: dict[str, Any], columns: tuple[str, ...]) -> str:
    """The first of ``columns`` that holds a text; empty if none does."""
    return next((row[name].strip() for name in columns if isinstance(row.get(name), str) and row[name].strip()), "")
