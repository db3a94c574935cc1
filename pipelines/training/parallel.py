"""Training in several processes: each draws the same batch and takes its rows, so that their number changes nothing that is drawn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

OLDEST = "2.9"  # torch for several processes


def processes() -> int:
    """The number of processes that train together; 1 without a launcher."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process() -> int:
    """The index of this process; the first one writes files."""
    return dist.get_rank() if processes() > 1 else 0


def launched() -> int:
    """The number of processes that a launcher started, before they are connected."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_batch(size: int, count: int) -> None:
    """Check that a batch can be split over ``count`` processes.

    Raises:
        ValueError: it cannot.
    """
    if size % count:
        raise ValueError(
            f"The batch is {size} and {count} processes train. --batch is that of all processes together; choose a multiple of {count}."
        )


def check_torch(count: int) -> None:
    """Check that this torch can write the checkpoints of ``count`` processes, whose arguments version 2.9 introduced.

    Raises:
        ValueError: it cannot.
    """
    if count > 1 and torch.__version__ < OLDEST:
        raise ValueError(
            f"{count} processes train, and this torch is {torch.__version__}. Training in several processes needs torch {OLDEST} or newer; "
            "install it, or train in one process."
        )


def in_first(action: Callable[[], object]) -> None:
    """Run ``action`` in the first process while the others wait; all processes call this together.

    Raises:
        OSError: of the first process, in every process, so that none waits for one that has ended.
    """
    failure: list[str | None] = [None]
    if process() == 0:
        try:
            action()
        except OSError as error:
            failure = [str(error)]
    dist.broadcast_object_list(failure)
    if failure[0] is not None:
        raise OSError(failure[0])


def share(batch: Any, size: int, *, index: int, count: int) -> Any:
    """The part of a batch of ``size`` samples that process ``index`` of ``count`` trains on. In a batch every tensor has one row for each
    sample; a value that also holds other tensors has a method ``rows``, which selects samples.

    Raises:
        ValueError: a tensor without one row for each sample.
    """
    if count == 1:
        return batch
    each = size // count
    return _rows(batch, slice(index * each, (index + 1) * each), size)


def _rows(value: Any, rows: slice, size: int) -> Any:
    if isinstance(value, Tensor):
        if value.ndim == 0 or len(value) != size:
            raise ValueError(
                f"A batch of {size} samples holds a tensor of shape {tuple(value.shape)}, which has no row for each."
            )
        return value[rows]
    if callable(select := getattr(value, "rows", None)):
        return select(rows)
    if isinstance(value, Mapping):
        return {name: _rows(part, rows, size) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_rows(part, rows, size) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _rows(getattr(value, f.name), rows, size) for f in fields(value)})
    return value


def fsdp_launched() -> bool:
    """Whether the launcher asks for sharded weights (``accelerate launch --use_fsdp``)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1") and processes() > 1


def shard(module: nn.Module, device: str) -> None:
    """Distribute the weights of ``module`` over the processes (FSDP2): those of each block are collected when it is computed.

    Sharded here and not by accelerate, whose FSDP needs GPUs and a list of class names.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device, (processes(),))
    for block in blocks_of(module):
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """The entries of the outermost ``ModuleList``s of ``module``. A list inside a block, of its linear layers for example, is a part of
    the block."""
    for part in module.children():
        yield from part if isinstance(part, nn.ModuleList) else blocks_of(part)


def is_sharded(tensors: dict[str, Tensor]) -> bool:
    """Whether a process holds only a part of some of ``tensors``."""
    return any(hasattr(value, "full_tensor") for value in tensors.values())


def denominator(count: Tensor) -> Tensor:
    """``count``, at least 1, by which a sum over a process's samples is divided.

    Of N processes with sums S_k and counts C_k the result is sum_k C_k / N, because the gradients of S_k N / sum_k C_k are then averaged
    to that of sum_k S_k / sum_k C_k, as in one process. Scores, for which no gradients are needed, are computed by one process alone.
    """
    if processes() == 1 or not torch.is_grad_enabled():
        return count.clamp_min(1)
    count = count.detach().clone()
    dist.all_reduce(count)
    return count.clamp_min(1) / processes()


def averaged(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses of this process as means over all of them."""
    if processes() == 1:
        return losses
    values = torch.stack([value.detach().float() for value in losses.values()])
    dist.all_reduce(values)
    return dict(zip(losses, values / processes(), strict=True))
