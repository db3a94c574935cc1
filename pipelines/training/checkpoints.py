"""Checkpoints that a run resumes from: one file for one process, a folder of shards for several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ..core.files import atomic_output
from ..core.schema import Between, checked
from ..core.weights import DAMAGED
from .parallel import in_first, is_sharded, process, processes
from .sharded import NUMBERS, newest, read_shards, remove_shards, write_shards


@dataclass
class State:
    """What a checkpoint holds beside the weights and the optimizer."""

    step: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    best_step: int = 0
    ema: dict[str, Tensor] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def learnt_state(module: nn.Module) -> dict[str, Tensor]:
    """The part of a module's state that training changes: everything but frozen parameters."""
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in module.state_dict().items() if name not in frozen}


@dataclass(frozen=True)
class _Numbers:
    """The part of a state that is not tensors, for JSON, which has no infinity: ``best`` counts only if something was ``scored``."""

    step: Annotated[int, Between(0, 10**12)]
    seconds: float
    best: float
    best_step: int
    scored: bool

    @classmethod
    def of(cls, state: State) -> _Numbers:
        scored = bool(state.best_step)
        return cls(state.step, state.seconds, state.best if scored else 0.0, state.best_step, scored)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of stage ``name`` in ``folder``. ``run`` holds what may not change when a run resumes; ``steps`` is its length."""

    folder: Path
    name: str
    run: dict[str, Any]
    steps: int

    @property
    def path(self) -> Path:
        """The file of one process."""
        return self.folder / f"{self.name}.ckpt"

    @property
    def shards(self) -> Path:
        """The folder of several processes."""
        return self.folder / f"{self.name}.shards"

    def write(self, state: State, module: nn.Module, optimizer: Any) -> None:
        """Write a checkpoint; all processes call this together. It replaces that of another number of processes."""
        if processes() > 1:
            write_shards(
                self.shards,
                _tensors(state, module, optimizer),
                vars(_Numbers.of(state)) | {"run": self.run},
                step=state.step,
            )
            in_first(lambda: self.path.unlink(missing_ok=True))
            return
        parts = {
            "state": vars(state),
            "module": learnt_state(module),
            "optimizer": optimizer.state_dict(),
            "run": self.run,
        }
        try:
            with atomic_output(self.path) as temporary:
                torch.save(parts, temporary)
        except RuntimeError as error:  # torch's writer reports a full disk so
            raise OSError(
                f"{self.path} could not be written ({str(error).splitlines()[0]}). Free disk space."
            ) from error
        remove_shards(self.shards)

    def read(self, module: nn.Module, optimizer: Any) -> State:
        """The state of the newest checkpoint, whose weights are loaded into ``module`` and ``optimizer``; without one, the first state.

        Raises:
            ValueError: a checkpoint is damaged, or another run wrote it.
        """
        state = State(ema={name: value.clone() for name, value in learnt_state(module).items()})
        shards = newest(self.shards)
        if self.path.is_file():
            if is_sharded(state.ema):
                raise ValueError(
                    f"{self.path} was written by one process and does not resume with FSDP. {self._remedy(self.path)}"
                )
            saved = self._saved()
            if shards is None or saved["state"]["step"] >= shards[1]["step"]:
                return self._from_file(saved, module, optimizer)
        return state if shards is None else self._from_shards(*shards, state, module, optimizer)

    def _remedy(self, path: Path) -> str:
        return f"Delete {path.name} to start again, or choose another --run folder."

    def _damaged(self, path: Path, error: object) -> ValueError:
        reason = str(error).partition("\n")[0][:120]
        return ValueError(f"{path} is not a complete checkpoint ({reason}). {self._remedy(path)}")

    def _saved(self) -> dict[str, Any]:
        """The contents of the file."""
        try:
            saved = torch.load(self.path, weights_only=True, map_location="cpu")
            if not State(**saved["state"]).step >= 0:
                raise ValueError(f"its step is {saved['state']['step']}")
        except DAMAGED as error:
            raise self._damaged(self.path, error) from error
        return saved

    def _check(self, path: Path, run: dict[str, Any] | None, step: int) -> None:
        if run is not None:  # checkpoints before version 0.3 do not say
            stored = {"start": "", **run}  # earlier ones do not say how the run began
            if differing := [name for name in self.run if stored.get(name) != self.run[name]]:
                name = differing[0]
                raise ValueError(
                    f"{path} is of another run: its {name} is {stored.get(name)!r}, and now {self.run[name]!r}. {self._remedy(path)}"
                )
        if step > self.steps:
            raise ValueError(
                f"{path} has already been trained for {step} steps, more than --steps {self.steps}. {self._remedy(path)}"
            )

    def _from_file(self, saved: dict[str, Any], module: nn.Module, optimizer: Any) -> State:
        state = State(**saved["state"])
        self._check(self.path, saved.get("run"), state.step)

        def load() -> State:
            _load_learnt(module, saved["module"])
            optimizer.load_state_dict(saved["optimizer"])
            return state

        return self._fitting(self.path, load)

    def _from_shards(
        self, path: Path, numbers: dict[str, Any], state: State, module: nn.Module, optimizer: Any
    ) -> State:
        run = numbers.pop("run", None)
        try:
            found = checked(_Numbers, numbers, source=NUMBERS)
        except ValueError as error:
            raise self._damaged(self.shards, error) from error
        best = found.best if found.scored else state.best
        state = State(found.step, found.seconds, best, found.best_step, state.ema)
        self._check(self.shards, run if isinstance(run, dict) else {}, state.step)
        if found.scored and (process() == 0 or is_sharded(state.ema)):
            state.best_weights = {name: torch.empty_like(value) for name, value in state.ema.items()}

        def load() -> State:
            read_shards(path, _tensors(state, module, optimizer, fill=True))
            return state

        return self._fitting(self.shards, load)

    def _fitting(self, path: Path, load: Callable[[], State]) -> State:
        try:
            return load()
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0][:120]
            raise ValueError(f"{path} does not fit the network ({reason}). {self._remedy(path)}") from error


def _tensors(state: State, module: nn.Module, optimizer: Any, *, fill: bool = False) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by name, each sharing memory with its owner; ``fill`` creates the optimizer's where it has none."""
    tensors = {f"module.{name}": value for name, value in learnt_state(module).items()}
    tensors |= {f"ema.{name}": value for name, value in state.ema.items()}
    tensors |= {f"best.{name}": value for name, value in state.best_weights.items()}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        moments = optimizer.state[parameter]
        if fill and not moments:
            moments["step"] = torch.zeros(())
            moments |= {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
        tensors |= {f"optimizer.{key}.{name}": value for key, value in moments.items()}
    return {name: value.detach().view(1) if value.ndim == 0 else value.detach() for name, value in tensors.items()}


def _load_learnt(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load a learnt state into ``module``; checkpoints before version 0.3 also hold the frozen parameters."""
    unexpected = module.load_state_dict(tensors, strict=False).unexpected_keys
    if wrong := sorted({*unexpected, *(learnt_state(module).keys() - tensors.keys())}):
        raise KeyError(f"{wrong[0]} is in one of both only")
