"""Text shown on a node: costs, warnings, and settings without effect."""

from __future__ import annotations

from typing import Any

import comfy.model_base
from comfy_api.latest import io, ui
from server import PromptServer

from .javisdit import JavisModel

_shown: set[str] = set()  # ids of the nodes that show a text


# Samplers that users report to ruin the sound of MiniMax H3 (Comfy-Org/ComfyUI#15283), with their variants.
FEW_STEPS = 20
RUIN_H3_SOUND = ("euler_ancestral", "lcm", "dpmpp_3m_sde")


def sampler_warning(model: Any, sampler: Any) -> str:
    """A warning if ``sampler`` is known to ruin the sound of ``model`` (a model of the host, not a MODEL), or ""."""
    h3 = getattr(comfy.model_base, "MiniMaxH3", None)
    name = getattr(getattr(sampler, "sampler_function", None), "__name__", "").removeprefix("sample_")
    if h3 is None or not isinstance(model, h3) or not name.startswith(RUIN_H3_SOUND):
        return ""
    return f"The sampler '{name}' is reported to ruin the sound of MiniMax H3. Use 'euler' instead."


def show(node: type[io.ComfyNode], *texts: str) -> ui.PreviewText | None:
    """Show ``texts`` on ``node`` at once, before it has finished, and return them for the ``ui`` of its output, which the host keeps
    in the history. Empty texts are skipped; None if all are empty. ``node`` needs the hidden input ``unique_id``."""
    text = "\n".join(filter(None, texts))
    server, name = getattr(PromptServer, "instance", None), str(node.hidden.unique_id) if node.hidden else ""
    if server is not None and name and (text or name in _shown):
        # The front end ignores an empty text, so a space replaces that of an earlier run.
        server.send_progress_text(text or " ", name, server.client_id)
        (_shown.add if text else _shown.discard)(name)
    return ui.PreviewText(text) if text else None


def steps_warning(model: Any, steps: int) -> str:
    """A warning if a JavisDiT is sampled with so few ``steps`` as only the pocket models need, otherwise nothing."""
    if steps >= FEW_STEPS or not isinstance(model, JavisModel):
        return ""
    return f"{steps} steps suit the pocket models; usual are 30 for JavisDiT v0.1 and 50 for v1.0."
