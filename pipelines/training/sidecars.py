"""Media files in a folder and their captions: beside each file, or in a table for many files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.documents import parse_json, read_object, read_text

MEDIA = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".ogv", ".flv", ".wmv")
TABLES = (".csv", ".json", ".jsonl")
# Columns of tables: JavisDiT's (path, audio_path, text) and the LTX trainer's (video or media_path, audio, caption).
VIDEO_COLUMNS = ("video", "media_path", "path")
AUDIO_COLUMNS = ("audio", "audio_path")
TEXT_COLUMNS = ("caption", "text")


@dataclass(frozen=True)
class Source:
    """A captioned media file: its name in reports, the files with its video and its audio (usually the same), and the caption."""

    name: str
    video: Path
    audio: Path
    caption: str


@dataclass
class Sources:
    """The captioned media files of a folder, in order, and the reasons for which others are left out."""

    found: list[Source] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)


def find_sources(folder: Path) -> Sources:
    """Every media file in ``folder`` and the folders in it, and those that tables in it name.

    The caption is in ``NAME.txt``, in the entry 'caption' of ``NAME.json``, or in a row of a .csv, .json or .jsonl table with JavisDiT's
    columns or the LTX trainer's. Paths in a table are relative to its folder.

    Raises:
        ValueError: there are no media files, or a table cannot be read.
    """
    folder, sources = Path(folder), Sources()
    rows = {video: row for table in _tables(folder) for video, row in _rows(table)}
    files = sorted({*media_files(folder, allow_none=bool(rows)), *rows})
    for video in files:
        name = str(video.relative_to(folder)) if video.is_relative_to(folder) else str(video)
        caption, audio = rows.get(video, ("", None))
        try:
            if not video.is_file():
                raise ValueError("a table names it, but it does not exist")
            if audio and not audio.is_file():
                raise ValueError(f"its audio file {audio} does not exist")
            sources.found.append(Source(name, video, audio or video, caption or caption_beside(video)))
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


def _tables(folder: Path) -> list[Path]:
    """Tables in ``folder``: files that are not the caption of a single media file."""
    single = {path.with_suffix(".json") for path in media_files(folder, allow_none=True)}
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in TABLES and p not in single)


def _rows(table: Path) -> Iterator[tuple[Path, tuple[str, Path | None]]]:
    """Video, caption and audio file of each row that names a video; a file without such rows is not a table of clips."""
    try:
        rows = _read(table)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{error} Repair this table, or remove it from the folder.") from error
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and (video := _cell(row, VIDEO_COLUMNS)):
            audio = _cell(row, AUDIO_COLUMNS)
            yield table.parent / video, (_cell(row, TEXT_COLUMNS), table.parent / audio if audio else None)


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
