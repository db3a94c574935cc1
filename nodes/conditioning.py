"""Prompts to conditioning."""

from __future__ import annotations

import logging

import torch
from comfy_api.latest import io

from ..pipelines.core.conditions import AdapterCondition, Plan, Prior
from .types import ADAPTER, AUDIO_TEXT, CATEGORY, PLAN, PRIOR, PRIOR_KEYS
from .types import Adapter as AdapterSocket
from .types import Plan as PlanSocket
from .types import Prior as PriorSocket

log = logging.getLogger(__name__)
# What the positive and the negative prompt's prior attention sees.
KEYS = {
    "as trained": (("prior", "null"), ("prior", "null")),
    "per sample": (("prior",), ("null",)),
}


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
                    tooltip="What guidance steers away from. Empty: away from no text at all. JavisDiT v1.0 was trained against a "
                    "text of its own: see the notice.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.String.Output(
                    display_name="notice",
                    tooltip="Words outside the vocabulary with their nearest known ones, and what else is amiss; empty if nothing is.",
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
        tokenizer = clip.tokenizer
        if getattr(tokenizer, "one_text", False):
            video, audio = " ".join(text for text in (video.strip(), audio.strip()) if text), ""
        positive = encode(video)
        if audio.strip():
            heard = encode(audio)[0][0]
            positive = [[embedding, {**options, AUDIO_TEXT: heard}] for embedding, options in positive]
        if not negative.strip() and getattr(tokenizer, "null_is_zero", False):
            away = [[torch.zeros_like(embedding), options] for embedding, options in positive]
        else:
            away = encode(negative)
        report = getattr(tokenizer, "unknown", None)
        notices = [str(word) for text in (video, audio, negative) for word in (report(text) if report else ())]
        if not negative.strip() and hasattr(tokenizer, "empty_negative"):
            notices.append(tokenizer.empty_negative)
            log.warning("Duet: %s", tokenizer.empty_negative)
        return io.NodeOutput(positive, away, "\n".join(dict.fromkeys(notices)))


class DuetApplyConditions(io.ComfyNode):
    """Puts a plan, a prior and an adapter's tokens on the prompts, for every branch of guidance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetApplyConditions",
            display_name="Duet Apply Conditions",
            category=CATEGORY,
            description="Puts a plan or a prior on the prompts, where and when things happen, or what an adapter lets through of the "
            "other stream. Connect both prompts, because the networks were trained to see them in either branch.",
            search_aliases=["plan", "baton", "prior", "hist-sypo", "sava", "adapter"],
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                PlanSocket.Input(
                    "plan", optional=True, tooltip="Of 'Duet Planner' or 'Duet Edit Plan'. Without it, nothing changes."
                ),
                PriorSocket.Input(
                    "prior", optional=True, tooltip="Of 'Duet Prior Sampler'. Without it, nothing changes."
                ),
                AdapterSocket.Input(
                    "adapter",
                    optional=True,
                    tooltip="Of 'Duet Masked Adapter'. The stream that is made then sees the other one through it alone.",
                ),
                io.Combo.Input(
                    "prior_keys",
                    options=list(KEYS),
                    default=next(iter(KEYS)),
                    advanced=True,
                    tooltip="What attention to the prior sees. As trained: the prior and the null prior, in both branches, as "
                    "the released weights were. Per sample: the paper's formula, the prior in one and the null in the other.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: list,
        negative: list,
        prior_keys: str,
        plan: Plan | None = None,
        prior: Prior | None = None,
        adapter: AdapterCondition | None = None,
    ) -> io.NodeOutput:
        planned = {key: value for key, value in ((PLAN, plan), (ADAPTER, adapter)) if value is not None}
        given = [planned if prior is None else {**planned, PRIOR: prior, PRIOR_KEYS: keys} for keys in KEYS[prior_keys]]
        prompts = zip((positive, negative), given, strict=True)
        return io.NodeOutput(*([[z, {**options, **own}] for z, options in prompt] for prompt, own in prompts))
