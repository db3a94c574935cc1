"""``duet generate``: generate clips from prompts."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.documents import printable
from .files import output_paths, prompts_of
from .options import add_conditions, add_outputs, add_words
from .request import for_model, report_prompts, request_of

if TYPE_CHECKING:
    from ..bench.readings import Probes
    from ..core.sizes import ClipShape
    from ..core.streams import Clip
    from ..core.timeline import Timeline
    from ..media.footage import Footage
    from ..models.pocket.generate import Request
    from ..models.pocket.load import PocketModel


BATCH = 16  # clips generated at once, and then written


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet generate``."""
    add_words(parser)
    add_conditions(parser)
    add_outputs(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Generate the clips and write them."""
    if arguments.adapter and not (arguments.video or arguments.audio):
        raise ValueError("--adapter conditions one stream on the other. Use it with --video or --audio.")
    prompts = prompts_of(arguments)
    outputs, timelines = output_paths(arguments, len(prompts))

    from tqdm import tqdm

    from ..bench.readings import Probes
    from ..core.saved_plan import read_timeline
    from ..models.choose import load_model
    from ..models.pocket.generate import generate

    timeline = None if arguments.plan is None else read_timeline(arguments.plan)
    request = request_of(arguments, prompts)
    footage = _footage(arguments, request.shape)
    model, probes = load_model(arguments.model), Probes.load()
    request = for_model(request, arguments, model)
    report_prompts(model.text.tokenizer, [*prompts, *(request.audio or ())], arguments.negative)
    with tqdm(total=arguments.steps * -(-len(prompts) // BATCH), desc="sample", unit="step") as bar:
        for first in range(0, len(prompts), BATCH):
            audio = None if request.audio is None else request.audio[first : first + BATCH]
            timed = None if request.timed is None else request.timed[first : first + BATCH]
            own = {"prompts": prompts[first : first + BATCH], "audio": audio, "timed": timed}
            part = replace(request, **own, seed=request.seed + first)
            extended, part = _with_conditions(arguments, model, part, timeline, footage, first=first)
            for k, clip in enumerate(generate(extended, part, batch=BATCH, on_step=bar.update)):
                plot = timelines[first + k] if timelines else None
                score = _write(
                    arguments,
                    extended,
                    part,
                    k,
                    clip,
                    outputs[first + k],
                    plot,
                    first=first,
                    footage=footage,
                    probes=probes,
                )
                bar.write(printable(f"{outputs[first + k]}: {score}" + (f"; {plot}" if plot else "")), file=sys.stdout)


def _write(
    arguments: argparse.Namespace,
    model: PocketModel,
    request: Request,
    k: int,
    clip: Clip,
    output: Path,
    plot: Path | None,
    *,
    first: int,
    footage: Footage | None,
    probes: Probes,
) -> str:
    """Write clip ``k`` of a batch of ``model`` that begins with clip ``first``, and its plot; its synchrony as a text."""
    from ..media.mp4 import check_finite, write_mp4

    check_finite(clip)
    kept = next((path.name for path in (arguments.video, arguments.audio, arguments.image) if path), None)
    prior_seed = None if arguments.prior_seed is None else arguments.prior_seed + first
    metadata = provenance_of(model, request, k, plan=arguments.plan, prior_seed=prior_seed, kept=kept)
    score = _measure(clip, plot, request, k, probes, metadata)
    clip = footage.over(clip) if footage else clip
    write_mp4(output, clip, metadata=metadata, label=arguments.watermark)
    return score


def _with_conditions(
    arguments: argparse.Namespace,
    model: PocketModel,
    request: Request,
    timeline: Timeline | None,
    footage: Footage | None,
    *,
    first: int,
) -> tuple[PocketModel, Request]:
    """``request``, whose first clip is clip ``first`` of the call, with the plan, prior, kept footage and adapter of the options, and a
    model with the layers that read them."""
    from ..core.conditions import A2V, V2A
    from ..models.pocket.footage import encode_footage

    if timeline is not None:
        model, request = _with_plan(model, request, timeline)
    if arguments.prior_seed is not None:
        model, request = _with_prior(model, request, arguments.prior_seed + first, arguments.prior_temperature)
    if footage is not None:
        keep = encode_footage(model, footage, request.shape, len(request.prompts), skip_check=arguments.anyway)
        request = replace(request, keep=keep)
    if arguments.adapter:
        model, request = _with_adapter(model, request, V2A if arguments.video else A2V)
    return model, request


def _with_plan(model: PocketModel, request: Request, timeline: Timeline) -> tuple[PocketModel, Request]:
    """``request`` with a plan for each prompt, and a model with plan layers."""
    from ..models.planner.load import load_planner
    from ..models.planner.request import plan_request
    from ..models.pocket.add_ons import with_add_on

    planner = load_planner()
    if request.shape.seconds != planner.config.seconds:
        raise ValueError(
            f"--seconds is {request.shape.seconds:g}; the planner only supports clips of {planner.config.seconds:g} s."
        )
    plan = plan_request(planner, request.prompts, request.audio, timeline)
    return replace(model, network=with_add_on(model.network, "plan")), replace(request, plan=plan)


def _with_prior(model: PocketModel, request: Request, seed: int, temperature: float) -> tuple[PocketModel, Request]:
    """``request`` with a sample of the prior for each prompt, and a model with prior layers."""
    from ..core.conditions import batch_prior
    from ..models.pocket.add_ons import with_add_on
    from ..models.prior.load import load_prior_net

    net = load_prior_net()
    if request.shape.seconds != net.config.clip.seconds:
        raise ValueError(
            f"--seconds is {request.shape.seconds:g}; the prior only supports clips of {net.config.clip.seconds:g} s."
        )
    draws = [net.sample([p], seed=seed + k, temperature=temperature) for k, p in enumerate(request.prompts)]
    return replace(model, network=with_add_on(model.network, "prior")), replace(request, prior=batch_prior(draws))


def _with_adapter(model: PocketModel, request: Request, way: str) -> tuple[PocketModel, Request]:
    """``request`` with the adapter's tokens of the kept stream, and a model with adapter layers."""
    from ..core.conditions import SOURCES
    from ..models.adapter.condition import condition
    from ..models.adapter.load import load_adapter
    from ..models.pocket.add_ons import with_add_on

    assert request.keep is not None
    source = SOURCES[way]
    tokens = condition(load_adapter(), request.keep.latents.only(source), way).streams
    return replace(model, network=with_add_on(model.network, "adapter")), replace(request, adapter=tokens)


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
) -> dict[str, object]:
    """The provenance metadata of clip ``k``."""
    from ..core.weights import KEY
    from ..models.pocket.load import CONDITION_FILES
    from ..models.pocket.provenance import pocket_provenance

    add_ons = [kind for name, kinds in CONDITION_FILES.items() if getattr(request, name) is not None for kind in kinds]
    provenance = pocket_provenance(
        model,
        prompts=[request.prompts[k], *((request.audio or [])[k : k + 1])],
        seed=request.seed + k,
        add_ons=add_ons,
        negative=request.negative or None,
        steps=request.steps,
        guidance=repr(request.strategy),
        plan=None if plan is None else plan.name,
        timed=None if request.timed is None else str(request.timed[k]),
        prior_seed=None if prior_seed is None else prior_seed + k,
        kept=kept,
    )
    return {KEY: provenance}


def _measure(
    clip: Clip, timeline: Path | None, request: Request, k: int, probes: Probes, metadata: dict[str, object]
) -> str:
    """The synchrony of clip ``k`` as a text; also writes the timeline plot if it has a path."""
    from ..bench.readings import read_events
    from ..figures.canvas import write_png
    from ..figures.timeline import draw_timeline

    heard, seen, score = read_events(clip, probes)
    if timeline:
        title = f"{request.prompts[k]}  (seed {request.seed + k})"
        write_png(timeline, draw_timeline(clip, heard, seen, title=title, score=score), metadata=metadata)
    return score
