"""SAVA's masked adapter: passes the shared content of one stream to the other."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.core.conditions import SOURCES
from ..pipelines.models.adapter.gates import NOISE, OPEN, SOFT, THRESHOLD
from ..pipelines.models.adapter.net import MaskedAdapter
from .host.adapter import MAKES, adapted, load_masked_adapter
from .types import CATEGORY
from .types import Adapter as AdapterSocket
from .types import AdapterNet as AdapterNetSocket

KINDS = {"hard (as trained)": NOISE, "soft": SOFT, "unmasked": OPEN}


class DuetLoadAdapter(io.ComfyNode):
    """Loads the masked adapter and adds its layers to the MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadAdapter",
            display_name="Duet Load Adapter",
            category=CATEGORY,
            description="Loads SAVA's masked adapter for the pocket model, which passes only the content shared by audio and "
            "video from one stream to the other. Its LoRA is applied to the MODEL, so the response to prompts changes slightly.",
            search_aliases=["sava", "v2a", "a2v", "video to audio", "audio to video", "foley", "cascade"],
            inputs=[
                io.Model.Input("model", tooltip="The pocket model from 'Duet Load AV'."),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Strength of the adapter's LoRA. 1 is as trained. At 0 the MODEL is the unchanged base when no "
                    "adapter is connected, and adapter tokens have little effect.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The MODEL with adapter layers, for 'Duet Guider'."),
                AdapterNetSocket.Output(display_name="adapter_net", tooltip="The adapter, for 'Duet Masked Adapter'."),
            ],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, lora_strength: float) -> io.NodeOutput:
        return io.NodeOutput(*load_masked_adapter(model, lora_strength))


def _settings() -> list[Any]:
    """How much of the kept stream passes through the mask."""
    return [
        io.Combo.Input(
            "make",
            options=list(MAKES),
            tooltip="Which stream is generated: audio for an existing video, or video for existing audio.",
        ),
        io.Combo.Input(
            "kind",
            options=list(KINDS),
            default=next(iter(KINDS)),
            tooltip="hard: open channels pass unchanged; closed ones are set to zero. soft: channels are multiplied by the "
            "mask, as in the SAVA paper. unmasked: everything passes.",
        ),
        io.Float.Input(
            "threshold",
            default=THRESHOLD,
            min=0.02,
            max=0.98,
            step=0.02,
            tooltip="Mask value above which the hard mask is open. Higher values let less through. The SAVA paper uses 0.5.",
        ),
        io.Float.Input(
            "strength",
            default=1.0,
            min=0.0,
            max=2.0,
            step=0.05,
            tooltip="Factor on the tokens that pass. At 0 the stream is generated independently of the other one.",
        ),
    ]


def _optional() -> list[Any]:
    """What changes the mask or shows it."""
    return [
        io.Latent.Input(
            "other",
            optional=True,
            tooltip="A latent whose other stream is used to compute the mask. If not connected, that stream is predicted.",
        ),
        io.Mask.Input(
            "painted",
            optional=True,
            tooltip="Multiplied with the mask. Black closes it: black objects are not heard, or black times are not seen.",
        ),
        io.Image.Input(
            "images", optional=True, tooltip="The decoded frames, shown behind the mask in the picture output."
        ),
    ]


class DuetMaskedAdapter(io.ComfyNode):
    """Computes the adapter tokens of one stream and shows their mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetMaskedAdapter",
            display_name="Duet Masked Adapter",
            category=CATEGORY,
            description="Selects the part of one stream that the other stream should follow: what in the video is audible, when "
            "and where, or when the audio is visible. The picture output shows the mask.",
            search_aliases=["sava", "mask", "audible", "video to audio"],
            inputs=[
                AdapterNetSocket.Input("adapter_net", tooltip="From 'Duet Load Adapter'."),
                io.Latent.Input("latent", tooltip="Contains the existing stream, e.g. from 'Duet Encode AV'."),
                *_settings(),
                *_optional(),
            ],
            outputs=[
                AdapterSocket.Output(display_name="adapter", tooltip="For 'Duet Apply Conditions'."),
                io.Mask.Output(
                    display_name="mask", tooltip="How far the mask is open (0 to 1), one image per video frame."
                ),
                io.Image.Output(
                    display_name="picture",
                    tooltip="The mask over the frames, and a histogram of open and closed channels.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        adapter_net: MaskedAdapter,
        latent: dict,
        make: str,
        kind: str,
        threshold: float,
        strength: float,
        other: dict | None = None,
        painted: torch.Tensor | None = None,
        images: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        from ..pipelines.figures.adapter import draw_mask
        from ..pipelines.figures.canvas import pixels

        settings = {"kind": KINDS[kind], "threshold": threshold, "strength": strength, "painted": painted}
        condition = adapted(adapter_net, MAKES[make], latent, other, **settings)
        mask = adapter_net.mask_over_frames(condition.mask[:1], SOURCES[condition.way])[0]
        frames = None if images is None else images[..., :3].float().cpu()
        title = f"{make}: what passes ({kind})"
        figure = draw_mask(
            mask, condition, frames, threshold=threshold, seconds=adapter_net.shape.duration, title=title
        )
        return io.NodeOutput(condition, mask, pixels(figure)[None])
