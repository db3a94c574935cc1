"""Pocket LTX-2 as the host's own LTXAV model: its class, with the layout of the pocket latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
import torch
import torch.nn.functional as F
from comfy.ldm.lightricks.symmetric_patchifier import AudioPatchifier
from torch import Tensor, nn

from ...pipelines.core.sizes import ClipShape, ClipSpec
from ...pipelines.core.streams import Streams
from ...pipelines.core.weights import WeightsFile, configured
from ...pipelines.guidance.sampling import SHIFT, flow_sigmas
from ...pipelines.guidance.timed import Edges
from ...pipelines.models.ltx2.keys import PREFIX
from ...pipelines.models.ltx2.pocket_config import PATCH, STRIDE, PocketLTX2Config, unfold
from ...pipelines.models.pocket.advice import size_advice
from ...pipelines.models.pocket.generate import check_clock
from ...pipelines.models.pocket.timed import pocket_edges
from ...pipelines.models.pocket.video_codec import VideoCodec
from ..types import ADAPTER, AUDIO_TEXT, PLAN, PRIOR
from .joint import JointModel, Sizes, build_model
from .latent import Layout
from .model import PocketLatentFormat, refuse_condition

# The host's text connectors, which pocket LTX-2 does not have, are built before they can be removed: at the smallest size.
NO_CONNECTOR = {"connector_num_layers": 0, "connector_num_attention_heads": 1, "connector_attention_head_dim": 32}


class PocketLTXFormat(PocketLatentFormat):
    """Format of the folded video latents."""

    spacial_downscale_ratio = STRIDE[1]
    latent_rgb_factors_reshape = staticmethod(unfold)

    def set_scaled_preview(self, codec: VideoCodec, scale: tuple[float, ...]) -> None:
        """As ``set_preview``, for latents that are divided by ``scale``."""
        self.set_preview(codec)
        rows = zip(self.latent_rgb_factors, scale, strict=True)
        self.latent_rgb_factors = [[value * factor for value in row] for row, factor in rows]


class PocketLTXAV(JointModel, comfy.model_base.LTXAV):
    """The host's LTXAV model on the pocket latents, with a text and its padding mask for each stream."""

    title = "Pocket LTX-2"
    base_hash = ""  # SHA-256 of the weights file, which add-ons name
    pocket_world = True

    def __init__(self, config: PocketLTXAVConfig, device: Any = None) -> None:
        comfy.model_base.LTXAV.__init__(self, config, device=device)
        self.pocket, network = config.pocket, self.diffusion_model
        clock = self.pocket.sizes().audio_clock
        network.num_audio_channels, network.audio_frequency_bins = self.pocket.audio_channels, 1
        network.a_patchifier = AudioPatchifier(
            1, clock.sample_rate, clock.hop, clock.stride, is_causal=clock.causal, start_end=True
        )
        del network.audio_embeddings_connector, network.video_embeddings_connector
        for block in network.transformer_blocks:
            block.attn2.register_forward_pre_hook(_mask_of(0), with_kwargs=True)
            block.audio_attn2.register_forward_pre_hook(_mask_of(1), with_kwargs=True)

    @property
    def layout(self) -> Layout:
        return Streams((self.pocket.folded_channels, 5), (self.pocket.audio_channels, 4))

    @property
    def text_width(self) -> int:
        return self.pocket.text_dim

    def latents(self, *, height: int, width: int, seconds: float, fps: int) -> tuple[Sizes, ClipSpec]:
        shape = ClipShape(seconds, fps or self.pocket.fps, height, width, self.pocket.sample_rate)
        check_clock(self.pocket, shape)
        video, audio = self.pocket.latent_sizes(shape).both()
        return Streams(video, (*audio, 1)), ClipSpec(height, width, shape.frames, shape.fps)

    def sigmas(self, steps: int, requested: ClipSpec | None, video: tuple[int, ...]) -> Tensor:
        return flow_sigmas(steps)

    def advice(self, video: tuple[int, ...]) -> str:
        cells = (*video[:2], *(count * PATCH for count in video[2:]))  # of the pocket codec
        return size_advice(cells, fps=self.pocket.fps)

    def edges(self, shapes: list[tuple[int, ...]], clip: ClipSpec | None) -> Streams[Edges]:
        return pocket_edges(self.pocket, Streams(shapes[0][2], shapes[1][2]))

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        self.check_conds(kwargs)
        if kwargs.get(PLAN) is not None:  # with plan layers, their patch has taken it
            refuse_condition("plan", "Duet Load Planner")
        for key, name in ((PRIOR, "prior"), (ADAPTER, "adapter")):
            if kwargs.get(key) is not None:
                raise ValueError(
                    f"The prompt has a {name}, and {self.title} has no layers that read it. Choose the pocket network in 'Duet Load AV', "
                    f"or remove the {name}."
                )
        video = kwargs["cross_attn"]
        audio = kwargs.get(AUDIO_TEXT, video).expand(len(video), -1, -1)
        longest = max(video.shape[1], audio.shape[1])
        texts = [F.pad(text, (0, 0, 0, longest - text.shape[1])) for text in (video, audio)]
        read = torch.stack([text.abs().amax(-1) > 0 for text in texts], 1)  # [b, stream, tokens]
        own = {"cross_attn": torch.cat(texts, -1), "attention_mask": read.int()}
        return super().extra_conds(**{"frame_rate": self.pocket.fps, **kwargs, **own})


def _mask_of(stream: int) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """A hook that gives a text attention its stream's row of the mask [b, 1, stream, tokens]; the host gives both attentions the whole
    mask. Masks of other nodes, which have no row for each stream, are left as they are."""

    def choose(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = kwargs.get("mask")
        own = mask if mask is None or mask.shape[-2] != 2 else mask[..., stream : stream + 1, :]
        return args, {**kwargs, "mask": own}

    return choose


class PocketLTXAVConfig(comfy.supported_models.LTXAV):
    """The host's description of LTXAV, with pocket LTX-2's sizes and schedule."""

    sampling_settings = {"shift": math.log(SHIFT)}  # noqa: RUF012 - the host declares it so; its shift is a logarithm
    latent_format = PocketLTXFormat

    def __init__(self, pocket: PocketLTX2Config) -> None:
        super().__init__({"image_model": "ltxav", **pocket.sizes().official, **NO_CONNECTOR})
        self.pocket = pocket

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> PocketLTXAV:
        return PocketLTXAV(self, device=device)


def build_pocket_ltx2(file: WeightsFile, codec: VideoCodec) -> comfy.model_patcher.ModelPatcher:
    """Pocket LTX-2 as a MODEL; ``codec`` determines the colours of its previews.

    Raises:
        ValueError: the file does not fit its own configuration.
    """
    tensors = {name.removeprefix(PREFIX): value for name, value in file.tensors.items()}
    pocket = configured(PocketLTX2Config, file)
    patcher = build_model(PocketLTXAVConfig(pocket), tensors, source=file.path)
    patcher.model.base_hash = file.sha256
    patcher.model.latent_format.set_scaled_preview(codec, pocket.video_scale)
    patcher.model.latent_format.latent_channels = pocket.folded_channels
    return patcher
