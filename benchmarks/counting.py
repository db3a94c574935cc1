"""Costs that are counted, not timed: bytes that a computation allocates, its floating-point operations, modules that a command imports."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

IMPORTED = """
import json, runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_module("duet_av.pipelines.cli.main", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


class Live(TorchDispatchMode):
    """Counts bytes of tensors that are allocated inside the context: ``peak`` at the same time, ``total`` over all."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.total = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = {value.untyped_storage()._cdata for value in torch.utils._pytree.tree_leaves(args) if _is_tensor(value)}
        out = func(*args, **(kwargs or {}))
        for value in torch.utils._pytree.tree_leaves(out):
            if _is_tensor(value) and value.untyped_storage()._cdata not in given:
                self._count(value.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.seen:
            return
        self.seen.add(key)
        self.now += size
        self.total += size
        self.peak = max(self.peak, self.now)

        def freed() -> None:
            self.seen.discard(key)
            self.now -= size

        weakref.finalize(storage, freed)


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def allocated(run: Callable[[], object]) -> tuple[int, int]:
    """The most bytes that ``run`` holds at the same time, and the bytes that it allocates over all."""
    with torch.inference_mode(), Live() as live:
        run()
    return live.peak, live.total


def flops(run: Callable[[], object]) -> int:
    """Floating-point operations of ``run``'s matrix products, convolutions and attentions."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def imported(argv: list[str]) -> list[str]:
    """The names of the packages that the command ``duet`` with the arguments ``argv`` imports, in a process of its own."""
    code = IMPORTED.format(argv=["duet", *argv])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
