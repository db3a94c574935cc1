"""What prior tokens encode: whether they identify their clip, where and when events happen in it, and how samples vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from statistics import pstdev

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..core.sizes import ClipShape
from ..core.streams import Streams
from ..core.timeline import PLACES
from ..models.pocket.codecs import SoundCodec
from ..models.prior.clip import BINS
from ..models.prior.net import PriorNet
from ..sync.events import Events, f1, pick_peaks
from ..world import Scene, asynchronous, caption, render_sound
from ..world.scene import ONSET_MARGIN, event_times

DRAWS = 16  # samples of the prior for each prompt
PROBE_STEPS, PROBE_DECAY = 100, 0.002  # L-BFGS iterations and weight decay of the linear probe
NEGATIVES = 3  # mismatched audio tracks for each clip


def mismatched_audio(scenes: Sequence[Scene], codec: SoundCodec) -> Float[Tensor, "n negatives c t"]:
    """Latents of ``NEGATIVES`` audio tracks for each scene whose events do not match its video."""
    shape, latents = ClipShape(seconds=scenes[0].seconds), []
    for k in range(NEGATIVES):
        wrong = [asynchronous(s, Random(f"duet asynchronous 1/{s.seed}/{s.index}/{k}")) for s in scenes]
        latents.append(codec.encode(render_sound(wrong, samples=shape.samples, sample_rate=shape.sample_rate)))
    return torch.stack(latents, dim=1)


@torch.enable_grad()
def linear_probe(
    tokens: Float[Tensor, "b n k"], layouts: Float[Tensor, "b places bins"], *, others: Float[Tensor, "m n k"]
) -> Float[Tensor, "m places bins"]:
    """Layouts that a linear layer, fitted to ``tokens`` and ``layouts``, predicts for ``others``: logistic regression with weight
    decay (L-BFGS), the usual test of the information in a representation."""
    inside, mean, deviation = tokens.flatten(1), tokens.flatten(1).mean(0), tokens.flatten(1).std(0).clamp_min(1e-4)
    layer = nn.Linear(inside.shape[1], layouts[0].numel())
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=PROBE_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        predicted = layer((inside - mean) / deviation)
        wrong = F.binary_cross_entropy_with_logits(predicted, layouts.flatten(1), reduction="sum") / len(inside)
        wrong = wrong + PROBE_DECAY * layer.weight.square().sum()
        wrong.backward()
        return wrong

    optimizer.step(loss)
    with torch.no_grad():
        return layer((others.flatten(1) - mean) / deviation).sigmoid().unflatten(1, layouts.shape[1:])


def layout_of(scene: Scene) -> Float[Tensor, "places bins"]:
    """Where and when something is heard in ``scene``: 1 in the bin of each audible event."""
    out = torch.zeros(len(PLACES), round(scene.seconds * BINS))
    for subject in scene.subjects:
        for time in subject.times if subject.heard else ():
            out[PLACES.index(subject.place), int(time * BINS)] = 1
    return out


def layout_events(layout: Float[Tensor, "places bins"]) -> Events:
    """Event times by place, from the peaks of a predicted layout."""
    return pick_peaks(layout, rate=float(BINS), names=PLACES)


def layout_truth(scene: Scene) -> Events:
    """True times of the audible events of ``scene``, by place."""
    found: dict[str, list[float]] = {}
    for subject in scene.subjects:
        if subject.heard:
            found.setdefault(subject.place, []).extend(subject.times)
    return {place: tuple(sorted(times)) for place, times in found.items()}


@torch.inference_mode()
def knowledge(
    net: PriorNet, scenes: Sequence[Scene], latents: Streams[Tensor], others: Float[Tensor, "n m c t"]
) -> list[dict[str, float]]:
    """For each clip: 'rank_1', 1 if its tokens match it better than the same video with each audio track in ``others``;
    'text_rank_1', 1 if it is more likely than those under the Gaussian predicted from its caption; 'layout_f1', F1 of the event times
    and places that the decoder reads from its tokens."""
    variants = [latents.audio, *others.unbind(1)]
    states = [net.encoder.states(Streams(latents.video, audio)) for audio in variants]
    own = net.encoder.moments(states[0])[0]
    fits = torch.stack([(net.critic(own, net.encoder.keys(s))).diagonal() for s in states])
    mean, log_variance = net.estimator.moments(net.ids([caption(scene) for scene in scenes]))
    tokens = [net.encoder.moments(s)[0] for s in states]
    likely = torch.stack([-((z - mean).square() / log_variance.exp()).sum((1, 2)) for z in tokens])
    layouts = net.layout(own)
    return [
        {
            "rank_1": float(fits[:, i].argmax() == 0),
            "text_rank_1": float(likely[:, i].argmax() == 0),
            "layout_f1": f1(layout_events(layouts[i]), layout_truth(scene)),
        }
        for i, scene in enumerate(scenes)
    ]


def spread(net: PriorNet, scene: Scene) -> dict[str, float]:
    """Standard deviation of the time of the first event, in seconds: 'draws_s' over samples of the prior for the scene's caption,
    'world_s' over scenes of the world with that caption."""
    prior = net.sample([caption(scene)] * DRAWS, seed=scene.index)
    events = (layout_events(layout) for layout in net.layout(prior.all_tokens))
    firsts = [min(t for times in found.values() for t in times) for found in events if found]
    rng = Random(f"duet spread 1/{scene.seed}/{scene.index}")
    heard = [s for s in scene.subjects if s.heard and s.times]
    drawn = [replace(s, times=event_times(rng, s.tempo, scene.seconds)) for _ in range(DRAWS) for s in heard]
    true = [min(s.times, default=ONSET_MARGIN) for s in drawn]
    out = {"world_s": pstdev(true)} if len(true) > 1 else {}
    return out | ({"draws_s": pstdev(firsts)} if len(firsts) > 1 else {})
