"""SAVA's masked adapter: what one stream may know of the other."""

from __future__ import annotations

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
    """Loads the masked adapter and lets the MODEL read it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadAdapter",
            display_name="Duet Load Adapter",
            category=CATEGORY,
            description="Loads SAVA's masked adapter of the pocket model: what sound and picture share passes from one stream to the "
            "other, the rest does not. Its LoRA is applied to the MODEL, which therefore reads words a little differently.",
            search_aliases=["sava", "v2a", "a2v", "cascade"],
            inputs=[
                io.Model.Input("model", tooltip="The pocket model."),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    advanced=True,
                    tooltip="At 0 the MODEL is the base where no adapter is connected; the adapter's words are then hardly read.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                AdapterNetSocket.Output(display_name="adapter_net"),
            ],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, lora_strength: float) -> io.NodeOutput:
        return io.NodeOutput(*load_masked_adapter(model, lora_strength))


class DuetMaskedAdapter(io.ComfyNode):
    """Reads one stream through the mask, and shows it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetMaskedAdapter",
            display_name="Duet Masked Adapter",
            category=CATEGORY,
            description="Reads one stream of a latent and lets through what the other one shares with it: what of the picture is taken "
            "as audible, when and where, or when the sound is taken as visible. The picture shows the mask.",
            search_aliases=["sava", "mask", "audible"],
            inputs=[
                AdapterNetSocket.Input("adapter_net"),
                io.Latent.Input("latent", tooltip="With the stream that is there, e.g. of 'Duet Encode AV'."),
                io.Combo.Input("make", options=list(MAKES), tooltip="Which stream is to be made for the other one."),
                io.Combo.Input(
                    "kind",
                    options=list(KINDS),
                    default=next(iter(KINDS)),
                    tooltip="hard: what the mask has open passes as it is. soft: the paper's, multiplied by the mask. unmasked: all.",
                ),
                io.Float.Input(
                    "threshold",
                    default=THRESHOLD,
                    min=0.02,
                    max=0.98,
                    step=0.02,
                    tooltip="Of the hard mask (the paper's: 0.5).",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Factor on what passes; at 0 the stream is made without the other one.",
                ),
                io.Latent.Input(
                    "other",
                    optional=True,
                    tooltip="A take of the other stream for the mask to read; default: predicted.",
                ),
                io.Mask.Input("painted", optional=True, tooltip="Multiplies the mask: black makes silent, or unseen."),
                io.Image.Input("images", optional=True, tooltip="The decoded frames, to show the mask over."),
            ],
            outputs=[
                AdapterSocket.Output(display_name="adapter", tooltip="For 'Duet Apply Conditions'."),
                io.Mask.Output(display_name="mask", tooltip="How open it is, at the picture's frames."),
                io.Image.Output(
                    display_name="picture",
                    tooltip="The mask over the frames, and how many channels are open or closed.",
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
        given = adapted(adapter_net, MAKES[make], latent, other, **settings)
        mask = adapter_net.over_frames(given.mask[:1], SOURCES[given.way])[0]
        frames = None if images is None else images[..., :3].float().cpu()
        title = f"{make}: what passes ({kind})"
        figure = draw_mask(mask, given, frames, threshold=threshold, seconds=adapter_net.shape.duration, title=title)
        return io.NodeOutput(given, mask, pixels(figure)[None])
