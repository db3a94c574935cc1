"""The pocket network as the host's MODEL."""

from __future__ import annotations

from typing import Any

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.supported_models_base
import comfy.utils
import torch
from torch import Tensor

from ...pipelines.models.pocket.codec import VideoCodec
from ...pipelines.models.pocket.denoiser import open_and_silent
from ...pipelines.models.pocket.load import configured
from ...pipelines.models.pocket.network import PocketConfig, TwinStreamDiT
from ...pipelines.sampling import SHIFT
from ...pipelines.shapes import VIDEO_STRIDE
from ...pipelines.streams import Streams
from ...pipelines.weights import WeightsFile, fill
from ..types import AUDIO_TEXT

ROUTE = "duet_route"  # [b, 2] on a condition: what a2v and v2a are, as ``route_of`` says it


class PocketLatentFormat(comfy.latent_formats.LatentFormat):
    """Video latents as the previewer sees them; they are standardised by the codec, so nothing is scaled here."""

    latent_dimensions = 3
    spacial_downscale_ratio = VIDEO_STRIDE[1]
    temporal_downscale_ratio = VIDEO_STRIDE[0]

    def set_preview(self, codec: VideoCodec) -> None:
        """Mean colour of a cell as a linear function of its latent, in the previewer's -1..1: exact for a linear codec."""
        colour = lambda z: codec.pca.decode(z).unflatten(-1, (3, -1)).mean(-1) * 2 - 1  # noqa: E731 - used twice
        bias = colour(torch.zeros(1, codec.channels))
        self.latent_rgb_factors = (colour(torch.eye(codec.channels)) - bias).tolist()
        self.latent_rgb_factors_bias = bias[0].tolist()


class HostTwinStreamDiT(TwinStreamDiT):
    """The pocket network behind the host's calling convention: lists of streams, one sigma, named conditions."""

    def __init__(
        self,
        *,
        operations: Any,
        dtype: torch.dtype | None = None,
        device: Any = None,
        image_model: str = "",
        **config: Any,
    ) -> None:
        super().__init__(PocketConfig(**config), operations=operations, dtype=dtype, device=device)
        self.dtype = dtype

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - the host's calling convention
        self, x: list[Tensor], timestep: Tensor, context: Tensor, transformer_options: dict | None = None, **conds: Any
    ) -> list[Tensor]:
        options = transformer_options or {}
        wrappers = comfy.patcher_extension.get_all_wrappers(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, options)
        executor = comfy.patcher_extension.WrapperExecutor.new_class_executor(self._forward, self, wrappers)
        return executor.execute(x, timestep, context, options, **conds)

    def _forward(
        self,
        x: list[Tensor],
        timestep: Tensor,
        context: Tensor,
        _options: dict,
        *,
        audio_text: Tensor | None = None,
        route: Tensor | None = None,
        video_noisy: Tensor | None = None,
        audio_noisy: Tensor | None = None,
        **_unused: Any,
    ) -> list[Tensor]:
        noisy = Streams(video_noisy, audio_noisy)
        levels = [timestep[:, None] if mask is None else timestep[:, None] * mask for mask in noisy]
        text = Streams(context, context if audio_text is None else audio_text)
        # A stream that is given whole must not hear the other one's noise: it keeps to its context tokens.
        routes = torch.ones_like(timestep)[:, None].expand(-1, 2) if route is None else route
        open_, silent = open_and_silent(routes)
        open_ = open_.map(lambda flag, mask: flag if mask is None else flag & (mask.amax(1) > 0), noisy)
        streams = Streams(*x)
        x0 = super().forward(streams, Streams(*levels), text, route=open_, silent=silent)
        # The host's flow models answer with the velocity at its one noise level.
        return streams.map(lambda z, clean: (z - clean) / timestep.view(-1, *[1] * (z.ndim - 1)), x0).present()


class PocketBaseModel(comfy.model_base.BaseModel):
    """Conditions of the pocket network: text for each stream, the route, and which frames are noisy."""

    def __init__(self, config: comfy.supported_models_base.BASE, device: Any = None) -> None:
        super().__init__(config, comfy.model_base.ModelType.FLOW, device=device, unet_model=HostTwinStreamDiT)

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        out = super().extra_conds(**kwargs)
        shapes = kwargs.get("latent_shapes")
        if shapes is None or len(shapes) != 2:
            raise ValueError(
                "The Duet pocket model needs a joint audio-video latent. Connect 'Duet Empty Latent' to the sampler."
            )
        out["latent_shapes"] = comfy.conds.CONDConstant(shapes)
        out["c_crossattn"] = comfy.conds.CONDRegular(kwargs["cross_attn"])
        out["audio_text"] = comfy.conds.CONDRegular(kwargs.get(AUDIO_TEXT, kwargs["cross_attn"]))
        out["route"] = comfy.conds.CONDRegular(kwargs.get(ROUTE, torch.ones(1, 2)))
        if kwargs.get("denoise_mask") is not None:
            video, audio = comfy.utils.unpack_latents(kwargs["denoise_mask"], shapes)
            out["video_noisy"] = comfy.conds.CONDRegular(video.amax((1, 3, 4)))
            out["audio_noisy"] = comfy.conds.CONDRegular(audio.amax(1))
        return out

    def scale_latent_inpaint(self, sigma: Tensor, noise: Tensor, latent_image: Tensor, **_kwargs: Any) -> Tensor:
        """What is given stays clean (its noise level is 0), as in training."""
        return latent_image


class PocketModelConfig(comfy.supported_models_base.BASE):
    """What the host wants to know about the pocket network before it builds it."""

    unet_config = {"image_model": "duet_pocket"}  # noqa: RUF012 - the host's own way to declare it
    unet_extra_config = {}  # noqa: RUF012
    sampling_settings = {"shift": SHIFT, "multiplier": 1.0}  # noqa: RUF012 - timesteps are the noise levels themselves
    latent_format = PocketLatentFormat
    memory_usage_factor = 0.1  # of a packed latent, whose channels lie inside its length
    supported_inference_dtypes = [torch.bfloat16, torch.float32]  # noqa: RUF012

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> PocketBaseModel:
        return PocketBaseModel(self, device=device)


def build_model(file: WeightsFile, codec: VideoCodec) -> comfy.model_patcher.ModelPatcher:
    """The pocket network as a MODEL; ``codec`` gives the colours of its previews."""
    config = PocketModelConfig({"image_model": "duet_pocket", **vars(configured(PocketConfig, file))})
    load_device, offload_device = (
        comfy.model_management.get_torch_device(),
        comfy.model_management.unet_offload_device(),
    )
    count = sum(value.numel() for value in file.tensors.values())
    dtype = comfy.model_management.unet_dtype(model_params=count, supported_dtypes=config.supported_inference_dtypes)
    config.set_inference_dtype(
        dtype, comfy.model_management.unet_manual_cast(dtype, load_device, config.supported_inference_dtypes)
    )
    model = config.get_model({}, device=offload_device)
    model.latent_format.set_preview(codec)
    fill(model.diffusion_model, {name: value.to(dtype) for name, value in file.tensors.items()}, source=file.path)
    return comfy.model_patcher.CoreModelPatcher(model, load_device=load_device, offload_device=offload_device)


def is_pocket(model: comfy.model_patcher.ModelPatcher) -> bool:
    """Whether a MODEL is Duet's pocket network."""
    return isinstance(model.model, PocketBaseModel)


def pocket_config(model: comfy.model_patcher.ModelPatcher) -> PocketConfig:
    """The configuration of a Duet MODEL.

    Raises:
        ValueError: the MODEL is not Duet's.
    """
    if not is_pocket(model):
        raise ValueError(f"The model is a {type(model.model).__name__}; this node needs the MODEL of 'Duet Load AV'.")
    return model.model.diffusion_model.config
