"""The loaders of joint audio-video models and of add-on layers."""

from __future__ import annotations

from comfy_api.latest import io

from .host.add_ons import add_on_files, load_add_on
from .host.families import AUTO, FOLDERS, load_family, options_of
from .types import CATEGORY


class DuetLoadAV(io.ComfyNode):
    """Loads a joint audio-video model with its text encoder and codecs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        tips = {
            "model": "The audio-video network. 'auto' is the pocket model that ships with Duet; 'pocket LTX-2' has LTX-2's architecture "
            "at pocket size, so that LTX-2's own nodes work on it. JavisDiT files and folders are listed from models/diffusion_models.",
            "text_encoder": "'auto' selects the encoder the model needs: the pocket text encoder, or T5-XXL (JavisDiT v0.1) or "
            "UMT5-XXL (v1.0) from models/text_encoders.",
            "video_codec": "'auto' selects the VAE the model needs: the pocket codec, or Open-Sora's (JavisDiT v0.1) or "
            "Wan2.1's (v1.0) from models/vae.",
            "audio_codec": "'auto' selects the VAE the model needs: the pocket codec, or AudioLDM2's (JavisDiT) from models/vae. "
            "The AudioLDM2 licence is non-commercial.",
        }
        return io.Schema(
            node_id="DuetLoadAV",
            display_name="Duet Load AV",
            category=CATEGORY,
            description="Loads a joint audio-video model with its text encoder and both codecs: the pocket model or "
            "pocket LTX-2, which ship with Duet; or JavisDiT v0.1 or v1.0 from their official files. 'Duet Doctor' "
            "lists which files are installed and where the others come from.",
            search_aliases=["joint audio video model", "pocket", "javisdit"],
            inputs=[
                io.Combo.Input(part, options=options_of(part), default=AUTO, tooltip=tips[part]) for part in FOLDERS
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="The network, for 'Duet Guider', KSampler or an add-on loader."
                ),
                io.Clip.Output(
                    display_name="clip", tooltip="The text encoder, for 'Duet Encode Prompt' or 'CLIP Text Encode'."
                ),
                io.Vae.Output(
                    display_name="video_vae", tooltip="The video VAE, for 'Duet Decode' and 'Duet Encode AV'."
                ),
                io.Vae.Output(
                    display_name="audio_vae", tooltip="The audio VAE, for 'Duet Decode' and 'Duet Encode AV'."
                ),
                io.String.Output(display_name="licence", tooltip="The licence of each file."),
            ],
        )

    @classmethod
    def execute(cls, model: str, text_encoder: str, video_codec: str, audio_codec: str) -> io.NodeOutput:
        chosen = dict(zip(FOLDERS, (model, text_encoder, video_codec, audio_codec), strict=True))
        parts, licence = load_family(chosen)
        return io.NodeOutput(*parts, licence)


class DuetLoadAddOn(io.ComfyNode):
    """Adds layers that the user trained to the MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetLoadAddOn",
            display_name="Duet Load Add-On",
            category=CATEGORY,
            description="Adds plan, prior or adapter layers, or context tokens, that you trained with 'duet train' to the MODEL. They "
            "must have been trained on the same base. With plan, prior and adapter layers the output is unchanged until a plan, prior or "
            "adapter is connected; adapter layers also contain a LoRA, which is applied at strength 1. Context tokens give UCG on "
            "LTX-2 and pocket LTX-2 its null.",
            search_aliases=[
                "own layers",
                "trained layers",
                "fine-tuned",
                "plan layers",
                "prior layers",
                "adapter layers",
            ],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The MODEL of 'Duet Load AV', or of another add-on loader; for context tokens of LTX-2, that of any loader.",
                ),
                io.Combo.Input(
                    "file",
                    options=add_on_files(),
                    tooltip="Add-on layers or context tokens from models/duet, or from the pack's runs folder, where 'duet train' writes "
                    "them. Press R to refresh the list.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The MODEL with the layers, for 'Duet Guider'.")],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_add_on(model, file))
