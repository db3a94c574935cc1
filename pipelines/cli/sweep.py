"""``duet sweep``: generate many seeds of a prompt, rank them, and write the best as files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.documents import printable
from .generate import provenance_of
from .options import add_sampling
from .request import for_model, report_prompts, request_of

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

    from ..bench.readings import Probes
    from ..bench.takes import SCORES, Take, Tensors, fingerprint, sweep, take_of, takes_of
    from ..core.streams import Streams
    from ..media.mp4 import write_mp4
    from ..models.choose import load_model
    from ..models.pocket.generate import decode, sample
    from ..models.pocket.provenance import weights_report

    if arguments.workflow is not None:
        raise ValueError("--workflow is run by ComfyUI servers. Name them with --servers.")
    request = request_of(arguments, [arguments.prompt])
    if arguments.by == "plan" and request.timed is None:
        raise ValueError("--by plan compares the clips with timed events. Name them with --timed FILE.")
    events = None if request.timed is None else request.timed[0]
    model, probes, score = load_model(arguments.model), Probes.load(), SCORES[BY[arguments.by or "events"]]
    request = for_model(request, arguments, model)
    report_prompts(model.text.tokenizer, [arguments.prompt, *(request.audio or ())], arguments.negative)
    seeds = range(arguments.seed, arguments.seed + arguments.takes)
    arguments.output.mkdir(parents=True, exist_ok=True)

    def clip_of(tensors: Tensors) -> Clip:
        return decode(model, Streams(tensors["video"], tensors["audio"]), request.shape)[0]

    def generate(seed: int) -> tuple[Take, Tensors]:
        video, audio = sample(model.network, model.text, replace(request, seed=seed)).both()
        tensors = {"video": video, "audio": audio}
        return take_of(seed, clip_of(tensors), score, probes, events, True), tensors

    name = fingerprint(repr(replace(request, seed=0)), score, weights_report(model.files.values()))
    folder = arguments.output / f".duet-{name}"
    with tqdm(total=len(seeds), desc="takes", unit="take") as bar:
        best = sweep(folder, seeds, generate, keep=arguments.keep, on_take=lambda _: bar.update())
    found, clips = takes_of(folder, seeds, arguments.prompt), [clip_of(tensors) for _, tensors in best]
    for rank, ((take, _), clip) in enumerate(zip(best, clips, strict=True), 1):
        target = arguments.output / f"best-{rank}.mp4"
        metadata = provenance_of(model, replace(request, seed=take.seed), 0)
        write_mp4(target, clip, metadata=metadata)
        print(f"{printable(target)}: seed {take.seed}, score {take.score:.2f}")
    write_report(arguments.output, found, clips)


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
