"""``duet extend``: a clip longer than the model generates at once, from a prompt or continuing a clip, and loops."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.documents import printable
from ..core.files import check_output_path
from .generate import provenance_of
from .options import add_label, add_sampling
from .request import for_model, report_prompts, request_of

if TYPE_CHECKING:
    from ..core.pieces import Extension
    from ..core.streams import Clip
    from ..models.pocket.extend import PlanFor
    from ..models.pocket.generate import Request
    from ..models.pocket.load import PocketModel


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet extend``."""
    add_sampling(parser, seconds=10.0, length="length of the whole clip")
    parser.add_argument("--clip", type=Path, metavar="FILE", help="continue this clip (default: begin with the prompt)")
    parser.add_argument("--loop", action="store_true", help="end as the clip begins, in picture and sound")
    parser.add_argument(
        "--piece",
        type=float,
        default=2.0,
        metavar="S",
        help="length of the pieces that are generated; the pocket model was trained on 2 s (default 2)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.5,
        metavar="S",
        help="how much of the clip so far each piece keeps, rounded up to whole latent frames (default 0.5)",
    )
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="timeline of events to follow over the whole clip (default: no plan)"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="skip the domain check of --clip; quality is not guaranteed"
    )
    add_label(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="output mp4; an interrupted run resumes from its finished pieces",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Generate the pieces and write the clip part by part."""
    inputs = (arguments.clip, arguments.plan, arguments.timed)
    check_output_path(arguments.output, suffix=".mp4", inputs=inputs)
    request = request_of(arguments, [arguments.prompt], piece=arguments.piece)

    from tqdm import tqdm

    from ..bench.takes import fingerprint
    from ..media.joining import extend, stored
    from ..media.mp4 import write_parts
    from ..models.choose import load_model, with_timed_text
    from ..models.pocket.extend import making
    from ..models.pocket.provenance import weights_report

    given = _given(arguments, request)
    model = load_model(arguments.model)
    extension = extension_of(arguments, model, request, 0 if given is None else len(given.frames))
    request = for_model(request, arguments, model)
    report_prompts(model.text.tokenizer, [arguments.prompt, *(request.audio or ())], arguments.negative)
    model = model if request.timed is None else with_timed_text(model)
    model, plan_for = _planned(arguments, model, request, extension)
    begin = () if given is None else (given.frames, given.waveform)
    plan = None if arguments.plan is None else arguments.plan.read_bytes().hex()
    name = fingerprint(repr(request), repr(extension), plan, weights_report(model.files.values()), *begin)
    folder, clock = arguments.output.parent / f".duet-{name}", extension.clock
    with tqdm(total=len(extension.pieces) * arguments.steps, desc="extend", unit="step") as bar:
        make = making(model, request, extension, plan_for=plan_for, on_step=bar.update)
        first = request if plan_for is None else replace(request, plan=plan_for(0.0, clock.seconds))
        metadata = provenance_of(model, first, 0, plan=arguments.plan, kept=arguments.clip and arguments.clip.name)
        parts = extend(extension, stored(folder, make), given)
        frames, samples = write_parts(arguments.output, parts, metadata=metadata, label=arguments.watermark)
    shutil.rmtree(folder, ignore_errors=True)
    print(printable(f"{arguments.output}: {extension.report(frames, samples)}"))


def extension_of(arguments: argparse.Namespace, model: PocketModel, request: Request, given: int) -> Extension:
    """The pieces that the options describe, after ``given`` frames that exist.

    Raises:
        ValueError: the length or the overlap is impossible.
    """
    from ..core.pieces import Extension
    from ..models.pocket.extend import clock_of

    clock = clock_of(model, request.shape)
    frames = round(arguments.seconds * clock.fps)
    return Extension(clock, frames, clock.frames_from(arguments.overlap), given=given, loop=arguments.loop)


def _given(arguments: argparse.Namespace, request: Request) -> Clip | None:
    """The clip that is continued, at the rates and the size of the model.

    Raises:
        ValueError: it cannot be read, or does not look or sound like the pocket world.
    """
    if arguments.clip is None:
        return None
    from ..media.conform import read_conformed
    from ..models.pocket.domain import OUT_OF_DOMAIN_ADVICE, audio_domain_problem, video_domain_problem
    from ..models.pocket.load import load_audio_codec

    clip = read_conformed(arguments.clip, request.shape)
    problem = video_domain_problem(clip.frames.permute(0, 3, 1, 2))
    problem = problem or audio_domain_problem(load_audio_codec(), clip.waveform)
    if problem and not arguments.anyway:
        raise ValueError(f"{problem} {OUT_OF_DOMAIN_ADVICE}")
    return clip


def _planned(
    arguments: argparse.Namespace, model: PocketModel, request: Request, extension: Extension
) -> tuple[PocketModel, PlanFor | None]:
    """A model with plan layers, and the plan of each piece: the events of the timeline within it."""
    if arguments.plan is None:
        return model, None
    from ..core.conditions import PlanStreams
    from ..core.saved_plan import read_timeline
    from ..models.choose import with_condition
    from ..models.planner.load import load_planner
    from ..models.planner.request import plan_request

    timeline, planner = read_timeline(arguments.plan), load_planner()
    if request.shape.seconds != planner.config.seconds:
        raise ValueError(
            f"--piece is {request.shape.seconds:g}; the planner only supports {planner.config.seconds:g} s."
        )
    period = float(extension.frames / extension.clock.fps) if extension.loop else 0.0

    def plan_for(begin: float, end: float) -> PlanStreams:
        return plan_request(planner, request.prompts, request.audio, timeline.within(begin, end, period=period))

    return with_condition(model, "plan"), plan_for
