"""JavisDiT v0.1 and v1.0 as the host's MODELs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_patcher
import comfy.nested_tensor
import comfy.supported_models_base
import comfy.utils
import torch
import torch.nn.functional as F
from torch import Tensor

from ...pipelines.core.conditions import Prior, PriorTokens
from ...pipelines.core.sizes import ClipSpec
from ...pipelines.core.streams import Streams
from ...pipelines.guidance.sampling import flow_sigmas
from ...pipelines.guidance.timed import Edges
from ...pipelines.models.javisdit.clock import AUDIO_CHANNELS, V01_CLOCK, V10_CLOCK, JavisClock
from ...pipelines.models.javisdit.load import network_sizes
from ...pipelines.models.javisdit.schedule import shift_ratio
from ...pipelines.models.javisdit.v01 import JavisDiT01, V01Config
from ...pipelines.models.javisdit.v01_blocks import MLP_RATIO
from ...pipelines.models.javisdit.v10 import PATCH, JavisDiT10, V10Config
from ..types import CLIP_SPEC, PRIOR, PRIOR_KEYS
from .attention import host_attention
from .joint import HostedNetwork, OwnModel, Sizes, build_model
from .latent import Layout

HALF = torch.bfloat16.itemsize
MEGABYTE = 1024 * 1024


class HostJavisDiT01(HostedNetwork, JavisDiT01):  # pyright: ignore[reportIncompatibleMethodOverride] - the host's forward
    """v0.1. Text states that are all zero represent an empty prompt; they are replaced by the learned null text of the same length."""

    CONFIG = V01Config

    def _forward(
        self,
        x: list[Tensor],
        timestep: Tensor,
        context: Tensor,
        options: dict,
        *,
        clip: ClipSpec,
        keys: tuple[str, ...],
        spatial_prior: Tensor | None = None,
        temporal_prior: Tensor | None = None,
        video_noisy: Tensor | None = None,
        audio_noisy: Tensor | None = None,
        timed_video: Tensor | None = None,
        timed_audio: Tensor | None = None,
        **_unused: Any,
    ) -> list[Tensor]:
        count, text = len(context), context
        if timed_video is None:
            null_text = self.y_embedder.y_embedding[: context.shape[1]].to(context)
            text = torch.where((context == 0).all((1, 2), keepdim=True), null_text, context)
        null_prior = self.null_prior()
        null = tuple(z.to(context).expand(count, -1, -1) for z in (null_prior.spatial, null_prior.temporal))
        sources: dict[str, tuple[Any, ...]] = {"null": null, "prior": (spatial_prior, temporal_prior)}
        # Each sample reads only its own tokens, so that the result does not depend on which samples the host batches.
        tokens = [torch.cat(kinds, dim=1) for kinds in zip(*(sources[key] for key in keys), strict=True)]
        route = [options.get(name, True) for name in ("a2v_cross_attn", "v2a_cross_attn")]
        opened = Streams(*(torch.full((count,), flag, device=context.device) for flag in route))
        masks = Streams(video_noisy, audio_noisy).map(lambda mask: mask > 0)
        velocity = JavisDiT01.forward(
            self,
            Streams(*x),
            timestep,
            text,
            None,  # the host adds no padding
            PriorTokens(*tokens, own=torch.arange(count, device=context.device)),
            size=(float(clip.height), float(clip.width)),
            fps=float(clip.fps),
            noisy=masks if masks.present() else None,
            route=None if all(route) else opened,
            timed=Streams(timed_video, timed_audio),
            attend=host_attention(options),
        )
        return velocity.map(torch.neg).present()


class HostJavisDiT10(HostedNetwork, JavisDiT10):  # pyright: ignore[reportIncompatibleMethodOverride] - the host's forward
    """v1.0. The host's UMT5 sets padded text states to zero, as in the network's training."""

    CONFIG = V10Config

    def _forward(
        self,
        x: list[Tensor],
        timestep: Tensor,
        context: Tensor,
        options: dict,
        *,
        timed_video: Tensor | None = None,
        timed_audio: Tensor | None = None,
        **_unused: Any,
    ) -> list[Tensor]:
        visible = torch.ones(context.shape[:2], dtype=torch.bool, device=context.device)
        route = {way: options.get(f"{way}_cross_attn", True) for way in ("a2v", "v2a")}
        timed = Streams(timed_video, timed_audio)
        attend = host_attention(options)
        velocity = JavisDiT10.forward(
            self, Streams(*x), timestep, context, visible, **route, timed=timed, attend=attend
        )
        return velocity.map(torch.neg).present()


class JavisModel(OwnModel):
    """Common to both versions: the official schedule and the sizes of their clips."""

    clock: JavisClock
    network: type

    def __init__(self, config: comfy.supported_models_base.BASE, device: Any = None) -> None:
        super().__init__(config, comfy.model_base.ModelType.FLOW, device=device, unet_model=self.network)

    @property
    def layout(self) -> Layout:
        return Streams((self.clock.channels, 5), (AUDIO_CHANNELS, 4))

    @property
    def text_width(self) -> int:
        config = self.diffusion_model.config
        return config.caption_channels if isinstance(config, V01Config) else config.text_dim

    def latents(self, *, height: int, width: int, seconds: float, fps: int) -> tuple[Sizes, ClipSpec]:
        fps = fps or self.clock.fps
        frames = self.clock.frames(seconds, fps)
        clip = ClipSpec(height, width, frames, fps)
        return Streams(self.clock.video_latent(frames, height, width), self.clock.audio_latent(frames, fps)), clip

    def edges(self, shapes: list[tuple[int, ...]], clip: ClipSpec | None) -> Streams[Edges]:
        return self.clock.edges(shapes[0][2], shapes[1][2], fps=0 if clip is None else clip.fps)

    def sigmas(self, steps: int, requested: ClipSpec | None, video: tuple[int, ...]) -> Tensor:
        clip = requested or self.clock.clip_of(video)
        return flow_sigmas(steps, shift=shift_ratio(clip.height, clip.width, clip.frames))


class JavisModel01(JavisModel):
    """v0.1: adds prior tokens, frame masks, and the size in pixels by which positions are scaled."""

    title = "JavisDiT v0.1"
    clock, network = V01_CLOCK, HostJavisDiT01

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        out = super().extra_conds(**kwargs)
        longest = self.diffusion_model.config.model_max_length
        if (found := kwargs["cross_attn"].shape[1]) > longest:
            raise ValueError(
                f"The prompt has {found} tokens; {self.title} accepts at most {longest}. Shorten it, or encode it with the CLIP "
                "of 'Duet Load AV', which truncates it."
            )
        clip = kwargs.get(CLIP_SPEC) or self.clock.clip_of(kwargs["latent_shapes"][0])
        out["clip"] = comfy.conds.CONDConstant(clip)
        prior: Prior | None = kwargs.get(PRIOR)
        out["keys"] = comfy.conds.CONDConstant(("null",) if prior is None else kwargs[PRIOR_KEYS])
        if prior is not None:
            drawn = prior.tokens
            out["spatial_prior"] = comfy.conds.CONDRegular(drawn.spatial)
            out["temporal_prior"] = comfy.conds.CONDRegular(drawn.temporal)
        return out


class JavisModel10(JavisModel):
    """v1.0: its video latents are Wan's. The host's codec returns them unscaled; the network reads them standardised."""

    title = "JavisDiT v1.0"
    clock, network = V10_CLOCK, HostJavisDiT10

    def text_tokens(self, states: Tensor) -> Tensor:
        """With the rows of zeros that the network reads after every text."""
        return F.pad(states, (0, 0, 0, self.diffusion_model.config.text_len - states.shape[1]))

    def process_latent_in(self, latent: Any) -> Any:
        return self._with_video(latent, self.latent_format.process_in)

    def process_latent_out(self, latent: Any) -> Any:
        return self._with_video(latent, self.latent_format.process_out)

    def _with_video(self, latent: Any, change: Any) -> Any:
        """``latent`` with ``change`` applied to its video stream; the latent is nested, or packed by the sampler."""
        if latent.is_nested:
            video, audio = latent.unbind()
            return comfy.nested_tensor.NestedTensor((change(video), audio))
        video, audio = comfy.utils.unpack_latents(latent, self.latent_shapes)
        return comfy.utils.pack_latents([change(video), audio])[0]

    def scale_latent_inpaint(self, sigma: Tensor, noise: Tensor, latent_image: Tensor, **_kwargs: Any) -> Tensor:
        """The network has a single noise level, so that kept frames get noise of that level."""
        return comfy.model_base.BaseModel.scale_latent_inpaint(
            self, sigma=sigma, noise=noise, latent_image=latent_image
        )


def memory_factor(bytes_a_token: int, values_a_token: int) -> float:
    """The host's ``memory_usage_factor`` for a packed latent: the host assumes 0.01 MB for each value and byte of the dtype."""
    return bytes_a_token / HALF / values_a_token / (0.01 * MEGABYTE)


class V01LatentFormat(comfy.latent_formats.LatentFormat):
    """Normalised by the codec. There is no preview, because no colours of latent channels are known."""

    latent_channels, latent_dimensions = 4, 3
    spacial_downscale_ratio = 8


class JavisConfig01(comfy.supported_models_base.BASE):
    """The host's description of v0.1, read before the model is built."""

    unet_config = {"image_model": "duet_javisdit_v01"}  # noqa: RUF012 - the host declares it so
    unet_extra_config = {}  # noqa: RUF012
    sampling_settings = {"shift": 1.0}  # noqa: RUF012 - the official shift depends on the clip
    latent_format = V01LatentFormat
    supported_inference_dtypes = [torch.bfloat16, torch.float32]  # noqa: RUF012

    def __init__(self, unet_config: dict[str, Any]) -> None:
        super().__init__(unet_config)
        width = unet_config["hidden_size"]
        # Peak: a feed-forward's hidden layer before and after its activation, and four more tensors of the stream's width.
        self.memory_usage_factor = memory_factor(
            (2 * MLP_RATIO + 4) * width * HALF, PATCH**2 * unet_config["in_channels"]
        )

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> JavisModel01:
        return JavisModel01(self, device=device)


class JavisConfig10(comfy.supported_models_base.BASE):
    """The host's description of v1.0, read before the model is built."""

    unet_config = {"image_model": "duet_javisdit_v10"}  # noqa: RUF012
    unet_extra_config = {}  # noqa: RUF012
    sampling_settings = {"shift": 1.0}  # noqa: RUF012
    latent_format = comfy.latent_formats.Wan21
    supported_inference_dtypes = [torch.bfloat16, torch.float32]  # noqa: RUF012

    def __init__(self, unet_config: dict[str, Any]) -> None:
        super().__init__(unet_config)
        # Peak: queries or keys rotated in float32 (input, products, result), and seven tensors in the network's dtype.
        width, rotated = unet_config["dim"], 3 * torch.float32.itemsize
        self.memory_usage_factor = memory_factor(width * (rotated + 7 * HALF), PATCH**2 * unet_config["in_dim"])

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> JavisModel10:
        return JavisModel10(self, device=device)


KINDS = {"JavisDiT v0.1": (JavisConfig01, JavisModel01), "JavisDiT v1.0": (JavisConfig10, JavisModel10)}


def sampling_bytes(name: str, *, height: int, width: int, seconds: float) -> float:
    """Estimated working memory of a pass with two branches at the released sizes, in bytes, without the weights."""
    config, model = KINDS[name]
    clock = model.clock
    frames = clock.frames(seconds, clock.fps)
    values = math.prod(clock.video_latent(frames, height, width)) + math.prod(clock.audio_latent(frames, clock.fps))
    factor = config(vars(model.network.CONFIG())).memory_usage_factor
    return 2 * values * HALF * 0.01 * MEGABYTE * factor


def build_javisdit(name: str, tensors: dict[str, Tensor], *, source: Path) -> comfy.model_patcher.ModelPatcher:
    """'JavisDiT v0.1' or 'JavisDiT v1.0' as a MODEL; its sizes are read from ``tensors``."""
    kind, _ = KINDS[name]
    config = kind({**kind.unet_config, **vars(network_sizes(name, tensors, source=source))})
    return build_model(config, tensors, source=source)
