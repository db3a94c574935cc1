"""The training stages of the pocket model, one file each (or one for closely related stages).

To add a stage, add a file here that builds it in a function decorated with ``register``, and list its name in ``cli/train.py``.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from .registry import STAGES, Job

__all__ = ["STAGES", "Job", "run_stage"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def run_stage(job: Job) -> dict[str, Any]:
    """Train a stage and write its weights; returns the record that is stored in them."""
    for folder in (job.folder, job.run):
        folder.mkdir(parents=True, exist_ok=True)
    return STAGES[job.stage](job)
