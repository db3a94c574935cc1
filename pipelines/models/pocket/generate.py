"""From prompts to clips without ComfyUI: encode, sample, decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...core.conditions import AdapterStreams, BatchPrior, Conditions, PlanStreams, select_rows
from ...core.keep import KeepMask
from ...core.sizes import ClipShape
from ...core.streams import Clip, Latents, Streams
from ...core.timed_events import TimedEvents
from ...guidance.sampling import SAMPLERS, SHIFT, Progress, flow_sigmas, initial_noise, keep_clean
from ...guidance.strategy import Strategy, default_strategy, guided
from ..backbone import Backbone, BackboneConfig
from .denoiser import PocketDenoiser
from .load import PocketModel
from .text import TextEncoder
from .timed import TimedInputs, pocket_edges, timed_inputs

DEFAULT_STEPS, DEFAULT_SAMPLER = 8, "multistep"  # chosen by ``duet bench few-steps``


@dataclass(frozen=True)
class Request:
    """What to generate: one clip for each prompt, clip k with ``seed + k``. If ``audio`` is None, the prompts also describe the audio.
    ``plan``, ``prior`` and ``adapter`` require a network with the layers for them (``with_condition``). ``keep`` holds the latent frames
    that are kept unchanged. Prompts are read as captions of the world (see ``reading``) unless they are encoded ``as_written``, as negative
    prompts always are. ``timed``: the timed events of each prompt, with ``soft`` edges in seconds; an event names a subject of its prompt
    (see ``timed``). Without a ``strategy``, that of ``default_strategy`` is used."""

    prompts: Sequence[str]
    audio: Sequence[str] | None = None
    negative: str = ""
    seed: int = 0
    steps: int = DEFAULT_STEPS
    sampler: str = DEFAULT_SAMPLER
    shift: float = SHIFT
    strategy: Strategy | None = None
    plan: PlanStreams | None = None
    prior: BatchPrior | None = None
    adapter: AdapterStreams | None = None
    keep: KeepMask | None = None
    shape: ClipShape = field(default_factory=ClipShape)
    as_written: bool = False
    timed: Sequence[TimedEvents] | None = None
    soft: float = 0.0

    def __post_init__(self) -> None:
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise ValueError(
                "The prompt is empty. Describe what should be seen and heard, e.g. 'a small red ball bounces slowly on the left at night'."
            )
        if self.audio is not None and len(self.audio) != len(self.prompts):
            raise ValueError(
                f"There are {len(self.audio)} audio prompts for {len(self.prompts)} prompts. Use one for each prompt, or none."
            )
        if self.timed is not None and len(self.timed) != len(self.prompts):
            raise ValueError(
                f"There are timed events for {len(self.timed)} of {len(self.prompts)} prompts. Give each its own."
            )
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler is {self.sampler!r}; it must be one of {', '.join(SAMPLERS)}.")
        flow_sigmas(self.steps, shift=self.shift)  # refuses an invalid number of steps
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 2^63 - 1.")


def check_clock(config: BackboneConfig, shape: ClipShape) -> None:
    """Refuse a frame rate or sample rate that the network was not trained on.

    Raises:
        ValueError: the rates of ``shape`` are not those of ``config``.
    """
    if (shape.fps, shape.sample_rate) != (config.fps, config.sample_rate):
        raise ValueError(
            f"The clip is at {shape.fps} fps and {shape.sample_rate} Hz; "
            f"this model generates {config.fps} fps and {config.sample_rate} Hz. Use these rates."
        )


def sample(network: Backbone, text: TextEncoder, request: Request, *, progress: Progress | None = None) -> Latents:
    """Latents of both streams: video [b, c, t, h, w] and audio [b, c, t]."""
    check_clock(network.config, request.shape)
    sigmas = flow_sigmas(request.steps, shift=request.shift)
    count = len(request.prompts)
    null = text.embed([request.negative] * count, as_written=True)
    read = _texts(network, text, request)
    noise = initial_noise(network.latent_sizes(request.shape), range(request.seed, request.seed + count))
    keep = request.keep
    denoise = guided(
        PocketDenoiser(
            network,
            read.states,
            read.states.map(lambda z: F.pad(null, (0, 0, 0, z.shape[1] - null.shape[1]))),
            conditions=Conditions(request.plan, request.prior, request.adapter or Streams()),
            regenerate=keep.regenerate if keep else Streams(),
            timed=read.shares,
            crosses=read.crosses if network.closes_routes else Streams(),
        ),
        request.strategy or default_strategy(trained_null=network.trained_null),
    )
    denoise = keep_clean(denoise, keep) if keep else denoise
    return SAMPLERS[request.sampler](denoise, noise, sigmas, progress=progress)


def _texts(network: Backbone, text: TextEncoder, request: Request) -> TimedInputs:
    """The text of each stream; without timed events it is read everywhere."""
    prompts = Streams(list(request.prompts), list(request.prompts if request.audio is None else request.audio))
    if request.timed is not None and any(events.events for events in request.timed):
        edges = pocket_edges(network.config, network.latent_sizes(request.shape).map(lambda size: size[1]))
        return timed_inputs(text, prompts, request.timed, edges, soft=request.soft)
    video = text.embed(prompts.both()[0], as_written=request.as_written)
    same = request.audio is None
    return TimedInputs(Streams(video, video if same else text.embed(prompts.both()[1], as_written=request.as_written)))


@torch.inference_mode()
def decode(model: PocketModel, latents: Latents, shape: ClipShape) -> list[Clip]:
    """One clip for each row of ``latents``; both streams have the length ``shape.duration``."""
    video, audio = latents.both()
    frames = model.video_codec.decode(video)
    return as_clips(frames, model.audio_codec.decode(audio, samples=shape.samples), shape)


def as_clips(
    frames: Float[Tensor, "b t 3 h w"], waveforms: Float[Tensor, "b channels samples"], shape: ClipShape
) -> list[Clip]:
    """Batched frames and waveforms as clips."""
    channels_last = frames.permute(0, 1, 3, 4, 2)
    return [Clip(f, float(shape.fps), w, shape.sample_rate) for f, w in zip(channels_last, waveforms, strict=True)]


def generate(
    model: PocketModel, request: Request, *, batch: int = 16, on_step: Callable[[], object] | None = None
) -> list[Clip]:
    """The clips of ``request``, sampled at most ``batch`` at once; ``on_step`` is called after every step."""
    progress = None if on_step is None else lambda _step, _x0: on_step()
    clips: list[Clip] = []
    for start in range(0, len(request.prompts), batch):
        rows = slice(start, start + batch)
        audio = None if request.audio is None else request.audio[rows]
        plan = None if request.plan is None else select_rows(request.plan, rows)
        prior = None if request.prior is None else request.prior.rows(rows)
        adapter = None if request.adapter is None else select_rows(request.adapter, rows)
        keep = None if request.keep is None else request.keep.rows(rows)
        timed = None if request.timed is None else request.timed[rows]
        own = {"audio": audio, "plan": plan, "prior": prior, "adapter": adapter, "keep": keep, "timed": timed}
        own["prompts"] = request.prompts[rows]
        part = replace(request, **own, seed=request.seed + start)
        clips += decode(model, sample(model.network, model.text, part, progress=progress), request.shape)
    return clips
