"""The training loop every stage shares: accelerate, EMA, schedule, checkpoints that resume, progress with ETA."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from tqdm import tqdm

from ..bench.tables import commit
from .card import write_card
from .checkpoints import Checkpoints, State, learnt_state
from .parallel import averaged, check_batch, check_torch, fsdp_launched, shard, share
from .precision import attention_kernel, training_precision


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


OnStep = Callable[[int, int, dict[str, Tensor]], object]  # receives the step, the number of steps and the losses


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
    bfloat16: bool = True  # where the processor has it; weights and losses stay in float32
    compiled: bool = False  # through torch.compile, which needs a C++ compiler on a CPU
    lr_factors: dict[str, float] = field(default_factory=dict)  # fragment of a parameter's name -> factor on the rate
    data: str = ""  # which clips are trained on, so that a run does not resume with others
    start: str = ""  # what the layers were when the run began: new, or those that ship


def identity(settings: Settings) -> dict[str, Any]:
    """What may not change when a run resumes. The number of steps may grow."""
    return {name: getattr(settings, name) for name in ("seed", "batch", "lr", "data", "start")}


def learning_rate(step: int, settings: Settings) -> float:
    """Linear warm-up, plateau, linear decay to zero."""
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
    """Exponential average whose memory grows with the step: decay min(limit, (1 + n) / (20 + n)). Buffers are copied: a
    mask's -inf has no average."""
    decay = min(limit, (1 + step) / (20 + step))
    learnt = {name for name, _ in module.named_parameters()}
    for name, value in learnt_state(module).items():
        if name in learnt:
            ema[name].lerp_(value, 1 - decay)
        else:
            ema[name].copy_(value)


@contextmanager
def weights_of(module: nn.Module, values: dict[str, Tensor]) -> Iterator[None]:
    """Run the block with ``values`` of the learnt state in ``module``, then restore its own values."""
    own = {name: value.clone() for name, value in learnt_state(module).items()}
    module.load_state_dict(values, strict=False)
    module.eval()
    try:
        yield
    finally:
        module.load_state_dict(own, strict=False)
        module.train()


class Trainer:
    """One objective with its optimizer: ``step`` draws a batch and updates the weights.

    Raises:
        ValueError: the batch cannot be split over the processes, torch is too old for several, or the stage cannot be trained with FSDP.
    """

    def __init__(self, stage: Stage, settings: Settings) -> None:
        # Autocast keeps the norms' weights in float32 on purpose.
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        # accelerate sets one precision for the whole process; autocast is entered here, so that each run has its own.
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        self.stage, self.settings, self.module = stage, settings, stage.objective
        check_batch(settings.batch, self.accelerator.num_processes)
        check_torch(self.accelerator.num_processes)
        self.sharded = fsdp_launched()
        if self.sharded:
            if not getattr(stage, "shardable", False):
                raise ValueError(
                    f"Stage {stage.name} cannot be trained with FSDP; lora and timed-lora can. Launch it without --use_fsdp."
                )
            shard(self.module, self.accelerator.device.type)
        groups = parameter_groups(self.module, settings)
        self.optimizer: Any = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)

    def prepare(self) -> None:
        """Hand module and optimizer to accelerate; call after a checkpoint has been read."""
        if self.sharded:  # in its own layers already
            self.wrapped = self.module
        else:
            self.wrapped, self.optimizer = self.accelerator.prepare(self.module, self.optimizer)
        self.wrapped = torch.compile(self.wrapped) if self.settings.compiled else self.wrapped

    def step(self, step: int) -> dict[str, Tensor]:
        """Optimizer step number ``step``; returns its losses. The batch is drawn from (seed, step) and split over the processes."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(step, self.settings)
        size, accelerator = self.settings.batch, self.accelerator
        generator = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + step) * 64)
        batch = self.stage.batch(generator, size)
        batch = share(batch, size, index=accelerator.process_index, count=accelerator.num_processes)
        device, bfloat16 = self.accelerator.device.type, self.settings.bfloat16
        with attention_kernel(device, bfloat16=bfloat16):
            with training_precision(device, bfloat16=bfloat16):
                losses = self.wrapped(batch)
            self.accelerator.backward(losses["loss"])
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return averaged(losses)

    def agree(self, decision: bool) -> bool:
        """The first process's ``decision``, for all."""
        return broadcast_object_list([decision])[0]


def train(stage: Stage, settings: Settings, *, on_step: OnStep | None = None) -> dict[str, Any]:
    """Train ``stage``, resuming from its checkpoint if there is one; returns the record stored in its weights. ``on_step`` is called after
    every step; what it raises, in all processes, ends the run, after a checkpoint was written.

    Every step's random numbers come from (seed, step), so that a resumed run continues the same sequence, with any number of processes.
    """
    trainer = Trainer(stage, settings)
    main, objective = trainer.accelerator.is_main_process, stage.objective
    judges = main or trainer.sharded  # a process that holds a part of the weights cannot score them alone
    settings.run.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(settings.run, stage.name, identity(settings), settings.steps)
    state = checkpoints.read(objective, trainer.optimizer)
    trainer.prepare()
    device = trainer.accelerator.device
    state.ema = {name: value.to(device) for name, value in state.ema.items()}
    bar = tqdm(total=settings.steps, initial=state.step, desc=stage.name, unit="step", disable=not main, mininterval=2)
    saved_at = time.monotonic()
    while state.step < settings.steps:
        begun = time.monotonic()
        losses = trainer.step(state.step)
        update_ema(state.ema, objective, step=state.step, limit=settings.ema)
        state.step += 1
        state.seconds += time.monotonic() - begun
        bar.update()
        bar.set_postfix({name: f"{value.item():.4f}" for name, value in losses.items()}, refresh=False)
        if on_step:
            try:
                on_step(state.step, settings.steps, losses)
            except BaseException:
                checkpoints.write(state, objective, trainer.optimizer)
                raise
        if judges and (state.step % settings.score_every == 0 or state.step == settings.steps):
            _judge(stage, state, bar)
        if trainer.agree(time.monotonic() - saved_at > settings.checkpoint_seconds or state.step == settings.steps):
            checkpoints.write(state, objective, trainer.optimizer)
            saved_at = time.monotonic()
        trainer.accelerator.wait_for_everyone()
    if judges and not state.best_weights:  # a run that was ended at its last step, before it was scored
        _judge(stage, state, bar)
    bar.close()
    record = _finish(stage, settings, state) if judges else {}
    return record if main else {}


def _judge(stage: Stage, state: State, bar: tqdm[Any]) -> None:
    """Score the averaged weights and keep them if they are the best so far. The loss on training clips is never used for
    this choice."""
    with weights_of(stage.objective, state.ema):
        scores = stage.score()
    if not bar.disable:
        shown = json.dumps({k: round(v, 4) for k, v in scores.items()})
        bar.write(f"{stage.name} step {state.step} ({state.seconds:.0f} s): {shown}", file=sys.stderr)
    if scores["score"] >= state.best:
        state.best, state.best_step = scores["score"], state.step
        state.best_weights = {name: value.clone() for name, value in state.ema.items()}


def _finish(stage: Stage, settings: Settings, state: State) -> dict[str, Any]:
    with weights_of(stage.objective, state.best_weights):
        record = {
            "stage": stage.name,
            "steps": state.step,
            "chosen_step": state.best_step,
            "batch": settings.batch,
            "lr": settings.lr,
            "seed": settings.seed,
            "seconds": round(state.seconds),
            "threads": torch.get_num_threads(),
            "commit": commit() if which("git") else "unknown",
            "torch": str(torch.__version__),
            "scores": {name: round(value, 4) for name, value in stage.score().items()},
        }
        for path in stage.save(record):
            write_card(path)
    return record
