"""Socket types of the pack's own values."""

from __future__ import annotations

from comfy_api.latest import io

Strategy = io.Custom("DUET_STRATEGY")
Plan = io.Custom("DUET_PLAN")
Planner = io.Custom("DUET_PLANNER")
Prior = io.Custom("DUET_PRIOR")
PriorNet = io.Custom("DUET_PRIOR_NET")
AdapterNet = io.Custom("DUET_ADAPTER_NET")
Adapter = io.Custom("DUET_ADAPTER")
Takes = io.Custom("DUET_TAKES")
CATEGORY = "Duet"
# Our keys on a CONDITIONING entry.
AUDIO_TEXT = "duet_audio_text"  # the audio stream's words
PLAN = "duet_plan"
PRIOR = "duet_prior"
ADAPTER = "duet_adapter"
PRIOR_KEYS = "duet_prior_keys"  # what prior attention sees: 'prior', 'null' or both
CLIP_SPEC = "duet_asked"  # the clip that was asked for; also on a LATENT
