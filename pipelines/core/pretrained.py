"""Folders in the layout of diffusers and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .documents import printable


def load_part(kind: Any, part: Path, **options: Any) -> Any:
    """``kind.from_pretrained`` for the folder ``part``, with files of this computer alone.

    Raises:
        ValueError: the folder is missing or damaged, or a package is missing that it needs.
    """
    if not part.is_dir():
        raise ValueError(f"{part} is not a folder. Copy or download it again.")
    try:
        return kind.from_pretrained(part, local_files_only=True, **options)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except ImportError as error:
        reason = printable(" ".join(str(error).split()))[:300]
        raise ValueError(f"{part} needs a package that is not installed: {reason} Install it with pip.") from error
    except Exception as error:  # the libraries do not state what they raise for damaged files
        if "allocate memory" in str(error):  # torch reports a lack of memory on the CPU so
            raise
        reason = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        raise ValueError(f"{part} cannot be loaded ({reason}). Copy or download it again.") from error
