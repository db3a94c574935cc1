"""Batches of clips for ``duet generate``, as files that the command then writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..bench.readings import Probes, read_events
from ..bench.takes import fingerprint
from ..cluster.identity import pack_digest
from ..core.conditions import A2V, SOURCES, V2A, batch_prior
from ..core.documents import printable
from ..core.files import write_bytes
from ..core.streams import Clip
from ..core.timeline import Timeline
from ..core.weights import KEY
from ..media.footage import Footage
from ..media.mp4 import check_finite, write_mp4
from ..media.provenance import read_provenance
from ..models.choose import with_condition
from ..models.pocket.footage import encode_footage
from ..models.pocket.generate import Request, generate
from ..models.pocket.load import PocketModel
from .generate import provenance_of
from .worker import Worker

REQUEST = "request"  # entry of the metadata: the hash of everything that decides a clip of a list of prompts
# Options that say where clips are computed and written, or that are hashed by their contents.
NO_MATTER = ("command", "name", "prompt", "prompts", "batch", "output", "timeline", "jobs", "cluster")


@dataclass(frozen=True)
class Made:
    """The files of a clip, and its synchrony as a text."""

    video: bytes
    plot: bytes | None
    score: str

    def write(self, output: Path, plot: Path | None) -> str:
        """Write the files; a line that reports them. The plot comes first, so that a clip that has a file is complete."""
        if plot and self.plot:
            write_bytes(plot, self.plot)
        write_bytes(output, self.video)
        return printable(f"{output}: {self.score}" + (f"; {plot}" if plot else ""))


@dataclass(frozen=True, eq=False)
class Batches(Worker):
    """Generates the clips of a request, a range of them at once, with the conditions of the options."""

    timeline: Timeline | None
    footage: Footage | None

    def __call__(self, clips: range, *, on_step: Callable[[], object] | None = None) -> list[Made]:
        """The clips with these numbers."""
        request, first, rows = self.request, clips.start, slice(clips.start, clips.stop)
        audio = None if request.audio is None else request.audio[rows]
        timed = None if request.timed is None else request.timed[rows]
        part = replace(request, prompts=request.prompts[rows], audio=audio, timed=timed, seed=request.seed + first)
        model, part = self._with_conditions(part, first)
        made = generate(model, part, batch=len(clips), on_step=on_step)
        return [self._made(model, part, first, k, clip) for k, clip in enumerate(made)]

    def _made(self, model: PocketModel, request: Request, first: int, k: int, clip: Clip) -> Made:
        """The files of clip ``k`` of the batch that begins with clip ``first``."""
        check_finite(clip)
        options = self.arguments
        kept = next((path.name for path in (options.video, options.audio, options.image) if path), None)
        prior_seed = None if options.prior_seed is None else options.prior_seed + first
        metadata = provenance_of(model, request, k, plan=options.plan, prior_seed=prior_seed, kept=kept)
        if options.prompts:
            metadata[KEY][REQUEST] = self.address(first + k)
        with TemporaryDirectory() as folder:
            video, plot = Path(folder) / "clip.mp4", Path(folder) / "clip.png" if options.timeline else None
            score = _measure(clip, plot, request, k, self.probes, metadata)
            clip = self.footage.over(clip) if self.footage else clip
            write_mp4(video, clip, metadata=metadata, label=options.watermark)
            return Made(video.read_bytes(), plot.read_bytes() if plot else None, score)

    def address(self, k: int) -> str:
        """The hash of everything that decides clip ``k``: code, weights, options, contents of files, prompt."""
        options = {name: value for name, value in vars(self.arguments).items() if name not in NO_MATTER}
        kept = [] if self.footage is None else [self.footage.frames, self.footage.waveform]
        timed = None if self.plain.timed is None else repr(self.plain.timed[k])
        tensors = [tensor for tensor in kept if tensor is not None]
        return fingerprint(pack_digest(), options, k, self.plain.prompts[k], repr(self.timeline), timed, *tensors)

    def is_written(self, clips: range, outputs: Sequence[Path], plots: Sequence[Path]) -> bool:
        """Whether an earlier run with a file of prompts wrote every clip of this batch."""
        return bool(self.arguments.prompts) and all(
            _address_in(outputs[k]) == self.address(k) and (not plots or plots[k].is_file()) for k in clips
        )

    def _with_conditions(self, request: Request, first: int) -> tuple[PocketModel, Request]:
        """``request``, whose first clip is clip ``first`` of the call, with the plan, prior, kept footage and adapter of the options, and
        a model with the layers that read them."""
        model, options = self.model, self.arguments
        if self.timeline is not None:
            model, request = _with_plan(model, request, self.timeline)
        if options.prior_seed is not None:
            model, request = _with_prior(model, request, options.prior_seed + first, options.prior_temperature)
        if self.footage is not None:
            keep = encode_footage(model, self.footage, request.shape, len(request.prompts), skip_check=options.anyway)
            request = replace(request, keep=keep)
        if options.adapter:
            model, request = _with_adapter(model, request, V2A if options.video else A2V)
        return model, request


def _address_in(path: Path) -> str | None:
    """The hash of the request in a clip's metadata."""
    try:
        about = read_provenance(path).get(KEY) if path.is_file() else None
    except ValueError:  # another file, which is replaced
        return None
    return about.get(REQUEST) if isinstance(about, dict) else None


def _with_plan(model: PocketModel, request: Request, timeline: Timeline) -> tuple[PocketModel, Request]:
    """``request`` with a plan for each prompt, and a model with plan layers."""
    from ..models.planner.load import load_planner
    from ..models.planner.request import plan_request

    planner = load_planner()
    if request.shape.seconds != planner.config.seconds:
        raise ValueError(
            f"--seconds is {request.shape.seconds:g}; the planner only supports clips of {planner.config.seconds:g} s."
        )
    plan = plan_request(planner, request.prompts, request.audio, timeline)
    return with_condition(model, "plan"), replace(request, plan=plan)


def _with_prior(model: PocketModel, request: Request, seed: int, temperature: float) -> tuple[PocketModel, Request]:
    """``request`` with a sample of the prior for each prompt, and a model with prior layers."""
    from ..models.prior.load import load_prior_net

    net = load_prior_net()
    if request.shape.seconds != net.config.clip.seconds:
        raise ValueError(
            f"--seconds is {request.shape.seconds:g}; the prior only supports clips of {net.config.clip.seconds:g} s."
        )
    draws = [net.sample([p], seed=seed + k, temperature=temperature) for k, p in enumerate(request.prompts)]
    return with_condition(model, "prior"), replace(request, prior=batch_prior(draws))


def _with_adapter(model: PocketModel, request: Request, way: str) -> tuple[PocketModel, Request]:
    """``request`` with the adapter's tokens of the kept stream, and a model with adapter layers."""
    from ..models.adapter.condition import condition
    from ..models.adapter.load import load_adapter

    assert request.keep is not None
    source = SOURCES[way]
    tokens = condition(load_adapter(), request.keep.latents.only(source), way).streams
    return with_condition(model, "adapter"), replace(request, adapter=tokens)


def _measure(
    clip: Clip, timeline: Path | None, request: Request, k: int, probes: Probes, metadata: dict[str, Any]
) -> str:
    """The synchrony of clip ``k`` as a text; also writes the timeline plot if it has a path."""
    heard, seen, score = read_events(clip, probes)
    if timeline:
        from ..figures.canvas import write_png
        from ..figures.timeline import draw_timeline

        title = f"{request.prompts[k]}  (seed {request.seed + k})"
        write_png(timeline, draw_timeline(clip, heard, seen, title=title, score=score), metadata=metadata)
    return score
