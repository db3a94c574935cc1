"""Loaders."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..pipelines.models.pocket import load
from ..pipelines.weights import load_weights
from .host.codec import build_audio_vae, build_video_vae
from .host.model import build_model, pocket_config
from .host.text import build_clip
from .types import CATEGORY

AUTO = "auto"
FOLDERS = {"model": "diffusion_models", "text_encoder": "text_encoders", "video_codec": "vae", "audio_codec": "vae"}
KINDS = {
    "model": "pocket-av",
    "text_encoder": "pocket-text",
    "video_codec": "video-codec",
    "audio_codec": "audio-codec",
}


def _choices(folder: str) -> list[str]:
    return [AUTO, *(name for name in folder_paths.get_filename_list(folder) if name.endswith(".safetensors"))]


def _path(part: str, choice: str) -> Path:
    """The file behind a choice; 'auto' is the pack's own."""
    return (
        load.FILES[KINDS[part]] if choice == AUTO else Path(folder_paths.get_full_path_or_raise(FOLDERS[part], choice))
    )


class DuetLoadAV(io.ComfyNode):
    """Loads a joint audio-video model with its text encoder and codecs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        tips = {
            "model": "The joint network. 'auto' is the pocket model that ships with Duet; other files come from models/diffusion_models.",
            "text_encoder": "'auto' is the pocket text encoder; other files come from models/text_encoders.",
            "video_codec": "'auto' is the pocket video codec; other files come from models/vae.",
            "audio_codec": "'auto' is the pocket audio codec; other files come from models/vae.",
        }
        return io.Schema(
            node_id="DuetLoadAV",
            display_name="Duet Load AV",
            category=CATEGORY,
            description="Loads a joint audio-video model with its text encoder and both codecs.",
            search_aliases=["joint audio video model", "pocket"],
            inputs=[
                io.Combo.Input(part, options=_choices(folder), default=AUTO, tooltip=tips[part])
                for part, folder in FOLDERS.items()
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Clip.Output(display_name="clip"),
                io.Vae.Output(display_name="video_vae"),
                io.Vae.Output(display_name="audio_vae"),
                io.String.Output(display_name="licence", tooltip="The licence of each file."),
            ],
        )

    @classmethod
    def execute(cls, model: str, text_encoder: str, video_codec: str, audio_codec: str) -> io.NodeOutput:
        choices = {"model": model, "text_encoder": text_encoder, "video_codec": video_codec, "audio_codec": audio_codec}
        paths = {part: _path(part, choice) for part, choice in choices.items()}
        frames, sound = load.load_video_codec(paths["video_codec"]), load.load_audio_codec(paths["audio_codec"])
        network = build_model(load_weights(paths["model"], KINDS["model"]), frames)
        clip = build_clip(load_weights(paths["text_encoder"], KINDS["text_encoder"]))
        licence = "\n".join(
            f"{path.name}: {load.LICENCE if choices[part] == AUTO else 'stated by whoever made the file'}"
            for part, path in paths.items()
        )
        return io.NodeOutput(
            network, clip, build_video_vae(frames, fps=pocket_config(network).fps), build_audio_vae(sound), licence
        )
