"""Socket types of the pack's own values, and the keys under which conditions are stored."""

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
# Keys that the pack adds to the options of a CONDITIONING entry.
AUDIO_TEXT = "duet_audio_text"  # text embedding of the audio prompt
PLAN = "duet_plan"
PRIOR = "duet_prior"
ADAPTER = "duet_adapter"
TIMED = "duet_timed"  # a TimedPrompt: texts with times, and their embeddings
PRIOR_KEYS = "duet_prior_keys"  # tokens that the prior attention sees: 'prior', 'null' or both
CLIP_SPEC = "duet_asked"  # the requested ClipSpec; also stored on a LATENT
