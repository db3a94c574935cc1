"""The VA-Planner: a language model that writes a timeline and holds a place for every planned token, and two towers that turn
those places into planned tokens (Baton, arXiv 2605.25195, in our reconstruction; the timeline is our addition).

A regression planner can only predict the mean of what could happen. So the model first writes *what happens when*, drawn
with a seed; what is regressed after that is nearly determined.

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
from ...core.streams import Streams
from ...core.timeline import Timeline
from ..attention import ROTARY_POSITIONS_PER_SECOND, Attention
from .grid import CELLS, PlanGrid
from .language import END, HEAR, PAD, SEE, TIMELINE, PlanLanguage


@dataclass(frozen=True)
class PlannerConfig:
    """Sizes. ``video`` and ``audio`` are the channels of planned tokens."""

    words: tuple[str, ...]
    kinds: tuple[str, ...]
    keyframes: int
    blocks: int
    video: int
    audio: int
    seconds: float = 2.0
    dim: int = 160
    depth: int = 3
    heads: int = 4

    @property
    def grid(self) -> PlanGrid:
        return PlanGrid(self.keyframes, self.blocks)


class CrossTower(nn.Module):
    """One stream's half of the towers: its queries read their placeholders, then the other stream by time."""

    def __init__(self, dim: int, heads: int, tokens: int, out: int) -> None:
        super().__init__()
        shared = {"operations": nn}
        self.queries = nn.Parameter(torch.empty(tokens, dim))
        self.own = Attention(dim, heads, source_dim=dim, **shared)
        self.norm, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.other = Attention(dim, heads, source_dim=dim, **shared)
        self.semantic = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, out))
        nn.init.normal_(self.queries, std=0.02)

    def read(self, states: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Queries over this stream's placeholder states, to which they are added: one query for each."""
        queries = self.queries.expand(len(states), -1, -1)
        return states + self.own(queries, states)

    def listen(self, mine: Tensor, theirs: Tensor, rotary: tuple[RotaryTable, RotaryTable]) -> Float[Tensor, "b n c"]:
        """Attention to the other stream with timestamp RoPE, so that equal times match."""
        layer = self.other
        q = rotate(layer.queries(self.norm(mine)), rotary[0])
        k, v = layer.keys_values(theirs)
        return mine + layer.merge(F.scaled_dot_product_attention(q, rotate(k, rotary[1]), v))

    def tokens(self, states: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
        return self.semantic(self.norm_out(states))


class VAPlanner(nn.Module):
    """Prompts to a timeline, and both to planned tokens."""

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
        """Take mean and deviation of each channel of the targets; the towers work in their units."""
        for name, (mean, deviation) in zip(("video", "audio"), moments.both(), strict=True):
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_deviation").copy_(deviation)

    def moments(self) -> Streams[tuple[Tensor, Tensor]]:
        """Mean and deviation of each channel of the targets."""
        return Streams((self.video_mean, self.video_deviation), (self.audio_mean, self.audio_deviation))

    def restored(self, standard: Streams[Tensor]) -> Streams[Tensor]:
        """Planned tokens in the targets' own units."""
        return standard.map(lambda z, of: z * of[1] + of[0], self.moments())

    def states(self, tokens: Int[Tensor, "b l"]) -> Float[Tensor, "b l c"]:
        """The language model's last states; PAD is neither seen nor counted."""
        mask = tokens != PAD
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        return self.model(input_ids=tokens, attention_mask=mask.long(), position_ids=positions).last_hidden_state

    def placeholders(self, count: int) -> Int[Tensor, "b n"]:
        """A token for each planned one, video first: through causality the sound's placeholders see the picture's."""
        config = self.config
        row = torch.tensor([SEE] * (config.keyframes * CELLS**2) + [HEAR] * config.blocks)
        return row.expand(count, -1)

    def forward(self, written: Int[Tensor, "b l"]) -> tuple[Float[Tensor, "b l v"], Streams[Tensor]]:
        """written: prompts and timelines. Next-token logits over them, and standardised planned tokens."""
        tail = self.placeholders(len(written)).to(written.device)
        states = self.states(torch.cat([written, tail], dim=1))
        cut, seen = written.shape[1], self.config.keyframes * CELLS**2
        placed = Streams(states[:, cut : cut + seen], states[:, cut + seen :])
        return self.next(states[:, :cut]), self._towers(placed)

    def _towers(self, placed: Streams[Tensor]) -> Streams[Tensor]:
        towers = Streams(self.towers["video"], self.towers["audio"])
        config, head = self.config, self.config.dim // self.config.heads
        times = Streams(
            torch.arange(config.keyframes).add(0.5).div(config.keyframes).repeat_interleave(CELLS**2),
            torch.arange(config.blocks).add(0.5).div(config.blocks),
        )
        device = placed.present()[0].device
        tables = times.map(
            lambda t: rotary_table(t.to(device)[:, None] * config.seconds * ROTARY_POSITIONS_PER_SECOND, head_dim=head)
        )
        read = placed.map(lambda h, tower: tower.read(h), towers)
        swapped = Streams(read.audio, read.video)
        turned = Streams((tables.video, tables.audio), (tables.audio, tables.video))
        heard = read.map(lambda h, other, tower, rotary: tower.listen(h, other, rotary), swapped, towers, turned)
        return heard.map(lambda h, tower: tower.tokens(h), towers)

    @torch.inference_mode()
    def write(
        self, video: str, audio: str, *, seed: int, temperature: float = 1.0, seconds: float | None = None
    ) -> Timeline:
        """A timeline for the prompts, drawn with ``seed`` under the grammar; temperature 0 takes the likeliest each time.

        Raises:
            ValueError: ``seconds`` is not the length this planner was trained on.
        """
        if seconds not in (None, self.config.seconds):
            raise ValueError(
                f"This planner knows clips of {self.config.seconds:g} s alone, and {seconds:g} s are asked for. Load a Qwen3 with "
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
                chances = ((logits - logits.max()) / temperature).softmax(-1)
                written.append(int(torch.multinomial(chances, 1, generator=generator)))
        return self.language.read(written)

    @torch.inference_mode()
    def plan(self, video: str, audio: str, timeline: Timeline | None, *, seed: int = 0) -> Plan:
        """Planned tokens for the prompts and a timeline; None is the paper's mode, without one."""
        tokens = torch.tensor([self.language.prompt(video, audio) + self.language.write(timeline)])
        found = self.restored(self(tokens.to(self.next.weight.device))[1])
        return Plan(self.config.grid.placed(found), video, audio, timeline, seed, self.config.seconds)


def batched(rows: list[list[int]], *, width: int) -> Int[Tensor, "b l"]:
    """Token rows of one width."""
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
