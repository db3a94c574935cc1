"""What 'Duet Timed Prompt' does with a MODEL and a CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.model_patcher
import comfy.sd
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...pipelines.core.streams import Streams
from ...pipelines.core.timed_events import TimedEvents
from ...pipelines.core.weights import load_weights
from ...pipelines.guidance.timed import TimedText, joined
from ...pipelines.media.provenance import file_hash
from ...pipelines.models.ltx2 import pocket_config as ltx2
from ...pipelines.models.pocket.add_ons import TIMED as TIMED_LORA
from ...pipelines.models.pocket.add_ons import load_timed_lora, reads_times
from ...pipelines.models.pocket.load import ADD_ONS
from ...pipelines.models.pocket.timed import timed_text
from ..types import AUDIO_TEXT, TIMED
from .joint import OwnModel
from .ltx2 import PocketLTXAV
from .model import PocketBaseModel, with_lora
from .text import plain_text
from .timed import TimedPrompt
from .timed_h3 import patch_h3
from .timed_ltx import patch_ltx

PATCHES = {getattr(comfy.model_base, "LTXAV", None): patch_ltx, getattr(comfy.model_base, "MiniMaxH3", None): patch_h3}


def reads_timed_text(model: comfy.model_patcher.ModelPatcher) -> bool:
    """Whether a MODEL reads timed text: Duet's own do, others once they are patched."""
    return isinstance(model.model, OwnModel) or bool(model.wrappers.get(WrappersMP.DIFFUSION_MODEL, {}).get(TIMED))


def with_timed_text(model: comfy.model_patcher.ModelPatcher) -> comfy.model_patcher.ModelPatcher:
    """A MODEL that reads timed text. Its results without timed text are bit-identical; but the pocket models get the LoRA that was trained
    for timed text, once.

    Raises:
        ValueError: a model of another family.
    """
    model = _with_lora(model)
    if reads_timed_text(model):
        return model
    patch = next((p for family, p in PATCHES.items() if family is not None and isinstance(model.model, family)), None)
    if patch is None:
        raise ValueError(
            f"The MODEL is a {type(model.model).__name__}; timed text works with LTX-2, MiniMax H3, JavisDiT and the pocket model. "
            "For other models use 'Duet Timeline Prompt', which writes the times into the prompt."
        )
    patched: Any = model.clone()
    patch(patched)
    return patched


def _with_lora(model: comfy.model_patcher.ModelPatcher) -> comfy.model_patcher.ModelPatcher:
    """A pocket MODEL with the LoRA for timed text as host patches, unless it has them; a base of the user's own stays as it is."""
    own: Any = model
    found = None if own.get_attachment(TIMED_LORA) else _lora_of(own.model)
    if found is None:
        return model
    path, lora = found
    patched: Any = with_lora(model, lora)
    patched.set_attachments(TIMED_LORA, file_hash(path))
    return patched


def _lora_of(model: Any) -> tuple[Path, dict[str, Tensor]] | None:
    """The file and the layers of the LoRA that was trained on this base."""
    if isinstance(model, PocketBaseModel) and reads_times(model.file.sha256):
        return ADD_ONS[TIMED_LORA], load_timed_lora(model.diffusion_model, model.file.sha256)
    if isinstance(model, PocketLTXAV) and ltx2.reads_times(model.base_hash):
        return ltx2.TIMED_FILE, load_weights(ltx2.TIMED_FILE, ltx2.TIMED_KIND).tensors
    return None


def reads_captions(clip: comfy.sd.CLIP) -> bool:
    """Whether a CLIP is the pocket model's, which reads prompts as captions of its world."""
    return getattr(getattr(clip, "tokenizer", None), "reads_prompts", False)


def timed_of(clip: comfy.sd.CLIP, prompts: Streams[str], events: TimedEvents, repeat: bool, **more: float) -> TimedText:
    """The texts that are encoded for ``events``. With ``repeat`` an event's text follows the prompt for the whole clip; the pocket model
    reads captions, and derives each text from the prompt's caption."""
    if reads_captions(clip):
        return timed_text(prompts.map(plain_text), events, **more)
    return TimedText.of(events, prompts, compose=joined if repeat else _alone, **more)


def _alone(_rest: str, text: str) -> str:
    return text


def encode_prompts(clip: comfy.sd.CLIP, prompts: Streams[str]) -> list[Any] | None:
    """The CONDITIONING of prompts without events, as without timed text; ``None`` if the streams' prompts differ and the model reads only
    one text, so that the other one must be timed."""
    video, audio = prompts.both()
    encode = lambda text: clip.encode_from_tokens_scheduled(clip.tokenize(text))  # noqa: E731 - two uses
    if video == audio:
        return encode(video)
    if reads_captions(clip):
        heard = encode(audio)[0][0]
        return [[states, {**options, AUDIO_TEXT: heard}] for states, options in encode(video)]
    return None


def encode_timed(clip: comfy.sd.CLIP, timed: TimedText) -> list[Any]:
    """The CONDITIONING of timed text: that of the video's rest text, which carries all texts."""
    how = {"as_written": True} if reads_captions(clip) else {}
    encoded = {}
    for text in timed.texts:
        entry = clip.encode_from_tokens_scheduled(clip.tokenize(text, **how))[0]
        encoded[text] = (entry[0], {name: value for name, value in entry[1].items() if value is not None})
    states, options = encoded[timed.rest.both()[0]]
    return [[states, {**options, TIMED: TimedPrompt(timed, encoded)}]]
