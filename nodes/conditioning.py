"""Encoding prompts, and attaching plans, priors and adapter tokens to them."""

from __future__ import annotations

import logging

import torch
from comfy_api.latest import io

from ..pipelines.core.conditions import AdapterCondition, Plan, Prior
from .host.notice import show
from .types import ADAPTER, AUDIO_TEXT, CATEGORY, PLAN, PRIOR, PRIOR_KEYS
from .types import Adapter as AdapterSocket
from .types import Plan as PlanSocket
from .types import Prior as PriorSocket

log = logging.getLogger(__name__)
# Tokens that the prior attention sees for the positive and for the negative prompt.
KEYS = {
    "as trained": (("prior", "null"), ("prior", "null")),
    "per sample": (("prior",), ("null",)),
}


class DuetEncodePrompt(io.ComfyNode):
    """Encodes the video, audio and negative prompts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetEncodePrompt",
            display_name="Duet Encode Prompt",
            category=CATEGORY,
            description="Encodes a prompt for each stream. For the pocket model, the node shows the caption that the prompt is read as, "
            "and lists unknown words.",
            search_aliases=["prompt", "text encode", "audio prompt"],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder from 'Duet Load AV'."),
                io.String.Input(
                    "video",
                    multiline=True,
                    default="a small red ball bounces slowly on the left at night",
                    tooltip="What is seen, and also what is heard if the audio prompt is empty. Must not be empty.",
                ),
                io.String.Input(
                    "audio", multiline=True, default="", tooltip="What is heard. If empty, the video prompt is used."
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    default="",
                    tooltip="What guidance steers away from. If empty, the unconditional prompt is used. JavisDiT v1.0 expects "
                    "a specific negative prompt: see the notice output.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The encoded video and audio prompts."),
                io.Conditioning.Output(display_name="negative", tooltip="The encoded negative prompt."),
                io.String.Output(
                    display_name="notice",
                    tooltip="The caption that the prompt is read as (pocket model), unknown words with their nearest known words, "
                    "and other warnings. Also shown on the node. Empty if there is nothing to report.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, video: str | None = None) -> bool | str:
        return (
            True
            if video is None or video.strip()
            else "The video prompt is empty. Describe what should be seen and heard."
        )

    @classmethod
    def execute(cls, clip: io.Clip.Type, video: str, audio: str, negative: str) -> io.NodeOutput:
        encode = lambda text, **how: clip.encode_from_tokens_scheduled(clip.tokenize(text, **how))  # noqa: E731 - three uses below
        tokenizer = clip.tokenizer
        reads = getattr(tokenizer, "reads_prompts", False)
        if getattr(tokenizer, "one_text", False):
            video, audio = " ".join(text for text in (video.strip(), audio.strip()) if text), ""
        positive = encode(video)
        if audio.strip():
            heard = encode(audio)[0][0]
            positive = [[embedding, {**options, AUDIO_TEXT: heard}] for embedding, options in positive]
        if not negative.strip() and getattr(tokenizer, "null_is_zero", False):
            away = [[torch.zeros_like(embedding), options] for embedding, options in positive]
        else:
            away = encode(negative, **({"as_written": True} if reads else {}))
        notices = []
        if reads:
            notices += [line for text in (video, audio) for line in tokenizer.notices(text)]
            notices += tokenizer.notices(negative, as_written=True)
        if not negative.strip() and hasattr(tokenizer, "empty_negative"):
            notices.append(tokenizer.empty_negative)
            log.warning("Duet: %s", tokenizer.empty_negative)
        notice = "\n".join(dict.fromkeys(notices))
        return io.NodeOutput(positive, away, notice, ui=show(cls, notice))


class DuetApplyConditions(io.ComfyNode):
    """Attaches a plan, a prior and adapter tokens to both prompts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetApplyConditions",
            display_name="Duet Apply Conditions",
            category=CATEGORY,
            description="Attaches a plan, a prior (where and when things happen) or adapter tokens (what passes from the other "
            "stream) to the prompts. Connect both prompts: the networks were trained with these conditions on the "
            "positive and the negative prompt.",
            search_aliases=["plan", "baton", "prior", "hist-sypo", "sava", "adapter"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="The positive prompt, from 'Duet Encode Prompt'."),
                io.Conditioning.Input("negative", tooltip="The negative prompt, from 'Duet Encode Prompt'."),
                PlanSocket.Input("plan", optional=True, tooltip="From 'Duet Planner' or 'Duet Edit Plan'. Optional."),
                PriorSocket.Input("prior", optional=True, tooltip="From 'Duet Prior Sampler'. Optional."),
                AdapterSocket.Input(
                    "adapter",
                    optional=True,
                    tooltip="From 'Duet Masked Adapter'. Optional. The generated stream then sees the other one only through "
                    "the adapter.",
                ),
                io.Combo.Input(
                    "prior_keys",
                    options=list(KEYS),
                    default=next(iter(KEYS)),
                    advanced=True,
                    tooltip="Which tokens the prior attention sees. as trained: the prior and the null prior for both prompts, "
                    "as the released weights were trained. per sample: the prior for the positive and the null prior for the "
                    "negative prompt, as in the HiST-Sypo paper.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The positive prompt with the conditions."),
                io.Conditioning.Output(display_name="negative", tooltip="The negative prompt with the conditions."),
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
        if plan is not None and not plan.streams.present():
            raise ValueError(
                "This plan holds timed events without plan tokens. 'Duet Timed Prompt' has already attached them to its prompt; connect "
                "a plan from 'Duet Planner' here, or no plan."
            )
        planned = {key: value for key, value in ((PLAN, plan), (ADAPTER, adapter)) if value is not None}
        attached = [
            planned if prior is None else {**planned, PRIOR: prior, PRIOR_KEYS: keys} for keys in KEYS[prior_keys]
        ]
        prompts = zip((positive, negative), attached, strict=True)
        return io.NodeOutput(*([[z, {**options, **own}] for z, options in prompt] for prompt, own in prompts))
