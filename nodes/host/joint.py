"""The common base of Duet's networks as MODELs of the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.conds
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.supported_models_base
import comfy.utils
import torch
from torch import Tensor, nn

from ...pipelines.core.conditions import Conditions
from ...pipelines.core.sizes import ClipSpec
from ...pipelines.core.streams import Streams
from ...pipelines.core.weights import fill
from ...pipelines.guidance.timed import Edges
from ..types import CLIP_SPEC, TIMED
from .latent import Layout, require_layout
from .timed import TimedPrompt, read_texts, tokens_of

Sizes = Streams[tuple[int, ...]]
CROSSES = ("crosses_video", "crosses_audio")  # conditions: which latent frames read the other stream


class HostedNetwork(nn.Module):
    """Adapts a network to the host's calling convention: lists of streams, one noise level, named conditions.

    It must precede the network among the base classes; ``_forward`` calls the network.
    """

    CONFIG: type

    def __init__(
        self,
        *,
        operations: Any,
        dtype: torch.dtype | None = None,
        device: Any = None,
        image_model: str = "",
        **config: Any,
    ) -> None:
        super().__init__(self.CONFIG(**config), operations=operations, dtype=dtype, device=device)
        self.dtype, self.operations = dtype, operations

    def forward(
        self, x: list[Tensor], timestep: Tensor, context: Tensor, transformer_options: dict | None = None, **conds: Any
    ) -> list[Tensor]:
        options = transformer_options or {}
        wrappers = comfy.patcher_extension.get_all_wrappers(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, options)
        executor = comfy.patcher_extension.WrapperExecutor.new_class_executor(self._forward, self, wrappers)
        return executor.execute(x, timestep, context, options, **conds)

    def _forward(self, x: list[Tensor], timestep: Tensor, context: Tensor, options: dict, **conds: Any) -> list[Tensor]:
        """Noise minus clean for each stream, as the host's flow models return it."""
        raise NotImplementedError


class JointModel(comfy.model_base.BaseModel):
    """What the pack's nodes call on a MODEL of Duet, and the checks that all of them make before sampling."""

    title: str
    pocket_world = False  # whether its clips show the pocket world, on which the probes were trained

    @property
    def layout(self) -> Layout:
        """How the latent of each stream must be built."""
        raise NotImplementedError

    @property
    def text_width(self) -> int:
        """Width of the text states that the network reads."""
        raise NotImplementedError

    def latents(self, *, height: int, width: int, seconds: float, fps: int) -> tuple[Sizes, ClipSpec]:
        """Sizes of both latents of a clip, without the batch; ``fps`` 0 is the model's own.

        Raises:
            ValueError: the model cannot generate such a clip.
        """
        raise NotImplementedError

    def sigmas(self, steps: int, requested: ClipSpec | None, video: tuple[int, ...]) -> Tensor:
        """The schedule that the model was trained for, for the ``requested`` clip or, if None, for the size of the ``video`` latent."""
        raise NotImplementedError

    def advice(self, video: tuple[int, ...]) -> str:
        """A warning if a video latent [c, t, h, w] is far from the training clips, or ""."""
        return ""

    def edges(self, shapes: list[tuple[int, ...]], clip: ClipSpec | None) -> Streams[Edges]:
        """Boundaries of the latent frames of both streams, in seconds, for the requested ``clip`` if it is known."""
        raise NotImplementedError

    def check_conds(self, kwargs: dict[str, Any]) -> None:
        """Check what ``extra_conds`` was called with.

        Raises:
            ValueError: the latent or the prompt is of another model.
        """
        shapes = kwargs.get("latent_shapes")
        if shapes is None or len(shapes) != 2:
            raise ValueError(
                f"{self.title} needs a joint audio-video latent. Connect 'Duet Empty Latent' to the sampler."
            )
        require_layout(self.title, self.layout, shapes)
        if (found := kwargs["cross_attn"].shape[-1]) != self.text_width:
            raise ValueError(
                f"The prompt was encoded by another model's text encoder: its states have width {found}; {self.title} needs "
                f"{self.text_width}. Use the CLIP that 'Duet Load AV' returns with this MODEL."
            )

    def scale_latent_inpaint(self, sigma: Tensor, noise: Tensor, latent_image: Tensor, **_kwargs: Any) -> Tensor:
        """Kept frames stay clean (their noise level is 0), as in training."""
        return latent_image


def named_conds(conditions: Conditions) -> dict[str, Any]:
    """``conditions`` as the host's: tensors that share a batch, and values that must be equal in it."""
    return {
        name: (comfy.conds.CONDRegular if isinstance(value, Tensor) else comfy.conds.CONDConstant)(value)
        for name, value in conditions.flatten().items()
    }


class CONDWindows(comfy.conds.CONDRegular):
    """Log-shares of timed text, or routes around its events. A network splits its queries once for a whole batch, so that only prompts with
    equal windows share one."""

    def can_concat(self, other: comfy.conds.CONDRegular) -> bool:
        return super().can_concat(other) and torch.equal(self.cond, other.cond)


class OwnModel(JointModel):
    """Conditions common to Duet's own networks."""

    closes_routes = False  # see ``models.backbone.Backbone``

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        out = super().extra_conds(**kwargs)
        self.check_conds(kwargs)
        shapes = kwargs["latent_shapes"]
        out["latent_shapes"] = comfy.conds.CONDConstant(shapes)
        out["c_crossattn"] = comfy.conds.CONDRegular(kwargs["cross_attn"])
        if kwargs.get(TIMED) is not None:
            out |= self.timed_conds(kwargs[TIMED], shapes, kwargs.get(CLIP_SPEC))
        if kwargs.get("denoise_mask") is not None:
            masks = comfy.utils.unpack_latents(kwargs["denoise_mask"], shapes)
            for name, mask in zip(("video_noisy", "audio_noisy"), masks, strict=True):
                out[name] = comfy.conds.CONDRegular(mask.amax([d for d in range(mask.ndim) if d not in (0, 2)]))
        return out

    def timed_conds(self, prompt: TimedPrompt, shapes: list[tuple[int, ...]], clip: ClipSpec | None) -> dict[str, Any]:
        """The tokens of all texts of a timed prompt, and their log-shares at the latent frames of each stream."""
        windows = prompt.timed.windows(self.edges(shapes, clip))
        read = read_texts(windows, prompt.timed.texts)
        states = {text: self.text_tokens(prompt.encoded[text][0]) for text in read}
        masks = {text: torch.ones(z.shape[1], dtype=torch.bool) for text, z in states.items()}
        video, audio = tokens_of(windows, masks).shares.map(lambda s: CONDWindows(s[None, :-1])).both()
        tokens = comfy.conds.CONDRegular(torch.cat(list(states.values()), dim=1))
        closed = windows.map(lambda w: None if w.crosses.all() else w.crosses) if self.closes_routes else Streams()
        routes = {name: CONDWindows(z[None]) for name, z in zip(CROSSES, closed, strict=True) if z is not None}
        return {"c_crossattn": tokens, "timed_video": video, "timed_audio": audio, **routes}

    def text_tokens(self, states: Tensor) -> Tensor:
        """The states of one text as the network reads them beside other texts."""
        return states


def build_model(
    config: comfy.supported_models_base.BASE, tensors: dict[str, Tensor], *, source: Path
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of ``config`` with ``tensors``, in the precision and on the devices that the host chooses."""
    load_device, offload_device = (
        comfy.model_management.get_torch_device(),
        comfy.model_management.unet_offload_device(),
    )
    count = sum(value.numel() for value in tensors.values())
    dtype = comfy.model_management.unet_dtype(model_params=count, supported_dtypes=config.supported_inference_dtypes)
    config.set_inference_dtype(
        dtype, comfy.model_management.unet_manual_cast(dtype, load_device, config.supported_inference_dtypes)
    )
    model = config.get_model({}, device=offload_device)
    fill(model.diffusion_model, tensors, source=source)
    return comfy.model_patcher.CoreModelPatcher(model, load_device=load_device, offload_device=offload_device)


def joint_model(model: comfy.model_patcher.ModelPatcher) -> JointModel:
    """The network of a Duet MODEL.

    Raises:
        ValueError: the MODEL is not Duet's.
    """
    if not isinstance(model.model, JointModel):
        raise ValueError(f"The model is a {type(model.model).__name__}; this node needs the MODEL of 'Duet Load AV'.")
    return model.model
