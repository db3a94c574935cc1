"""The training loop every stage shares: accelerate, EMA, schedule, checkpoints that resume, progress with ETA."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from ..core.files import atomic_output
from .card import write_card


@runtime_checkable
class Stage(Protocol):
    """What is trained: a module whose forward turns a batch into losses ('loss' is minimised), and how it is judged."""

    name: str

    @property
    def objective(self) -> nn.Module:
        """The module that is trained."""
        ...

    def batch(self, generator: torch.Generator, size: int) -> Any:
        """A batch drawn with ``generator``."""
        ...

    def score(self) -> dict[str, float]:
        """Judge the weights now in ``objective``; the entry 'score' selects checkpoints (higher is better)."""
        ...

    def save(self, record: dict[str, Any]) -> list[Path]:
        """Write the weights now in ``objective`` to the stage's files, with ``record`` in each."""
        ...


@dataclass(frozen=True)
class Settings:
    """How long and how fast. The peak learning rate falls linearly over the last ``decay`` of the steps."""

    steps: int
    batch: int
    lr: float
    run: Path  # folder of the checkpoint, outside version control
    seed: int = 0
    warmup: int = 60
    decay: float = 0.35
    ema: float = 0.998
    score_every: int = 1000
    checkpoint_seconds: float = 60.0
    bfloat16: bool = True  # autocast; weights and losses stay in float32
    compiled: bool = False  # through torch.compile, which needs a C++ compiler on a CPU
    lr_factors: dict[str, float] = field(default_factory=dict)  # fragment of a parameter's name -> factor on the rate


@dataclass
class State:
    """What a checkpoint holds beside the optimizer."""

    step: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    best_step: int = 0
    ema: dict[str, Tensor] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def learning_rate(step: int, settings: Settings) -> float:
    """Linear warm-up, plateau, linear decay to nought."""
    left = (settings.steps - step) / max(1.0, settings.decay * settings.steps)
    return settings.lr * min(1.0, (step + 1) / settings.warmup, left)


def parameter_groups(module: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """The parameters that learn, in one group for each factor on the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            factors = (factor for part, factor in settings.lr_factors.items() if part in name)
            groups.setdefault(next(factors, 1.0), []).append(parameter)
    return [{"params": group, "lr": settings.lr, "factor": factor} for factor, group in groups.items()]


def update_ema(ema: dict[str, Tensor], module: nn.Module, *, step: int, limit: float) -> None:
    """Exponential average whose memory grows with the step: decay min(limit, (1 + n) / (20 + n)). Buffers are taken as they are: a
    mask's -inf has no average."""
    decay = min(limit, (1 + step) / (20 + step))
    learnt = {name for name, _ in module.named_parameters()}
    for name, value in module.state_dict().items():
        if name in learnt:
            ema[name].lerp_(value, 1 - decay)
        else:
            ema[name].copy_(value)


@contextmanager
def weights_of(module: nn.Module, values: dict[str, Tensor]) -> Iterator[None]:
    """Run the block with ``values`` in ``module``, then put its own back."""
    own = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(values)
    module.eval()
    try:
        yield
    finally:
        module.load_state_dict(own)
        module.train()


def _write(path: Path, state: State, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    with atomic_output(path) as temporary:
        torch.save(
            {"state": vars(state), "module": module.state_dict(), "optimizer": optimizer.state_dict()}, temporary
        )


def _read(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    saved = torch.load(path, weights_only=True, map_location="cpu")
    module.load_state_dict(saved["module"])
    optimizer.load_state_dict(saved["optimizer"])
    return State(**saved["state"])


def train(stage: Stage, settings: Settings) -> dict[str, Any]:
    """Train ``stage``, resuming from its checkpoint if there is one; returns the record stored in its weights.

    Every step's random numbers come from (seed, step, process), so that a resumed run continues the same sequence.
    """
    # Autocast keeps the norms' weights in float32 on purpose.
    warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
    # accelerate holds one precision for the whole process; autocast is entered here, where each run has its own.
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    autocast = partial(torch.autocast, accelerator.device.type, torch.bfloat16, enabled=settings.bfloat16)
    objective = stage.objective
    optimizer = torch.optim.AdamW(parameter_groups(objective, settings), betas=(0.9, 0.98), weight_decay=0.01)
    settings.run.mkdir(parents=True, exist_ok=True)
    checkpoint = settings.run / f"{stage.name}.ckpt"
    if checkpoint.is_file():
        state = _read(checkpoint, objective, optimizer)
    else:
        state = State(ema={name: value.clone() for name, value in objective.state_dict().items()})
    wrapped, optimizer = accelerator.prepare(objective, optimizer)
    wrapped = torch.compile(wrapped) if settings.compiled else wrapped
    # At pocket lengths the fused CPU kernel's backward alone takes longer than a whole step's matrix products.
    attention = partial(sdpa_kernel, SDPBackend.MATH) if accelerator.device.type == "cpu" else nullcontext
    bar = tqdm(
        total=settings.steps,
        initial=state.step,
        desc=stage.name,
        unit="step",
        disable=not accelerator.is_main_process,
        mininterval=2,
    )
    saved_at = time.monotonic()
    while state.step < settings.steps:
        begun = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(state.step, settings)
        generator = torch.Generator().manual_seed(
            (settings.seed * 1_000_003 + state.step) * 64 + accelerator.process_index
        )
        with autocast(), attention():
            losses = wrapped(stage.batch(generator, settings.batch))
        accelerator.backward(losses["loss"])
        accelerator.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        update_ema(state.ema, objective, step=state.step, limit=settings.ema)
        state.step += 1
        state.seconds += time.monotonic() - begun
        bar.update()
        bar.set_postfix({name: f"{value.item():.4f}" for name, value in losses.items()}, refresh=False)
        if accelerator.is_main_process:
            if state.step % settings.score_every == 0 or state.step == settings.steps:
                _judge(stage, state, bar)
            if time.monotonic() - saved_at > settings.checkpoint_seconds or state.step == settings.steps:
                _write(checkpoint, state, objective, optimizer)
                saved_at = time.monotonic()
        accelerator.wait_for_everyone()
    bar.close()
    return _finish(stage, settings, state, processes=accelerator.num_processes) if accelerator.is_main_process else {}


def _judge(stage: Stage, state: State, bar: tqdm[Any]) -> None:
    """Score the averaged weights and keep them if they are the best so far; never chosen by the loss."""
    with weights_of(stage.objective, state.ema):
        scores = stage.score()
    bar.write(
        f"{stage.name} step {state.step} ({state.seconds:.0f} s): {json.dumps({k: round(v, 4) for k, v in scores.items()})}",
        file=sys.stderr,
    )
    if scores["score"] >= state.best:
        state.best, state.best_step = scores["score"], state.step
        state.best_weights = {name: value.clone() for name, value in state.ema.items()}


def _finish(stage: Stage, settings: Settings, state: State, *, processes: int) -> dict[str, Any]:
    with weights_of(stage.objective, state.best_weights):
        record = {
            "stage": stage.name,
            "steps": state.step,
            "chosen_step": state.best_step,
            "batch": settings.batch * processes,
            "lr": settings.lr,
            "seed": settings.seed,
            "seconds": round(state.seconds),
            "threads": torch.get_num_threads(),
            "scores": {name: round(value, 4) for name, value in stage.score().items()},
        }
        for path in stage.save(record):
            write_card(path)
    return record
