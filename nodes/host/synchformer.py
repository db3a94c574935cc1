"""Synchformer with the user's weights from models/duet."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import comfy.model_management
import folder_paths

from ...pipelines.core.streams import Clip
from ...pipelines.sync.desync import DesyncMeter, frames_of_clip
from .add_ons import FOLDER
from .families import place

NAME = "synchformer"  # part of the name of every file of its weights


def synchformer_files() -> list[str]:
    """The files in models/duet whose name contains 'synchformer'."""
    return [name for name in folder_paths.get_filename_list(FOLDER) if NAME in name.lower()]


def synchformer_report(choice: str, clip: Clip) -> str:
    """Synchformer's estimate of the offset of ``clip`` with the weights of an entry of ``synchformer_files``.

    Raises:
        ValueError: the file no longer exists or holds other weights, or the clip is too short.
    """
    path = place(FOLDER, choice)
    meter = _meter(path, path.stat().st_mtime_ns)
    return str(meter.measure(frames_of_clip(clip), clip.waveform, clip.sample_rate))


@cache
def _meter(path: Path, _changed: int) -> DesyncMeter:
    return DesyncMeter.load(path, str(comfy.model_management.get_torch_device()))
