"""Hooks on diffusers' LTX-2 class: for the four points in which ComfyUI's LTXAV model computes something else, and for context tokens.

* The norms of queries and keys have epsilon 1e-5 instead of 1e-6.
* The gate of a cross-modal attention follows the highest noise level of the stream that is read, not the reading stream's own levels.
* The audio reads the video after the video has read the audio in the same block, not before.
* Each direction of cross-modal attention can be closed separately: it then adds zero, or with context tokens what these say.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers.transformer_ltx2 import LTX2Attention, LTX2VideoTransformer3DModel
from torch import Tensor, nn

from ...core.streams import Streams
from ..addons.context import ContextTokens, before, key_bias, unrotated

QK_EPSILON = 1e-5
NORM_EPSILON = 1e-6


class HostOrder:
    """The hooks of one transformer, and the values of its current forward pass that they read."""

    def __init__(self, transformer: LTX2VideoTransformer3DModel) -> None:
        config = transformer.config
        self.factor = config.cross_attn_timestep_scale_multiplier / config.timestep_scale_multiplier
        self.highest: Streams[Tensor] = Streams()
        self.reads: Streams[Tensor] = Streams()
        self.silent: Streams[Tensor] = Streams()
        self.context: ContextTokens | None = None
        self.scale_shift = self.gate = torch.empty(0)
        for module in transformer.modules():
            if isinstance(module, LTX2Attention):
                module.norm_q.eps = module.norm_k.eps = QK_EPSILON
        self._hook_levels(transformer)
        for index, block in enumerate(transformer.transformer_blocks):
            BlockOrder(self, block, index)

    def start(self, highest: Streams[Tensor], reads: Streams[Tensor], silent: Streams[Tensor]) -> None:
        """Begin a forward pass. highest: the highest scaled noise level [b] of each stream. reads: whether each stream reads the other,
        [b] or, for each token, [b, n]; ``None`` means that it does. silent: closed routes that add zero although there are context
        tokens, [b] or ``None``."""
        self.highest, self.reads, self.silent = highest, reads, silent

    def read(self, stream: str, out: Tensor) -> Tensor:
        """What ``stream`` has read, [b, n, width]; zero where its route is silent, or closed without context tokens."""
        reads, silent = getattr(self.reads, stream), getattr(self.silent, stream)
        flags = reads if self.context is None else None if silent is None else ~silent
        return out if flags is None else out * flags.view(len(flags), -1, 1).to(out)

    def with_context(self, stream: str, block: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a cross-modal attention with the context tokens among its keys."""
        if self.context is None:
            return kwargs
        tokens, states, reads = (
            self.context.of(stream, block),
            kwargs["encoder_hidden_states"],
            getattr(self.reads, stream),
        )
        sizes = {"context": len(tokens), "states": states.shape[1]}
        mask = kwargs.get("attention_mask") if reads is None else key_bias(reads, **sizes).to(states)
        own = {"encoder_hidden_states": before(tokens, states), "attention_mask": mask}
        return {**kwargs, **own, "key_rotary_emb": unrotated(kwargs["key_rotary_emb"], len(tokens))}

    def _hook_levels(self, transformer: LTX2VideoTransformer3DModel) -> None:
        def gate_of(stream: str) -> Any:
            return lambda _module, args: (getattr(self.highest, stream) * self.factor, *args[1:])

        transformer.av_cross_attn_video_a2v_gate.register_forward_pre_hook(gate_of("audio"))
        transformer.av_cross_attn_audio_v2a_gate.register_forward_pre_hook(gate_of("video"))
        transformer.av_cross_attn_video_a2v_gate.register_forward_hook(lambda _m, _i, out: self._keep("gate", out))
        transformer.av_cross_attn_video_scale_shift.register_forward_hook(
            lambda _m, _i, out: self._keep("scale_shift", out)
        )

    def _keep(self, name: str, out: Any) -> None:
        batch = len(self.highest.both()[0])
        setattr(self, name, out[0].view(batch, -1, out[0].shape[-1]))


class BlockOrder:
    """The hooks of one block."""

    def __init__(self, order: HostOrder, block: Any, index: int) -> None:
        self.order, self.block, self.index = order, block, index
        self.video = self.heard = torch.empty(0)  # video states before, and what they read of the audio
        block.audio_to_video_norm.register_forward_hook(self._keep_video)
        block.audio_to_video_attn.register_forward_pre_hook(self._with_context, with_kwargs=True)
        block.audio_to_video_attn.register_forward_hook(self._keep_heard)
        block.video_to_audio_attn.register_forward_pre_hook(self._later_video, with_kwargs=True)
        block.video_to_audio_attn.register_forward_hook(lambda _m, _i, out: order.read("audio", out))

    def _keep_video(self, _module: nn.Module, inputs: tuple[Tensor, ...], _out: Tensor) -> None:
        self.video = inputs[0]

    def _with_context(self, _module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, self.order.with_context("video", self.index, kwargs)

    def _keep_heard(self, _module: nn.Module, _inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        self.heard = self.order.read("video", out)
        return self.heard

    def _later_video(self, _module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        table, batch = self.block.video_a2v_cross_attn_scale_shift_table, len(self.video)
        gate = self.block.get_mod_params(table[4:], self.order.gate, batch)[0].squeeze(2)
        _, _, scale, shift = self.block.get_mod_params(table[:4], self.order.scale_shift, batch)
        video = self.video + gate * self.heard
        # Kept until the next pass, they would hold every block's activations, which gradient checkpointing frees.
        self.video = self.heard = torch.empty(0)
        normed = nn.functional.rms_norm(video, video.shape[-1:], eps=NORM_EPSILON)
        later = {**kwargs, "encoder_hidden_states": normed * (1 + scale.squeeze(2)) + shift.squeeze(2)}
        return args, self.order.with_context("audio", self.index, later)
