"""Media files as PyAV opens them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """A media file to read from.

    Raises:
        ValueError: it cannot be read as one, at its beginning or later.
    """
    try:
        with av.open(str(path)) as container:
            yield container
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a media file: {error}.") from error
