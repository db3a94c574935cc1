"""``duet sweep``: generate many seeds of a prompt, rank them, and write the best as files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.documents import printable
from .generate import provenance_of
from .options import add_sampling, add_workers
from .request import report_prompts, request_of
from .workers import workers_of

if TYPE_CHECKING:
    from ..bench.takes import Takes
    from ..core.streams import Clip

BY = {"events": 1, "motion": 0, "plan": 2}  # option value -> index in ``takes.SCORES``


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet sweep``."""
    add_sampling(parser)
    parser.add_argument(
        "-n", "--takes", type=int, default=8, metavar="N", help="number of seeds, starting with --seed (default 8)"
    )
    parser.add_argument("--keep", type=int, default=3, metavar="K", help="number of clips to write (default 3)")
    parser.add_argument(
        "--by",
        choices=tuple(BY),
        help="score: events heard and seen, agreement of audio and motion, which works for any clip, or events at the times of --timed "
        "(default events; with --servers motion)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="output folder for best-1.mp4, ..., takes.csv and takes.png; an interrupted sweep resumes from it",
    )
    add_workers(parser)
    _add_servers(parser)
    parser.set_defaults(command=run)


def _add_servers(parser: argparse.ArgumentParser) -> None:
    """Options of a sweep on running ComfyUI servers."""
    option = parser.add_argument_group("on running ComfyUI servers, instead of generating here").add_argument
    option(
        "--servers",
        metavar="URL,URL",
        help="addresses such as http://10.0.0.5:8188; one seed at a time is sent to each",
    )
    option("--workflow", type=Path, metavar="FILE", help="workflow in ComfyUI's API format, File > Export (API)")
    option("--seed-node", metavar="ID,ID", help="nodes whose seed is varied (default: every node that draws noise)")
    option("--output-node", metavar="ID", help="node whose clip is ranked, if the workflow saves several")
    option(
        "--patience",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds without an answer after which a server is dropped and its seed goes to another one (default 30)",
    )
    option(
        "--clip-minutes",
        type=float,
        default=60.0,
        metavar="M",
        help="minutes for one clip, queue included, after which a server is dropped (default 60)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Generate, rank and write the takes."""
    if arguments.servers is None:
        _generate_here(arguments)
    else:
        from .sweep_servers import run_on_servers

        run_on_servers(arguments)


def _generate_here(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..bench.takes import SCORES, fingerprint, sweep, takes_of
    from ..media.mp4 import write_mp4
    from ..models.pocket.provenance import weights_report
    from .seeds import Seeds

    if arguments.workflow is not None:
        raise ValueError("--workflow is run by ComfyUI servers. Name them with --servers.")
    request = request_of(arguments, [arguments.prompt])
    if arguments.by == "plan" and request.timed is None:
        raise ValueError("--by plan compares the clips with timed events. Name them with --timed FILE.")
    seeds, output = range(arguments.seed, arguments.seed + arguments.takes), arguments.output
    with workers_of(arguments) as executor, tqdm(total=len(seeds), desc="takes", unit="take") as bar:
        work = Seeds(arguments, request, SCORES[BY[arguments.by or "events"]])
        model, request = work.model, work.request
        report_prompts(model.text.tokenizer, [arguments.prompt, *(request.audio or ())], arguments.negative)
        name = fingerprint(repr(replace(request, seed=0)), work.score, weights_report(model.files.values()))
        output.mkdir(parents=True, exist_ok=True)
        folder = output / f".duet-{name}"
        best = sweep(folder, seeds, work, keep=arguments.keep, on_take=lambda _: bar.update(), each=executor.map)
    found, clips = takes_of(folder, seeds, arguments.prompt), [work.clip_of(tensors) for _, tensors in best]
    for rank, ((take, _), clip) in enumerate(zip(best, clips, strict=True), 1):
        metadata = provenance_of(model, replace(request, seed=take.seed), 0)
        write_mp4(output / f"best-{rank}.mp4", clip, metadata=metadata)
        print(f"{printable(output / f'best-{rank}.mp4')}: seed {take.seed}, score {take.score:.2f}")
    write_report(output, found, clips)


def write_report(output: Path, found: Takes, clips: Sequence[Clip]) -> None:
    """Write takes.csv, and takes.png with the ``clips`` of the best takes."""
    from ..bench.takes import write_csv
    from ..core.files import atomic_output
    from ..figures.takes import draw_takes

    write_csv(output / "takes.csv", [found])
    with atomic_output(output / "takes.png") as temporary:
        figure = draw_takes(clips, found.takes[: len(clips)], title=str(found))
        figure.savefig(temporary, format="png", dpi=100)
    print(f"{found}; {output / 'takes.csv'}, {output / 'takes.png'}")
