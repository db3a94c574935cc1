"""One training in 2, then 4, then 1 processes, without and with sharded weights, and the same one in a single process. Run as a script: the
processes are forks of one that has imported everything and has computed nothing. Then two processes that cannot write."""

import json
import multiprocessing
import os
import socket
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import duet_av.pipelines.training.loop as loop
from duet_av.pipelines.training.parallel import denominator

STEPS, BATCH = 12, 8


class Block(nn.Module):
    """A frozen layer in bfloat16 and a layer that learns, computed again in the backward pass."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(6, 6).bfloat16().requires_grad_(False)
        self.learns = nn.Linear(6, 6)

    def forward(self, x):
        return x + torch.tanh(self.learns(x) + self.frozen(x.bfloat16()).float())


class Objective(nn.Module):
    """A weighted mean, whose weights differ from sample to sample."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.out = nn.Linear(6, 1)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, batch):
        x = batch["x"]
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        error = (self.out(x) * self.scale - batch["x"].sum(1, keepdim=True)).square().mean(1)
        return {"loss": (error * batch["weight"]).sum() / denominator(batch["weight"].sum())}


class Stage:
    name, shardable = "elastic", True

    def __init__(self):
        torch.manual_seed(0)
        self.objective = Objective()

    def batch(self, generator, size):
        x = torch.randn(size, 6, generator=generator)
        return {"x": x, "weight": torch.randint(0, 3, (size,), generator=generator).float(), "rate": 16.0}

    @torch.no_grad()
    def score(self):
        return {"score": -float(self.objective(self.batch(torch.Generator().manual_seed(9), 32))["loss"])}

    def save(self, record):
        return []


class Recorder(loop.Trainer):
    """Records the loss of every step, and stops before step ``stop`` as if the process had been killed."""

    losses, stop = [], STEPS

    def step(self, step):
        if step == self.stop:
            raise SystemExit(0)
        losses = super().step(step)
        self.losses.append((step, losses["loss"].item()))
        return losses


def run(folder, stop, environment):
    os.environ.update(environment)
    torch.set_num_threads(1)
    Recorder.stop, loop.Trainer = stop, Recorder
    stage = Stage()
    settings = loop.Settings(
        STEPS, BATCH, 3e-2, folder, warmup=2, score_every=3, checkpoint_seconds=0.0, bfloat16=False
    )
    try:
        loop.train(stage, settings)
    except OSError as error:
        (folder / f"error-{environment['RANK']}").write_text(str(error))
    finally:
        if environment.get("RANK", "0") == "0":
            (folder / f"losses-{stop}.json").write_text(json.dumps(Recorder.losses))


def together(folder, stop, count, *, sharded):
    """Train in ``count`` processes until before step ``stop``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared["ACCELERATE_USE_FSDP"] = str(sharded)
    ranks = [{**shared, "RANK": str(k), "LOCAL_RANK": str(k)} if count > 1 else {} for k in range(count)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(folder, stop, rank)) for rank in ranks]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    if codes := [process.exitcode for process in processes if process.exitcode != 0]:
        raise SystemExit(f"{len(codes)} of {count} processes ended with {codes}, or did not end")


if __name__ == "__main__":
    parts = [(4, 2), (8, 4), (12, 1)]
    for name, legs in {"whole": [(12, 1)], "parts": parts, "sharded": parts}.items():
        target = Path(sys.argv[1]) / name
        target.mkdir()
        for stop, count in legs:
            together(target, stop, count, sharded=name == "sharded")
            (target / f"files-{stop}").write_text(
                "\n".join(sorted(str(p.relative_to(target)) for p in target.rglob("*")))
            )
    blocked = Path(sys.argv[1]) / "blocked"
    blocked.mkdir()
    (blocked / "elastic.shards").write_text("a file where the folder of the checkpoints should be")
    together(blocked, STEPS, 2, sharded=False)
