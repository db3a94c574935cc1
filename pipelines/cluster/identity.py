"""What decides the result of a piece beside the piece: the code and the weights of the pack."""

from __future__ import annotations

import hashlib
from functools import cache

from ..core.files import ROOT

PARTS = ("pyproject.toml", "kernels/**/*.py", "pipelines/**/*.py", "weights/*.safetensors")


@cache
def pack_digest() -> str:
    """A short hash of the pack's code and weights: equal on two computers only if they have the same pack."""
    digest = hashlib.sha256()
    for path in sorted(path for part in PARTS for path in ROOT.glob(part)):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
