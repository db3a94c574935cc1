"""``duet sweep --servers``: one workflow with many seeds on running ComfyUI servers; clips are collected here, measured and ranked."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..bench.takes import SCORES, Take, fingerprint, read_take, store_numbers, take_of_file, takes_of
from ..core.documents import printable
from ..core.files import atomic_output
from ..core.saved_plan import read_timed_events
from ..core.streams import Clip
from ..core.timed_events import TimedEvents
from ..figures.canvas import STRIP_FRAMES
from ..media.containers import open_media
from ..media.mp4 import read_mp4
from ..servers.client import CLIPS, Server
from ..servers.spread import spread
from ..servers.transport import ServerError, address_of
from ..servers.workflow import Workflow
from .options import add_sampling, add_workers
from .sweep import BY, write_report

USED = ("seed", "timed")  # options of sampling that also concern clips from elsewhere


@dataclass(frozen=True)
class Collected:
    """Where the clips of a workflow and their measurements are, and how clips are measured."""

    folder: Path  # of the clips: another score measures the same clips
    numbers: Path
    score: str
    events: TimedEvents | None

    def clip(self, seed: int) -> Path | None:
        """The clip of a seed, if it was collected."""
        paths = (self.folder / f"take-{seed}{suffix}" for suffix in CLIPS)
        return next((path for path in paths if path.is_file()), None)

    def measure(self, seed: int) -> Take:
        """Measure the clip of a seed, or read its measurements."""
        take, path = read_take(self.numbers, seed), self.clip(seed)
        if take is None and path is not None:
            take = take_of_file(seed, path, self.score, self.events)
            store_numbers(self.numbers, take)
        if take is None:
            raise ValueError(
                f"The clip of seed {seed} was removed from {self.folder} during the sweep. Repeat the command."
            )
        return take


def run_on_servers(arguments: argparse.Namespace) -> None:
    """Send the seeds that are missing, collect, measure and rank."""
    _refuse_other_options(arguments)
    ids = [part.strip() for part in (arguments.seed_node or "").split(",") if part.strip()]
    workflow = Workflow.read(arguments.workflow, seed_nodes=ids)
    _check_output_node(workflow, arguments.output_node)
    collected = _collected(arguments, workflow)
    seeds = range(arguments.seed, arguments.seed + arguments.takes)
    missing = [seed for seed in seeds if collected.clip(seed) is None]
    servers = [Server(a, arguments.patience, 60 * arguments.clip_minutes) for a in _addresses(arguments.servers)]
    servers = _running(servers) if missing else []
    with tqdm(total=len(seeds), desc="takes", unit="take") as bar, ThreadPoolExecutor(1) as pool:
        measured = [pool.submit(collected.measure, seed) for seed in seeds if seed not in missing]

        def note_steps() -> None:
            bar.n = sum(future.done() for future in measured)
            steps = [f"{s.address.partition('//')[2]} {s.steps[0]}/{s.steps[1]}" for s in servers if s.steps]
            bar.set_postfix_str(", ".join(steps))

        def clip(server: Server, seed: int) -> Path:
            target = collected.folder / f"take-{seed}"
            return server.clip(workflow.with_seed(seed), target, node=arguments.output_node, check=_check_clip)

        try:
            with closing(spread(servers, missing, clip, on_drop=_report_drop, on_tick=note_steps)) as finished:
                for seed, _ in finished:
                    measured.append(pool.submit(collected.measure, seed))
                    _raise_first(measured)
        except ServerError as error:
            raise ValueError(_stopped(error, collected, seeds, arguments.workflow)) from error
        for future in measured:
            future.result()
            note_steps()
    _write(arguments, collected, seeds)


def _refuse_other_options(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect: the workflow says what is generated."""
    if arguments.workflow is None:
        raise ValueError(
            "--servers needs the workflow that they run: --workflow FILE, exported with File > Export (API)."
        )
    parser = argparse.ArgumentParser()
    add_sampling(parser)
    add_workers(parser)
    for name, usual in vars(parser.parse_args([])).items():
        if name not in USED and getattr(arguments, name) != usual:
            option = "The prompt" if name == "prompt" else f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{option} has no effect with --servers, which run {arguments.workflow}. Leave it out; what is generated is set there."
            )
    if arguments.by == "plan" and arguments.timed is None:
        raise ValueError("--by plan compares the clips with timed events. Name them with --timed FILE.")


def _check_output_node(workflow: Workflow, node: str | None) -> None:
    if node is not None and node not in workflow.graph:
        raise ValueError(f"--output-node is {printable(node)}, and the workflow has no node of this id.")
    if node is None and len(workflow.savers) > 1:
        raise ValueError(
            f"The workflow saves several clips (nodes {', '.join(map(printable, workflow.savers))}). Name the node whose clip is ranked "
            "with --output-node."
        )


def _collected(arguments: argparse.Namespace, workflow: Workflow) -> Collected:
    events = None if arguments.timed is None else read_timed_events(arguments.timed)
    score = SCORES[BY[arguments.by or "motion"]]
    folder = arguments.output / f".duet-{fingerprint(workflow.with_seed(0), workflow.seeds, arguments.output_node)}"
    numbers = folder / fingerprint(score, repr(events))
    numbers.mkdir(parents=True, exist_ok=True)
    return Collected(folder, numbers, score, events)


def _addresses(text: str) -> list[str]:
    """The addresses in --servers, each once."""
    return list(dict.fromkeys(address_of(part) for part in text.split(",") if part.strip())) or [address_of(text)]


def _running(servers: Sequence[Server]) -> list[Server]:
    """The servers that answer as ComfyUI does; the others are reported.

    Raises:
        ValueError: none does.
    """

    def answers(server: Server) -> bool:
        try:
            server.check()
        except ServerError as error:
            _report_drop(server, error)
            return False
        return True

    with ThreadPoolExecutor(len(servers)) as pool:
        found = [server for server, good in zip(servers, pool.map(answers, servers), strict=True) if good]
    if not found:
        raise ValueError("None of --servers can be used; the reasons are above. Start them, or check the addresses.")
    return found


def _report_drop(server: Server, error: ServerError) -> None:
    tqdm.write(f"duet: {server.address} is no longer used: {error}.", file=sys.stderr)


def _check_clip(path: Path) -> None:
    with open_media(path) as container:
        if not container.streams.video:
            raise ValueError("no video stream")


def _raise_first(measured: Sequence[Future[Take]]) -> None:
    """Raise the error of a measurement at once, while the servers still work on clips that could not be ranked."""
    for future in measured:
        if future.done():
            future.result()


def _stopped(error: ServerError, collected: Collected, seeds: Sequence[int], workflow: Path) -> str:
    done = sum(collected.clip(seed) is not None for seed in seeds)
    return (
        f"{printable(error)}: {done} of {len(seeds)} clips of {workflow} are in {collected.folder}; the reasons are above. Repeat the "
        "command when servers run again, with the same --output: clips that are there are not generated again."
    )


def _write(arguments: argparse.Namespace, collected: Collected, seeds: Sequence[int]) -> None:
    """Copy the best clips, and write table and contact sheet."""
    found = takes_of(collected.numbers, seeds, arguments.workflow.stem)
    shown = []
    for rank, take in enumerate(found.takes[: arguments.keep], 1):
        path: Any = collected.clip(take.seed)
        target = arguments.output / f"best-{rank}{path.suffix}"
        with atomic_output(target) as temporary:
            shutil.copyfile(path, temporary)
        shown.append(_strip(read_mp4(path)))
        print(f"{printable(target)}: seed {take.seed}, score {take.score:.2f}")
    write_report(arguments.output, found, shown)


def _strip(clip: Clip) -> Clip:
    """A clip with the few frames that the contact sheet shows, so that memory does not grow with --keep."""
    picks = torch.linspace(0, len(clip.frames) - 1, STRIP_FRAMES).round().long()
    return Clip(clip.frames[picks], STRIP_FRAMES * clip.fps / len(clip.frames), clip.waveform, clip.sample_rate)
