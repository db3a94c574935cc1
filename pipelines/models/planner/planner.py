"""The VA-Planner: a language model that writes a timeline and has a placeholder for each planned token, and two towers that turn the
placeholders' states into planned tokens (Baton, arXiv 2605.25195, our reconstruction; the timeline is our addition).

A regression planner can only predict the mean of all possible outcomes. Therefore the model first samples *what happens when* with a
seed; given this, the regressed tokens are nearly determined.

Letters: b batch, l tokens, n planned tokens, c channels, d channels of a planned token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ....kernels.rotary import RotaryTable, rotary_table, rotate
from ...core.conditions import Plan
from ...core.schema import Count, Depth, Heads, Seconds, Width, Words, check_heads
from ...core.streams import Streams
from ...core.timeline import Timeline
from ..attention import ROTARY_POSITIONS_PER_SECOND, Attention
from .grid import CELLS, PlanGrid
from .language import END, HEAR, PAD, SEE, TIMELINE, PlanLanguage, check_temperature


@dataclass(frozen=True)
class PlannerConfig:
    """Sizes. ``video`` and ``audio`` are the channels of planned tokens."""

    words: Words
    kinds: Words
    keyframes: Count
    blocks: Count
    video: Width
    audio: Width
    seconds: Seconds = 2.0
    dim: Width = 160
    depth: Depth = 3
    heads: Heads = 4

    def __post_init__(self) -> None:
        check_heads(self.dim, self.heads)

    @property
    def grid(self) -> PlanGrid:
        return PlanGrid(self.keyframes, self.blocks)


class CrossTower(nn.Module):
    """One stream's tower: its queries read the states of its placeholders, then the other stream at the same times."""

    def __init__(self, dim: int, heads: int, tokens: int, out: int) -> None:
        super().__init__()
        shared = {"operations": nn}
        self.queries = nn.Parameter(torch.empty(tokens, dim))
        self.own = Attention(dim, heads, source_dim=dim, **shared)
        self.norm, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.other = Attention(dim, heads, source_dim=dim, **shared)
        self.semantic = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, out))
        nn.init.normal_(self.queries, std=0.02)

    def read_placeholders(self, states: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Attention of one query per token to this stream's placeholder states; the result is added to the states."""
        queries = self.queries.expand(len(states), -1, -1)
        return states + self.own(queries, states)

    def read_other(
        self, mine: Tensor, theirs: Tensor, rotary: tuple[RotaryTable, RotaryTable]
    ) -> Float[Tensor, "b n c"]:
        """Attention to the other stream with timestamp RoPE, so that tokens of equal times match."""
        layer = self.other
        q = rotate(layer.queries(self.norm(mine)), rotary[0])
        k, v = layer.keys_values(theirs)
        return mine + layer.merge(F.scaled_dot_product_attention(q, rotate(k, rotary[1]), v))

    def tokens(self, states: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
        return self.semantic(self.norm_out(states))


class VAPlanner(nn.Module):
    """Writes a timeline for prompts, and planned tokens for prompts and a timeline."""

    video_mean: Tensor
    video_deviation: Tensor
    audio_mean: Tensor
    audio_deviation: Tensor

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        from transformers import Qwen3Config, Qwen3Model

        self.config = config
        self.language = PlanLanguage(list(config.words), config.kinds, config.seconds)
        self.model = Qwen3Model(
            Qwen3Config(
                vocab_size=self.language.size,
                hidden_size=config.dim,
                intermediate_size=3 * config.dim,
                num_hidden_layers=config.depth,
                num_attention_heads=config.heads,
                num_key_value_heads=config.heads // 2,
                head_dim=config.dim // config.heads,
                max_position_embeddings=1024,
                pad_token_id=PAD,
                use_cache=False,
            )
        )
        self.next = nn.Linear(config.dim, self.language.size)
        counts = Streams(config.keyframes * CELLS**2, config.blocks)
        self.towers = nn.ModuleDict(
            {
                name: CrossTower(config.dim, config.heads, count, out)
                for name, count, out in zip(
                    ("video", "audio"), counts.both(), (config.video, config.audio), strict=True
                )
            }
        )
        for name, width in (("video", config.video), ("audio", config.audio)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_deviation", torch.ones(width))

    def standardise(self, moments: Streams[tuple[Tensor, Tensor]]) -> None:
        """Store the mean and standard deviation of each channel of the targets; the towers predict standardised targets."""
        for name, (mean, deviation) in zip(("video", "audio"), moments.both(), strict=True):
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_deviation").copy_(deviation)

    def moments(self) -> Streams[tuple[Tensor, Tensor]]:
        """Mean and standard deviation of each channel of the targets."""
        return Streams((self.video_mean, self.video_deviation), (self.audio_mean, self.audio_deviation))

    def destandardised(self, standard: Streams[Tensor]) -> Streams[Tensor]:
        """Planned tokens in the units of the targets."""
        return standard.map(lambda z, of: z * of[1] + of[0], self.moments())

    def states(self, tokens: Int[Tensor, "b l"]) -> Float[Tensor, "b l c"]:
        """The language model's last hidden states; PAD is masked and has no position."""
        mask = tokens != PAD
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        return self.model(input_ids=tokens, attention_mask=mask.long(), position_ids=positions).last_hidden_state

    def placeholders(self, count: int) -> Int[Tensor, "b n"]:
        """One token for each planned token, video first: by causality, audio placeholders attend to video placeholders."""
        config = self.config
        row = torch.tensor([SEE] * (config.keyframes * CELLS**2) + [HEAR] * config.blocks)
        return row.expand(count, -1)

    def forward(self, written: Int[Tensor, "b l"]) -> tuple[Float[Tensor, "b l v"], Streams[Tensor]]:
        """Next-token logits over ``written`` (prompts and timelines), and standardised planned tokens."""
        tail = self.placeholders(len(written)).to(written.device)
        states = self.states(torch.cat([written, tail], dim=1))
        cut, count = written.shape[1], self.config.keyframes * CELLS**2
        placeholders = Streams(states[:, cut : cut + count], states[:, cut + count :])
        return self.next(states[:, :cut]), self._towers(placeholders)

    def _towers(self, placeholders: Streams[Tensor]) -> Streams[Tensor]:
        towers = Streams(self.towers["video"], self.towers["audio"])
        config, head = self.config, self.config.dim // self.config.heads
        times = Streams(
            torch.arange(config.keyframes).add(0.5).div(config.keyframes).repeat_interleave(CELLS**2),
            torch.arange(config.blocks).add(0.5).div(config.blocks),
        )
        device = placeholders.present()[0].device
        tables = times.map(
            lambda t: rotary_table(t.to(device)[:, None] * config.seconds * ROTARY_POSITIONS_PER_SECOND, head_dim=head)
        )
        read = placeholders.map(lambda h, tower: tower.read_placeholders(h), towers)
        rotary = Streams((tables.video, tables.audio), (tables.audio, tables.video))
        crossed = read.map(
            lambda h, other, tower, rotary: tower.read_other(h, other, rotary), read.swapped(), towers, rotary
        )
        return crossed.map(lambda h, tower: tower.tokens(h), towers)

    @torch.inference_mode()
    def write(
        self, video: str, audio: str, *, seed: int, temperature: float = 1.0, seconds: float | None = None
    ) -> Timeline:
        """A timeline for the prompts, sampled with ``seed`` under the grammar; temperature 0 takes the most likely token each time.

        Raises:
            ValueError: ``seconds`` is not the length that this planner was trained on; see ``check_temperature``.
        """
        check_temperature(temperature)
        if seconds not in (None, self.config.seconds):
            raise ValueError(
                f"The planner was trained on clips of {self.config.seconds:g} s; the clip has {seconds:g} s. Load a Qwen3 with "
                "'Duet Load Timeline Writer' for other lengths."
            )
        generator = torch.Generator().manual_seed(seed)
        prompt, written = self.language.prompt(video, audio), [TIMELINE]
        while written[-1] != END:
            tokens = torch.tensor([prompt + written], device=self.next.weight.device)
            logits = self.next(self.states(tokens)[0, -1]).double().cpu()
            logits = logits.masked_fill(~self.language.allowed(written), -torch.inf)
            if temperature == 0:
                written.append(int(logits.argmax()))
            else:
                probabilities = ((logits - logits.max()) / temperature).softmax(-1)
                written.append(int(torch.multinomial(probabilities, 1, generator=generator)))
        return self.language.read(written)

    @torch.inference_mode()
    def plan(self, video: str, audio: str, timeline: Timeline | None, *, seed: int = 0) -> Plan:
        """Planned tokens for the prompts and a timeline; ``None`` selects the paper's mode, which has no timeline."""
        tokens = torch.tensor([self.language.prompt(video, audio) + self.language.write(timeline)])
        predicted = self.destandardised(self(tokens.to(self.next.weight.device))[1])
        return Plan(self.config.grid.place(predicted), video, audio, timeline, seed, self.config.seconds)


def batched(rows: list[list[int]], *, width: int) -> Int[Tensor, "b l"]:
    """Token rows padded to ``width``."""
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
