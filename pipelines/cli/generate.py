"""``duet generate``: prompts to clips."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.files import check_output_path

if TYPE_CHECKING:
    from ..bench.readings import Probes
    from ..core.sizes import ClipShape
    from ..core.streams import Clip
    from ..core.timeline import Timeline
    from ..media.footage import Footage
    from ..models.pocket.generate import Request
    from ..models.pocket.load import PocketModel
    from ..models.pocket.text import WordTokenizer

GUIDANCE_FORMS = ("cfg", "U1", "U2", "U2'", "U3", "U5")
LABEL = "AI generated"
EXAMPLE = "a small red ball bounces slowly on the left at night"


def add(parser: argparse.ArgumentParser) -> None:
    _add_words(parser)
    _add_conditions(parser)
    _add_outputs(parser)
    parser.set_defaults(command=run)


def _add_words(parser: argparse.ArgumentParser) -> None:
    add_sampling(parser)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="takes of each prompt (default 1)")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="a text file with one prompt a line, instead of PROMPT"
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """What one prompt is made with."""
    parser.add_argument("prompt", nargs="?", default="", help=f"what is seen and heard, e.g. '{EXAMPLE}'")
    parser.add_argument("--audio-prompt", help="words for the sound alone (default: the prompt)")
    parser.add_argument("--negative", default="", help="what to steer away from (default: nothing)")
    parser.add_argument("--seed", type=int, default=0, help="take k of a run uses seed + k (default 0)")
    parser.add_argument("--steps", type=int, default=25, help="sampling steps (default 25)")
    parser.add_argument(
        "--form",
        choices=GUIDANCE_FORMS,
        default="U2'",
        help="how words and the other stream guide together: plain cfg, or a form of UCG (default U2'; see README)",
    )
    parser.add_argument("--cfg", type=float, default=2.0, metavar="S", help="scale of the words; 1 is off (default 2)")
    parser.add_argument(
        "--context",
        type=float,
        default=5.0,
        metavar="S",
        help="scale of the other stream in U2, U2', U3, U5 (default 5)",
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of the clip; the pocket model was trained on 2 s (default 2)"
    )


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prior-seed",
        type=int,
        metavar="N",
        help="lay the clip out by a draw of the prior (default: no prior); take k uses N + k",
    )
    parser.add_argument(
        "--prior-temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="how freely the prior is drawn; 0 is its mean (default 1)",
    )
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="a timeline to keep to, as 'duet plan' writes it (default: no plan)"
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--video", type=Path, metavar="FILE", help="make the sound for this picture")
    kept.add_argument(
        "--audio", type=Path, metavar="FILE", help="make the picture for this sound, which is kept as it is"
    )
    kept.add_argument("--image", type=Path, metavar="FILE", help="begin with this picture")
    parser.add_argument(
        "--adapter",
        action="store_true",
        help="with --video or --audio: what both share passes through SAVA's masked adapter, the rest does not, in place of the "
        "model's own route",
    )
    parser.add_argument(
        "--start",
        type=float,
        default=0.0,
        metavar="S",
        help="where in --video or --audio to begin, in seconds (default 0)",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="take footage that does not look like the pocket world, whatever comes of it",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watermark",
        nargs="?",
        const=LABEL,
        default="",
        metavar="TEXT",
        help=f"show TEXT in the corner of the picture (without TEXT: '{LABEL}'; default: no label)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="the mp4; several clips are numbered, out-0.mp4, out-1.mp4, ...",
    )
    parser.add_argument(
        "--timeline", type=Path, metavar="PNG", help="also draw frames, spectrogram and detected events on one axis"
    )


def run(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.batch <= 256:
        raise ValueError(f"--batch is {arguments.batch}; it must be from 1 to 256.")
    if arguments.adapter and not (arguments.video or arguments.audio):
        raise ValueError("--adapter carries a given stream to the other one. Give --video or --audio too.")
    prompts = _prompts(arguments)
    outputs = [check_output_path(path, suffix=".mp4") for path in _numbered(arguments.output, len(prompts))]
    timelines = (
        [check_output_path(path, suffix=".png") for path in _numbered(arguments.timeline, len(prompts))]
        if arguments.timeline
        else []
    )

    from tqdm import tqdm

    from ..bench.readings import Probes
    from ..core.conditions import A2V, V2A
    from ..core.saved_plan import read_timeline
    from ..media.mp4 import upscale, write_mp4
    from ..media.watermark import add_label
    from ..models.pocket.footage import encode_footage
    from ..models.pocket.generate import generate
    from ..models.pocket.load import PocketModel

    timeline = None if arguments.plan is None else read_timeline(arguments.plan)
    request = request_of(arguments, prompts)
    footage = _footage(arguments, request.shape)
    model, probes = PocketModel.load(), Probes.load()
    report_unknown(model.text.tokenizer, [*prompts, *(request.audio or ()), arguments.negative])
    if timeline is not None:
        request = _planned(model, request, timeline)
    if arguments.prior_seed is not None:
        request = _laid_out(model, request, arguments.prior_seed, arguments.prior_temperature)
    if footage is not None:
        keep = encode_footage(model, footage, request.shape, len(prompts), anyway=arguments.anyway)
        request = replace(request, keep=keep)
    if arguments.adapter:
        model, request = _through_adapter(model, request, V2A if arguments.video else A2V)
    batch = 16
    with tqdm(total=arguments.steps * -(-len(prompts) // batch), desc="sample", unit="step") as bar:
        clips = generate(model, request, batch=batch, on_step=bar.update)
    for k, (clip, output) in enumerate(zip(tqdm(clips, desc="write", unit="clip"), outputs, strict=True)):
        kept = next((path.name for path in (arguments.video, arguments.audio, arguments.image) if path), None)
        made = provenance_of(arguments, request, k, plan=arguments.plan, prior_seed=arguments.prior_seed, kept=kept)
        score = _draw(clip, timelines[k] if timelines else None, request, k, probes, made)
        clip = footage.over(clip) if footage else clip
        frames = add_label(upscale(clip.frames), arguments.watermark)
        write_mp4(output, replace(clip, frames=frames), metadata=made)
        print(f"{output}: {score}" + (f"; {timelines[k]}" if timelines else ""))


def request_of(arguments: argparse.Namespace, prompts: list[str]) -> Request:
    """What the options ask for, without what needs a model."""
    from ..core.sizes import ClipShape
    from ..guidance.strategy import UCG, PerStreamCFG
    from ..models.pocket.generate import Request

    text, context = arguments.cfg, arguments.context
    plain = arguments.form == "cfg"
    return Request(
        prompts,
        audio=None if arguments.audio_prompt is None else [arguments.audio_prompt] * len(prompts),
        negative=arguments.negative,
        seed=arguments.seed,
        steps=arguments.steps,
        strategy=PerStreamCFG(text, text) if plain else UCG(arguments.form, text, text, context, context),
        shape=ClipShape(seconds=arguments.seconds),
    )


def _prompts(arguments: argparse.Namespace) -> list[str]:
    if arguments.prompts is None:
        return [arguments.prompt] * arguments.batch
    if arguments.prompt:
        raise ValueError("Both a prompt and --prompts were given; use one of them.")
    try:
        lines = [line.strip() for line in arguments.prompts.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{arguments.prompts} is not a text file in UTF-8: {error}.") from error
    prompts = [line for line in lines if line]
    if not prompts:
        raise ValueError(f"{arguments.prompts} holds no prompt; write one on each line.")
    return [prompt for prompt in prompts for _ in range(arguments.batch)]


def _numbered(path: Path, count: int) -> list[Path]:
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{k}") for k in range(count)]


def _planned(model: PocketModel, request: Request, timeline: Timeline) -> Request:
    """``request`` with a plan for each prompt, and the layers that read it in ``model``."""
    from ..models.planner.load import load_planner, with_plan_layers
    from ..models.planner.request import plan_request

    planner = load_planner()
    if request.shape.seconds != planner.config.seconds:
        raise ValueError(
            f"--seconds is {request.shape.seconds:g}; the planner knows clips of {planner.config.seconds:g} s alone."
        )
    with_plan_layers(model.network)
    return replace(request, plan=plan_request(planner, request.prompts, request.audio, timeline))


def _laid_out(model: PocketModel, request: Request, seed: int, temperature: float) -> Request:
    """``request`` with a draw of the prior for each prompt, and the layers that read it in ``model``."""
    from ..core.conditions import batch_prior
    from ..models.prior.load import load_prior_net, with_prior_layers

    if not 0 <= temperature <= 10:
        raise ValueError(f"--prior-temperature is {temperature}; it must be from 0 to 10.")
    if seed < 0:
        raise ValueError(f"--prior-seed is {seed}; it must be at least 0.")
    net = load_prior_net()
    if request.shape.seconds != net.config.clip.seconds:
        raise ValueError(
            f"--seconds is {request.shape.seconds:g}; the prior knows clips of {net.config.clip.seconds:g} s alone."
        )
    with_prior_layers(model.network)
    draws = [net.sample([p], seed=seed + k, temperature=temperature) for k, p in enumerate(request.prompts)]
    return replace(request, prior=batch_prior(draws))


def _through_adapter(model: PocketModel, request: Request, way: str) -> tuple[PocketModel, Request]:
    """``request`` with what the adapter lets through of the given stream, and a model that reads it."""
    from ..core.conditions import SOURCES
    from ..models.adapter.condition import condition
    from ..models.adapter.load import load_adapter, with_adapter

    assert request.keep is not None
    source = SOURCES[way]
    given = condition(load_adapter(), request.keep.latents.only(source), way)
    return replace(model, network=with_adapter(model.network)), replace(request, adapter=given.streams)


def report_unknown(tokenizer: WordTokenizer, texts: Sequence[str]) -> None:
    """Refuse texts that cannot be encoded, then name the words that are not known."""
    for text in texts:
        tokenizer.encode(text)
    words = dict.fromkeys(str(word) for text in texts for word in tokenizer.unknown(text))
    if words:
        print(f"duet: unknown words, read as 'something': {'; '.join(words)}", file=sys.stderr)


def _footage(arguments: argparse.Namespace, shape: ClipShape) -> Footage | None:
    """What the clips begin with."""
    from ..core.keep import AUDIO, FIRST, VIDEO
    from ..media.footage import read_footage

    for keep, path in ((VIDEO, arguments.video), (AUDIO, arguments.audio), (FIRST, arguments.image)):
        if path is not None:
            return read_footage(path, keep, shape, start=arguments.start)
    return None


def provenance_of(
    arguments: argparse.Namespace,
    request: Request,
    k: int,
    *,
    plan: Path | None = None,
    prior_seed: int | None = None,
    kept: str | None = None,
) -> dict[str, object]:
    """What clip ``k`` carries in its file."""
    from ..core.weights import KEY
    from ..models.pocket.provenance import pocket_provenance

    add_ons = ["pocket-plan", "pocket-planner"] if request.plan is not None else []
    add_ons += ["pocket-prior", "pocket-prior-layers"] if request.prior is not None else []
    add_ons += ["pocket-adapter", "pocket-adapter-v2a", "pocket-adapter-a2v"] if request.adapter is not None else []
    made = pocket_provenance(
        prompts=[request.prompts[k], *((request.audio or [])[k : k + 1])],
        seed=request.seed + k,
        add_ons=add_ons,
        negative=request.negative or None,
        steps=request.steps,
        guidance=repr(request.strategy),
        plan=None if plan is None else plan.name,
        prior_seed=None if prior_seed is None else prior_seed + k,
        kept=kept,
    )
    return {KEY: made}


def _draw(clip: Clip, timeline: Path | None, request: Request, k: int, probes: Probes, made: dict[str, object]) -> str:
    """What was measured of clip ``k`` of ``request``, drawn if it is asked for."""
    from ..bench.readings import reading_of
    from ..figures.canvas import write_png
    from ..figures.timeline import draw_timeline

    heard, seen, score = reading_of(clip, probes)
    if timeline:
        title = f"{request.prompts[k]}  (seed {request.seed + k})"
        write_png(timeline, draw_timeline(clip, heard, seen, title=title, score=score), metadata=made)
    return score
