"""The pocket network as a MODEL of the host, with add-on layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import comfy.conds
import comfy.latent_formats
import comfy.lora
import comfy.model_base
import comfy.model_patcher
import comfy.supported_models_base
import torch
from torch import Tensor, nn

from ...pipelines.core.conditions import AdapterCondition, Conditions, Plan, Prior, batch_prior
from ...pipelines.core.sizes import VIDEO_STRIDE, ClipShape, ClipSpec
from ...pipelines.core.streams import Streams
from ...pipelines.core.weights import WeightsFile, check_sizes, configured
from ...pipelines.guidance.sampling import SHIFT, flow_sigmas
from ...pipelines.guidance.timed import Edges
from ...pipelines.models.addons.plan import PlanLayers
from ...pipelines.models.addons.prior import PriorLayers
from ...pipelines.models.pocket.add_ons import LAYERS, load_layers
from ...pipelines.models.pocket.advice import size_advice
from ...pipelines.models.pocket.denoiser import prepare
from ...pipelines.models.pocket.generate import check_clock
from ...pipelines.models.pocket.network import PocketConfig, TwinStreamDiT
from ...pipelines.models.pocket.timed import pocket_edges
from ...pipelines.models.pocket.video_codec import VideoCodec
from ..types import ADAPTER, AUDIO_TEXT, PLAN, PRIOR, TIMED
from .joint import HostedNetwork, OwnModel, Sizes, build_model, named_conds
from .latent import Layout

ROUTE = "duet_route"  # [b, 2] on a condition: a2v and v2a in the coding of ``route_of``


class PocketLatentFormat(comfy.latent_formats.LatentFormat):
    """Format of the video latents for the previewer; the codec scales them."""

    latent_dimensions = 3
    spacial_downscale_ratio = VIDEO_STRIDE[1]
    temporal_downscale_ratio = VIDEO_STRIDE[0]

    def set_preview(self, codec: VideoCodec) -> None:
        """Set the mean colour of a cell as a linear function of its latent, in the previewer's -1..1; exact for a linear codec."""
        colour = lambda z: codec.pca.decode(z).unflatten(-1, (3, -1)).mean(-1) * 2 - 1  # noqa: E731 - used twice
        bias = colour(torch.zeros(1, codec.channels))
        self.latent_rgb_factors = (colour(torch.eye(codec.channels)) - bias).tolist()
        self.latent_rgb_factors_bias = bias[0].tolist()


class HostTwinStreamDiT(HostedNetwork, TwinStreamDiT):  # pyright: ignore[reportIncompatibleMethodOverride] - the host's forward
    """The pocket network."""

    CONFIG = PocketConfig

    def _forward(
        self,
        x: list[Tensor],
        timestep: Tensor,
        context: Tensor,
        options: dict,
        *,
        audio_text: Tensor | None = None,
        route: Tensor | None = None,
        timed_video: Tensor | None = None,
        timed_audio: Tensor | None = None,
        crosses_video: Tensor | None = None,
        crosses_audio: Tensor | None = None,
        video_noisy: Tensor | None = None,
        audio_noisy: Tensor | None = None,
        **others: Any,
    ) -> list[Tensor]:
        streams, text = Streams(*x), Streams(context, context if audio_text is None else audio_text)
        routes = torch.ones_like(timestep)[:, None].expand(-1, 2) if route is None else route
        regenerate = Streams(video_noisy, audio_noisy)
        crosses = Streams(crosses_video, crosses_audio).map(lambda z: z > 0)
        prepared = prepare(timestep, routes, regenerate, Conditions.unflatten(others), crosses=crosses)
        timed = Streams(timed_video, timed_audio)
        x0 = TwinStreamDiT.forward(self, streams, prepared.sigma, text, timed=timed, **prepared.options())
        # The host's flow models return the velocity at the host's single noise level.
        return streams.map(lambda z, clean: (z - clean) / timestep.view(-1, *[1] * (z.ndim - 1)), x0).present()


class PocketBaseModel(OwnModel):
    """The pocket network's own conditions: text for each stream, and the route."""

    title = "The Duet pocket model"
    pocket_world = True
    file: WeightsFile  # its weights, from which a MODEL with add-ons builds a network of its own
    codec: VideoCodec
    # Kind -> file of the add-on layers on its network; None is the file that ships with the pack.
    add_ons: Mapping[str, Path | None] = MappingProxyType({})

    def __init__(self, config: comfy.supported_models_base.BASE, device: Any = None) -> None:
        super().__init__(config, comfy.model_base.ModelType.FLOW, device=device, unet_model=HostTwinStreamDiT)

    @property
    def layout(self) -> Layout:
        config = self.diffusion_model.config
        return Streams((config.video_channels, 5), (config.audio_channels, 3))

    @property
    def text_width(self) -> int:
        return self.diffusion_model.config.text_dim

    @property
    def closes_routes(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - known once the network is built
        return self.diffusion_model.closes_routes

    @property
    def plans(self) -> bool:
        """Whether the network has layers that read a plan."""
        return PlanLayers.NAME in self.diffusion_model.add_ons

    def latents(self, *, height: int, width: int, seconds: float, fps: int) -> tuple[Sizes, ClipSpec]:
        config = self.diffusion_model.config
        shape = ClipShape(seconds, fps or config.fps, height, width, config.sample_rate)
        check_clock(config, shape)
        return self.diffusion_model.latent_sizes(shape), ClipSpec(height, width, shape.frames, shape.fps)

    def sigmas(self, steps: int, requested: ClipSpec | None, video: tuple[int, ...]) -> Tensor:
        return flow_sigmas(steps)

    def advice(self, video: tuple[int, ...]) -> str:
        return size_advice(video, fps=self.diffusion_model.config.fps)

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        out = super().extra_conds(**kwargs)
        if kwargs.get(TIMED) is None:
            out["audio_text"] = comfy.conds.CONDRegular(kwargs.get(AUDIO_TEXT, kwargs["cross_attn"]))
        out["route"] = comfy.conds.CONDRegular(kwargs.get(ROUTE, torch.ones(1, 2)))
        return out | named_conds(self._conditions(kwargs))

    def edges(self, shapes: list[tuple[int, ...]], clip: ClipSpec | None) -> Streams[Edges]:
        return pocket_edges(self.diffusion_model.config, Streams(shapes[0][2], shapes[1][2]))

    def _conditions(self, kwargs: dict[str, Any]) -> Conditions:
        """The plan, prior and adapter on a CONDITIONING entry.

        Raises:
            ValueError: the network has no layers for one of them.
        """
        plan: Plan | None = kwargs.get(PLAN)
        prior: Prior | None = kwargs.get(PRIOR)
        adapter: AdapterCondition | None = kwargs.get(ADAPTER)
        network = self.diffusion_model
        if plan is not None:
            _require_layers(network.add_ons, PlanLayers.NAME, "plan", "Duet Load Planner")
        if prior is not None:
            _require_layers(network.add_ons, PriorLayers.NAME, "prior", "Duet Load Prior")
            network.add_ons[PriorLayers.NAME].check(prior.tokens.spatial, prior.tokens.temporal)
        if adapter is not None:
            _require_layers(network.adapters, adapter.way, f"{adapter.way} adapter", "Duet Load Adapter")
        return Conditions(
            None if plan is None else plan.streams,
            None if prior is None else batch_prior([prior]),
            Streams() if adapter is None else adapter.streams,
        )


def _require_layers(layers: nn.ModuleDict, name: str, condition: str, node: str) -> None:
    """Refuse a condition that the network has no layers for."""
    if name not in layers:
        refuse_condition(condition, node)


def refuse_twice(kind: str, there: bool) -> None:
    """Raise ValueError if a MODEL already has the layers ``kind``."""
    if there:
        raise ValueError(
            f"This MODEL already has '{kind}' layers. Connect the MODEL from before the node that added them; the other output "
            "of that node can still be used."
        )


def refuse_condition(condition: str, node: str) -> NoReturn:
    """Raise the ValueError for a prompt with a ``condition`` that a MODEL has no layers for; ``node`` adds them."""
    raise ValueError(
        f"The prompt has a {condition}, but this MODEL has no layers that read it. Use the MODEL of '{node}'."
    )


class PocketModelConfig(comfy.supported_models_base.BASE):
    """The host's description of the pocket network, read before the model is built."""

    unet_config = {"image_model": "duet_pocket"}  # noqa: RUF012 - the host declares it so
    unet_extra_config = {}  # noqa: RUF012
    sampling_settings = {"shift": SHIFT, "multiplier": 1.0}  # noqa: RUF012 - timesteps are the noise levels themselves
    latent_format = PocketLatentFormat
    memory_usage_factor = 0.1  # for a packed latent, whose channels are part of its length
    supported_inference_dtypes = [torch.bfloat16, torch.float32]  # noqa: RUF012

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> PocketBaseModel:
        return PocketBaseModel(self, device=device)


def build_pocket(file: WeightsFile, codec: VideoCodec) -> comfy.model_patcher.ModelPatcher:
    """The pocket network as a MODEL; ``codec`` determines the colours of its previews."""
    sizes = configured(PocketConfig, file)
    check_sizes(lambda: TwinStreamDiT(sizes), file.tensors, source=file.path)
    config = PocketModelConfig({"image_model": "duet_pocket", **vars(sizes)})
    patcher = build_model(config, file.tensors, source=file.path)
    patcher.model.latent_format.set_preview(codec)
    # The host's cache nodes cut both streams to this number of channels, so that it must be the larger one.
    network = patcher.model.diffusion_model.config
    patcher.model.latent_format.latent_channels = max(network.video_channels, network.audio_channels)
    patcher.model.file, patcher.model.codec = file, codec
    return patcher


def with_lora(
    model: comfy.model_patcher.ModelPatcher, lora: dict[str, Tensor], strength: float = 1.0
) -> comfy.model_patcher.ModelPatcher:
    """A clone of a MODEL with a ``lora`` in the format of the host's files as host patches."""
    patched = model.clone()
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    patched.add_patches(comfy.lora.load_lora(lora, keys), strength)
    return patched


def with_add_on(
    model: comfy.model_patcher.ModelPatcher, kind: str, path: Path | None = None
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL like ``model``, its LoRAs, options and add-ons included, on a network of its own that has the layers ``kind`` too,
    from ``path`` (``None``: the file that ships with the pack).

    Raises:
        ValueError: the MODEL is not the pocket model or already has such layers, or the layers were trained on another base.
    """
    base = model.model
    if not isinstance(base, PocketBaseModel):
        raise ValueError(f"These layers are for the Duet pocket model; this is a {type(base).__name__}.")
    refuse_twice(kind, kind in base.add_ons)
    patched = build_pocket(base.file, base.codec)
    network, files = patched.model.diffusion_model, {**base.add_ons, kind: path}
    patched.model.add_ons = {name: files[name] for name in LAYERS if name in files}
    for name, file in patched.model.add_ons.items():  # without an adapter's LoRA, which the host applies as a patch
        layers = load_layers(name, network.config, base.file.sha256, file, operations=network.operations).layers
        layers.to(device=next(network.parameters()).device, dtype=network.dtype).install(network)
    own = model.clone()
    own.model = patched.model
    return own
