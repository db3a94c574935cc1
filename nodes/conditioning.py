"""Prompts to conditioning."""

from __future__ import annotations

from comfy_api.latest import io

from .types import AUDIO_TEXT, CATEGORY


class DuetEncodePrompt(io.ComfyNode):
    """Encodes what is seen and what is heard, and what to steer away from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetEncodePrompt",
            display_name="Duet Encode Prompt",
            category=CATEGORY,
            description="Encodes a prompt for each stream. Words the text encoder does not know are listed, with the nearest known ones.",
            search_aliases=["prompt", "text encode", "audio prompt"],
            inputs=[
                io.Clip.Input("clip"),
                io.String.Input(
                    "video",
                    multiline=True,
                    default="a small red ball bounces slowly on the left at night",
                    tooltip="What is seen; also what is heard where the audio prompt is empty.",
                ),
                io.String.Input(
                    "audio", multiline=True, default="", tooltip="What is heard. Empty: the same words as the video."
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    default="",
                    tooltip="What guidance steers away from. Empty: away from no text at all.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.String.Output(
                    display_name="unknown_words",
                    tooltip="Words outside the vocabulary with their nearest known ones; empty if all are known.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, video: str | None = None) -> bool | str:
        return (
            True if video is None or video.strip() else "The video prompt is empty. Say what should be seen and heard."
        )

    @classmethod
    def execute(cls, clip: io.Clip.Type, video: str, audio: str, negative: str) -> io.NodeOutput:
        encode = lambda text: clip.encode_from_tokens_scheduled(clip.tokenize(text))  # noqa: E731 - three uses below
        positive = encode(video)
        if audio.strip():
            heard = encode(audio)[0][0]
            positive = [[embedding, {**options, AUDIO_TEXT: heard}] for embedding, options in positive]
        report = getattr(clip.tokenizer, "unknown", None)
        strangers = dict.fromkeys(
            str(word) for text in (video, audio, negative) for word in (report(text) if report else ())
        )
        return io.NodeOutput(positive, encode(negative), "\n".join(strangers))
