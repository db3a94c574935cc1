"""Checkpoints of several processes (torch.distributed.checkpoint): each writes a part of the tensors, and any number of processes reads
them. The parts are safetensors files, because the library's own format is a pickle, which could run code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from ..core.documents import parse_json, read_text
from .parallel import in_first, process, processes

NUMBERS = "checkpoint.json"  # written last: a folder without it is not complete
STEP, PART = "step-", ".part"


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The last complete checkpoint in ``folder`` and its numbers, or None.

    Raises:
        ValueError: its numbers are damaged.
    """
    found = sorted(path for path in folder.glob(f"{STEP}*[0-9]") if (path / NUMBERS).is_file())
    if not found:
        return None
    numbers = parse_json(read_text(found[-1] / NUMBERS), found[-1] / NUMBERS)
    if not isinstance(numbers, dict) or type(numbers.get("step")) is not int or numbers["step"] < 0:
        raise ValueError(
            f"{found[-1] / NUMBERS} is damaged. Delete {folder.name} to start again, or choose another --run folder."
        )
    return found[-1], numbers


def write_shards(folder: Path, tensors: dict[str, Tensor], numbers: dict[str, Any], *, step: int) -> None:
    """Write the checkpoint of a step; all processes call this together. Older ones are then removed.

    Raises:
        OSError: it could not be written.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    target = folder / f"{STEP}{step:09d}"
    part = target.with_name(target.name + PART)

    def begin() -> None:
        for abandoned in folder.glob(f"{STEP}*{PART}"):
            shutil.rmtree(abandoned)
        part.mkdir(parents=True)

    def complete() -> None:
        (part / NUMBERS).write_text(json.dumps(numbers) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        for old in folder.glob(f"{STEP}*"):
            if old != target:
                shutil.rmtree(old)

    in_first(begin)
    try:
        save(tensors, storage_writer=HuggingFaceStorageWriter(str(part), save_distributed=True))
    except CheckpointException as error:
        reason = next(iter(error.failures.values()))
        raise OSError(f"{part} could not be written ({reason}). Free disk space.") from error
    in_first(complete)


def read_shards(path: Path, tensors: dict[str, Tensor]) -> None:
    """Fill ``tensors`` from a checkpoint, whatever the number of processes that wrote it.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape, or a file is damaged.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(path))
    try:
        names = set(reader.read_metadata().state_dict_metadata)
        wrong = sorted(n for n in names ^ set(tensors) if not (n in names and n.startswith("best.") and process()))
        if wrong:
            raise ValueError(f"{wrong[0]} is in one of both only")
        load(tensors, storage_reader=reader, no_dist=processes() == 1)
    except CheckpointException as error:
        raise ValueError(str(next(iter(error.failures.values())))) from error
    except (SafetensorError, LookupError, AttributeError, TypeError, OSError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error


def remove_shards(folder: Path) -> None:
    """Remove all checkpoints in ``folder``."""
    if folder.is_dir():
        shutil.rmtree(folder)
