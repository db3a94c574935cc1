"""New files in the host's output folder."""

from __future__ import annotations

from pathlib import Path

import folder_paths


def new_output(prefix: str, suffix: str) -> Path:
    """The path of a new file in the output folder, numbered so that nothing is overwritten."""
    folder, name, _, _, _ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
    number = 1
    while (path := Path(folder) / f"{name}_{number:05}{suffix}").exists():
        number += 1
    return path
