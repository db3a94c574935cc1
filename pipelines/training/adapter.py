"""Training of SAVA's adapter. First stage: projections, masks and predictors, which reconstruct each stream from the masked tokens of
the other. Second stage: layers that read the masked tokens together with the text, distilled from the base's cross-modal attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.conditions import SOURCES, WAYS, PlacedTokens
from ..core.streams import Streams
from ..core.weights import save_weights, to_half
from ..models.adapter.condition import condition
from ..models.adapter.gates import GATES, OPEN_LOGIT, bounded_mask, support
from ..models.adapter.net import MaskedAdapter
from ..models.addons.adapter import AdapterLayers
from ..models.pocket.audio_codec import AudioCodec
from ..models.pocket.lora import add_lora, lora_tensors
from ..models.pocket.video_codec import VideoCodec
from .add_on import AddOnObjective, AddOnStage, DistilledObjective
from .data import LatentCache
from .flow import Recipe

FREE, WARMUP = 0.4, 0.2  # share of the steps without a price, then share of the steps over which it rises
MASKS_SLOWER = {"mask": 0.25}  # factor on the masks' learning rate, so that the predictors can follow the masks
STILL = 0.1  # share of the mean variance that is added to the variance of each clip, so that static clips do not divide by zero
RANK = 16  # of LoRA
UNMASKED = (
    0.25  # share of the clips whose masks are opened, from which the predictors of a whole stream (P_theta) learn
)
READ_BATCH = 256  # clips whose tokens are computed at once


@dataclass(frozen=True)
class Price:
    """Weights in the loss: lambda of the mean of the video and the audio mask, and alpha of the alignment."""

    video: float = 0.8
    audio: float = 0.1
    alpha: float = 0.1


@dataclass(frozen=True)
class AdapterBatch:
    """Latents of clips, the noise of both gates, random masks, and which clips are not masked, [b]."""

    latents: Streams[Tensor]
    noise: Streams[Tensor]
    random: Streams[Tensor]
    unmasked: Tensor


class AdapterObjective(nn.Module):
    """The loss l_A(x_a, g_A(M_V z_v)) + l_V(x_v, g_V(M_A z_a)) + alpha L_align + lambda_V |M_V| + lambda_A |M_A|.

    Errors are measured after the frozen decoders, as shares of each clip's variance; norms are means. Only changes over a clip are
    predicted (see ``MaskNet``). The lambdas rise from zero between the two steps ``rise``: a mask that closes before the predictors
    can use it would never open again. Before that the masks are random: predictors that have not seen the gate's noise would make the
    masks open too far to close again.
    """

    step: Tensor

    def __init__(
        self, net: MaskedAdapter, codecs: tuple[VideoCodec, AudioCodec], price: Price, *, rise: tuple[int, int]
    ) -> None:
        super().__init__()
        self.net, self.price, self.rise = net, price, rise
        self.register_buffer("step", torch.zeros(()))
        self.video_codec, self.audio_codec = (codec.requires_grad_(False) for codec in codecs)

    def forward(self, batch: AdapterBatch) -> dict[str, Tensor]:
        net = self.net
        if self.training:
            self.step += 1
        z = net.tokens(batch.latents)
        masks = net.masks(z)
        gate, opened = GATES[net.config.gate], batch.unmasked[:, None, None]
        used = masks.map(lambda m, r: torch.where(self.step > self.rise[0], m, r), batch.random)
        passed = z.map(lambda own, m, n: torch.where(opened, own, gate(own, m, n)), used, batch.noise)
        errors, align = self.errors(passed, batch.latents), self._distance(z)
        opens = {f"open_{name}": mask.mean() for name, mask in vars(masks).items()}
        penalty = self.price.video * opens["open_video"] + self.price.audio * opens["open_audio"]
        start, end = self.rise
        warmup = ((self.step - start) / (end - start)).clamp(0, 1)
        loss = errors["video"] + errors["audio"] + self.price.alpha * align + warmup * penalty
        return {"loss": loss, **{k: v.detach() for k, v in (errors | {"align": align} | opens).items()}}

    def errors(self, passed: Streams[Tensor], truth: Streams[Tensor]) -> dict[str, Tensor]:
        """The error of each stream predicted from the masked tokens of the other one."""
        video, audio = passed.both()
        predicted = {"video": self.net.predict_stream("video", audio), "audio": self.net.predict_stream("audio", video)}
        return {name: self.error(name, value, truth) for name, value in predicted.items()}

    def error(self, name: str, predicted: Tensor, truth: Streams[Tensor]) -> Tensor:
        """Squared error of a clip's changes after the frozen decoder, divided by the clip's variance (with ``STILL``), averaged over
        clips. Without the division small movements would not count: the skin of a drum moves a tenth as far as a ball."""
        decode = self._pixels if name == "video" else self._mel
        target = decode(vars(truth)[name])
        error, variance = (x.square().flatten(1).mean(1) for x in (decode(predicted.float()) - target, target))
        return (error / (variance + STILL * variance.mean())).mean()

    def _pixels(self, latent: Tensor) -> Tensor:
        pixels = cast(VideoCodec, self.video_codec).pca.decode(latent.movedim(1, -1))
        return pixels - pixels.mean(1, keepdim=True)

    def _mel(self, latent: Tensor) -> Tensor:
        mel = cast(AudioCodec, self.audio_codec).decode_mel(latent)
        return mel - mel.mean(-1, keepdim=True)

    @staticmethod
    def _distance(z: Streams[Tensor]) -> Tensor:
        """Normalised squared distance of the unmasked streams at each latent frame (L_align)."""
        video, audio = z.both()
        frames = video.unflatten(1, (audio.shape[1], -1)).mean(2)
        return (F.normalize(frames, dim=-1) - F.normalize(audio, dim=-1)).square().sum(-1).mean()


@torch.inference_mode()
def sufficiency(
    net: MaskedAdapter, codecs: tuple[VideoCodec, AudioCodec], latents: Streams[Tensor]
) -> dict[str, float]:
    """The error of each stream predicted from the hard-masked tokens of the other one, divided by the error from all tokens
    ('sufficiency_video': video from audio); the latter errors; and the shares of channels that stay open ('support')."""
    objective = AdapterObjective(net, codecs, Price(), rise=(0, 1)).eval()
    z = net.tokens(latents)
    masks = net.masks(z)

    inputs = z.map(lambda own, m: own * support(m), masks), z
    masked, unmasked = ({k: float(v) for k, v in objective.errors(p, latents).items()} for p in inputs)
    found = {f"error_{name}": value for name, value in unmasked.items()}
    found |= {f"sufficiency_{name}": masked[name] / unmasked[name] for name in unmasked}
    return found | {f"support_{name}": float(support(m).mean()) for name, m in vars(masks).items()}


class AdapterStage:
    """The first stage, scored by ``judge``."""

    name = "adapter"

    def __init__(
        self,
        latents: LatentCache,
        net: MaskedAdapter,
        codecs: tuple[VideoCodec, AudioCodec],
        path: Path,
        *,
        price: Price,
        steps: int,
        judge: Callable[[MaskedAdapter], dict[str, float]],
    ) -> None:
        self.latents, self.path, self.judge = latents, path, judge
        self.objective = AdapterObjective(
            net, codecs, price, rise=(round(FREE * steps), round((FREE + WARMUP) * steps) + 1)
        )

    def batch(self, generator: torch.Generator, size: int) -> AdapterBatch:
        net = self.objective.net
        pick = torch.randint(len(self.latents.video), (size,), generator=generator)
        latents = Streams(self.latents.video[pick].float(), self.latents.audio[pick].float())
        tokens = Streams(*(len(p) for p in net.places.both()))
        noise = tokens.map(lambda n: torch.randn(size, n, net.config.dim, generator=generator))
        part = lambda *shape: OPEN_LOGIT * torch.randn(*shape, generator=generator)  # noqa: E731 - used twice
        random = tokens.map(lambda n: bounded_mask(part(size, n, 1) + part(size, 1, net.config.dim)))
        unmasked = torch.rand(size, generator=generator) < UNMASKED
        return AdapterBatch(latents, noise, random, unmasked)

    def score(self) -> dict[str, float]:
        return self.judge(self.objective.net)

    def save(self, record: dict[str, Any]) -> list[Path]:
        net = self.objective.net
        record = {**record, "clips": len(self.latents.video), "price": vars(self.objective.price)}
        save_weights(self.path, to_half(net), kind="pocket-adapter", config=vars(net.config), record=record)
        return [self.path]


class AdapterLayersStage(AddOnStage):
    """The second stage: phi and LoRA of one direction. Only one stream is trained; of the other it sees the tokens of the frozen adapter,
    computed as in generation, where the masks read a prediction of the trained stream."""

    objective: AddOnObjective

    def __init__(
        self, cache: LatentCache, net: MaskedAdapter, layers: AdapterLayers, *parts: Any, **settings: Any
    ) -> None:
        way = layers.config.way
        distilled = partial(DistilledObjective, stream=WAYS[way])
        super().__init__(
            f"adapter-{way}", cache, layers, *parts, recipe=Recipe({way: 1.0}), make_objective=distilled, **settings
        )
        add_lora(self.objective.flow.network, (WAYS[way],), rank=layers.config.rank)
        self.way = way
        self.adapter_tokens = self._tokens(net.eval())

    def _tokens(self, net: MaskedAdapter) -> PlacedTokens:
        """The adapter tokens of every clip, in float16."""
        source, found = SOURCES[self.way], list[PlacedTokens]()
        for start in range(0, len(self.latents.video), READ_BATCH):
            rows = slice(start, start + READ_BATCH)
            present = Streams(self.latents.video[rows], self.latents.audio[rows]).only(source).map(Tensor.float)
            found.append(condition(net, present, self.way).tokens)
        return PlacedTokens(torch.cat([t.tokens.half() for t in found]), found[0].places)

    def condition(self, pick: Tensor, shown: Tensor, generator: torch.Generator) -> PlacedTokens:
        return PlacedTokens(self.adapter_tokens.tokens[pick].float(), self.adapter_tokens.places, shown)

    def tensors(self) -> dict[str, Tensor]:
        network = self.objective.flow.network
        return super().tensors() | {k: v.half() for k, v in lora_tensors(network, (WAYS[self.way],)).items()}
