"""Where a file comes from, kept inside it: the pack's version, the weights by their hashes, the strictest licence, prompts, seeds and
settings. An mp4 and a png carry it as metadata; ``duet doctor FILE`` reads it."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from ..core.files import ROOT
from ..core.weights import KEY
from .containers import open_media

GENERATED, ASSEMBLED = "made by a generative model", "put together from given files, nothing was sampled"
HOST_KEYS = ("workflow", "prompt")  # what ComfyUI writes beside ours
LARGE = 2**27  # bytes: of a larger file only the header is hashed
Provenance = dict[str, Any]


@cache
def version() -> str:
    """The pack's own, from the file that the registry reads."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8") if (ROOT / "pyproject.toml").is_file() else ""
    found = re.search(r'^version = "(.+)"', text, re.MULTILINE)
    return found[1] if found else "unknown"


def file_hash(path: Path) -> str:
    """'sha256 ...' of a file, or of the header of one too large to be read for this: names and shapes of its tensors."""
    return _hashed(path, path.stat().st_mtime_ns)


@cache
def _hashed(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        if path.stat().st_size <= LARGE:
            return f"sha256 {hashlib.sha256(file.read()).hexdigest()}"
        size = int.from_bytes(file.read(8), "little")
        return f"sha256 of the header {hashlib.sha256(file.read(min(size, LARGE))).hexdigest()}"


def read_provenance(path: Path) -> dict[str, Any]:
    """What is written inside a file: our entry under 'duet', and ComfyUI's 'workflow' and 'prompt' if they are there.

    Raises:
        ValueError: not a media file or a picture, or an entry that is not JSON.
    """
    if path.suffix.lower() == ".png":
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as image:
                metadata = dict(image.info)
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a picture: {error}.") from error
    else:
        with open_media(path) as container:
            metadata = dict(container.metadata)
    found = {}
    for key in (KEY, *HOST_KEYS):
        if key in metadata:
            try:
                found[key] = json.loads(metadata[key])
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}: its entry {key!r} is not JSON ({error}); it was changed after it was written."
                ) from error
    return found


def describe(found: dict[str, Any]) -> str:
    """What was read, as a page of text."""
    own = found.get(KEY)
    lines = []
    if isinstance(own, dict):
        for name, value in own.items():
            if isinstance(value, dict):
                lines += [f"{name}:", *(f"  {k}: {v}" for k, v in value.items())]
            else:
                lines.append(f"{name}: {'; '.join(map(str, value)) if isinstance(value, list) else value}")
    for key in HOST_KEYS:
        if isinstance(found.get(key), dict):
            graph = found[key].get("nodes", found[key])
            lines.append(f"ComfyUI's {key}: {len(graph)} nodes; drop the file on the canvas to open it")
    return "\n".join(lines)
