"""``duet generate``: generate clips from prompts."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .files import output_paths, prompts_of
from .options import add_conditions, add_outputs, add_words, add_workers
from .request import report_prompts, request_of
from .workers import workers_of

if TYPE_CHECKING:
    from typing import Any

    from ..core.sizes import ClipShape
    from ..media.footage import Footage
    from ..models.pocket.generate import Request
    from ..models.pocket.load import PocketModel


BATCH = 16  # clips generated at once, and then written


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet generate``."""
    add_words(parser)
    add_conditions(parser)
    add_outputs(parser)
    add_workers(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Generate the clips and write them."""
    if arguments.adapter and not (arguments.video or arguments.audio):
        raise ValueError("--adapter conditions one stream on the other. Use it with --video or --audio.")
    prompts = prompts_of(arguments)
    outputs, timelines = output_paths(arguments, len(prompts))

    from tqdm import tqdm

    from ..core.saved_plan import read_timeline
    from .batches import Batches

    timeline = None if arguments.plan is None else read_timeline(arguments.plan)
    request = request_of(arguments, prompts)
    with workers_of(arguments) as executor:
        work = Batches(arguments, request, timeline, _footage(arguments, request.shape))
        report_prompts(work.model.text.tokenizer, [*prompts, *(request.audio or ())], arguments.negative)
        every = [range(k, min(k + BATCH, len(prompts))) for k in range(0, len(prompts), BATCH)]
        missing = [clips for clips in every if not work.is_written(clips, outputs, timelines)]
        with tqdm(total=arguments.steps * len(missing), desc="sample", unit="step") as bar:
            each = partial(work, on_step=bar.update) if executor.here else work
            for clips, batch in zip(missing, executor.map(each, missing), strict=True):
                bar.update(0 if executor.here else arguments.steps)
                for k, made in zip(clips, batch, strict=True):
                    bar.write(made.write(outputs[k], timelines[k] if timelines else None), file=sys.stdout)


def _footage(arguments: argparse.Namespace, shape: ClipShape) -> Footage | None:
    """The footage that is kept, if any."""
    from ..core.keep import AUDIO, FIRST, VIDEO
    from ..media.footage import read_footage

    for keep, path in ((VIDEO, arguments.video), (AUDIO, arguments.audio), (FIRST, arguments.image)):
        if path is not None:
            return read_footage(path, keep, shape, start=arguments.start)
    return None


def provenance_of(
    model: PocketModel,
    request: Request,
    k: int,
    *,
    plan: Path | None = None,
    prior_seed: int | None = None,
    kept: str | None = None,
) -> dict[str, dict[str, Any]]:
    """The provenance metadata of clip ``k``."""
    from ..core.weights import KEY
    from ..models.pocket.provenance import pocket_provenance

    provenance = pocket_provenance(
        model,
        prompts=[request.prompts[k], *((request.audio or [])[k : k + 1])],
        seed=request.seed + k,
        negative=request.negative or None,
        steps=request.steps,
        sampler=request.sampler,
        guidance=repr(request.strategy),
        plan=None if plan is None else plan.name,
        timed=None if request.timed is None else str(request.timed[k]),
        prior_seed=None if prior_seed is None else prior_seed + k,
        kept=kept,
    )
    return {KEY: provenance}
