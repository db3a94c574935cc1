"""Socket types of the pack's own values."""

from __future__ import annotations

from comfy_api.latest import io

Strategy = io.Custom("DUET_STRATEGY")
CATEGORY = "Duet"
AUDIO_TEXT = "duet_audio_text"  # the audio stream's words on a CONDITIONING entry
